"""Tables of the GPU benchmark."""

from __future__ import annotations

from typing import Any

from lgg_bench.artifacts import label_precision
from lgg_bench.machine import note_load
from lgg_bench.record import Record
from lgg_bench.table import Table, compare_cell


def tabulate(record: Record) -> list[Table]:
    """Throughput by batch with its share of the ceilings, then parity, memory and the folder."""
    return [_throughput(record), _artifacts(record.results), _folder(record)]


def _throughput(record: Record) -> Table:
    results = record.results
    header = ["", "batch", "slices/s", "ms p50", "ms p99", "compute slices/s", "of ceiling"]
    rows = []
    for row in results["rows"]:
        whole, compute = row["end_to_end"], row["compute"]
        milliseconds = whole["ms_per_slice"]
        rows.append(
            [
                label_precision(row["subject"], results),
                str(row["batch"]),
                f"{whole['slices_per_second']:.1f}",
                f"{milliseconds['p50'] * row['batch']:.2f}",
                f"{milliseconds['p99'] * row['batch']:.2f}",
                "-" if compute is None else f"{compute['slices_per_second']:.1f}",
                _share(row, results),
            ]
        )
    where = results["gpu"]["name"] if results["gpu"] else "CPU"
    ceilings = ", ".join(f"{name} {_digits(value)}" for name, value in results["ceilings"].items())
    notes = [
        "From uint8 in the host's memory to masks in the host's memory, milliseconds a call; "
        "compute: the same without copies.",
        f"of ceiling: arithmetic rate, of the compute where it is known, over the measured matrix "
        f"product. Ceilings: {ceilings or 'not measured'}.",
        *note_load(record.machine),
    ]
    return Table(f"Slices of {record.settings['size']} on {where}", header, rows, notes)


def _share(row: dict[str, Any], results: dict[str, Any]) -> str:
    """Fraction of the matrix product's rate in the artifact's own precision, of which int8 has
    none.
    """
    known = results["artifacts"].get(row["subject"])
    if known is None or known["operations"] is None:
        return "-"
    ceiling = results["ceilings"].get(f"{known['precision'].split(' ')[0]}_tflops")
    if ceiling is None:
        return "-"
    rate = (row["compute"] or row["end_to_end"])["slices_per_second"]
    return f"{1e-12 * rate * known['operations'] / ceiling:.1%}"


def _artifacts(results: dict[str, Any]) -> Table:
    header = ["", "load s", "memory MiB", "probability", "flipped in 100,000", "verdict"]
    rows = []
    for label, known in results["artifacts"].items():
        parity = results["parity"][label]
        cells = ["-", "-", "not compared"]
        if parity["passed"] is not None:
            limits = parity["limits"]
            cells = [
                compare_cell(parity["largest_probability_difference"], limits["probability"], 1.0),
                compare_cell(parity["flipped_pixels"], limits["flipped"], 1e5),
                "passed" if parity["passed"] else "FAILED",
            ]
        memory = "-" if known["memory_mib"] is None else f"{known['memory_mib']:.0f}"
        rows.append([label_precision(label, results), f"{known['load_s']:.2f}", memory, *cells])
    notes = ["Difference from the fp32 artifact on the CPU, found / allowed."]
    return Table("Loading, memory and parity", header, rows, notes)


def _digits(value: float) -> str:
    """Three significant digits or more."""
    return f"{value:.3g}" if value < 10 else f"{value:.1f}"


def _folder(record: Record) -> Table:
    folder = record.results["folder"]
    rows = [[name, f"{folder[name]:.2f}"] for name in ("read", "run", "finish", "total")]
    notes = [
        f"{folder['slices']} phantom slices; the model ran {folder['busy']:.0%} of the time, "
        "reading and writing beside it.",
        "read and finish are added up over the threads that work beside the model: they may be "
        "more than the total.",
    ]
    return Table("A folder through lgg-infer's pipeline", ["stage", "seconds"], rows, notes)
