"""Tables of the GPU benchmark, of records made by hand, and the page's of the record that ships."""

from pathlib import Path
from typing import Any

import pytest

from lgg_bench.gpu_tables import tabulate
from lgg_bench.record import Record
from lgg_bench.table import Table

DOCS = Path(__file__).parents[2] / "docs"


def tabulate_made_up(precision: str, **changes: Any) -> list[Table]:
    """The tables of a record with one artifact that does 1e9 operations a slice, 1,000 a second."""
    whole = {"slices_per_second": 1000.0, "ms_per_slice": {"p50": 1.0, "p99": 1.0}}
    row = {"subject": "a.onnx", "batch": 1, "end_to_end": whole, "compute": None}
    known = {"precision": precision, "operations": 10**9, "load_s": 1.0, "memory_mib": None}
    compared = {"largest_probability_difference": 0.5, "flipped_pixels": 1e-5, "passed": True}
    limits = {"probability": None, "flipped": 2e-3}
    folder = {"read": 2.0, "run": 0.5, "finish": 1.5, "total": 1.0, "slices": 24, "busy": 0.5}
    results = {
        "gpu": None,
        "ceilings": {"fp32_tflops": 4.0, "fp16_tflops": 8.0},
        "artifacts": {"a.onnx": known},
        "rows": [row],
        "parity": {"a.onnx": compared | {"limits": limits}},
        "folder": folder,
    }
    return tabulate(Record("gpu", {"size": 64}, {"load": 0}, results | changes))


@pytest.mark.parametrize(
    ("precision", "share"),
    [
        ("fp32", "25.0%"),
        ("fp32 with fp16 weights", "25.0%"),
        ("fp16", "12.5%"),
        ("int8", "-"),
        ("int8 symmetric", "-"),
    ],
)
def test_the_share_is_of_the_ceiling_of_the_artifact_s_own_arithmetic(
    precision: str, share: str
) -> None:
    throughput, _, _ = tabulate_made_up(precision)
    assert throughput.rows[0][-1] == share


def test_memory_that_no_gpu_has_and_what_may_differ_by_any_amount_are_told_so() -> None:
    _, artifacts, _ = tabulate_made_up("int8")
    assert artifacts.rows == [["a.onnx (int8)", "1.00", "-", "0.5", "1 / 200", "passed"]]


def test_stages_beside_the_model_are_told_to_be_sums_that_may_exceed_the_total() -> None:
    _, _, folder = tabulate_made_up("fp32")
    assert [row[0] for row in folder.rows] == ["read", "run", "finish", "total"]
    assert "read and finish are added up over the threads" in folder.notes[1]
    assert "may be more than the total" in folder.notes[1]


@pytest.mark.parametrize(
    ("tflops", "told"), [(0.04628, "0.0463"), (8.1264, "8.13"), (50.996, "51.0"), (769.3, "769.3")]
)
def test_ceilings_have_three_digits_at_least(tflops: float, told: str) -> None:
    throughput, _, _ = tabulate_made_up("fp32", ceilings={"fp32_tflops": tflops})
    assert f"Ceilings: fp32_tflops {told}." in throughput.notes[1]


def test_a_call_s_milliseconds_and_the_share_of_what_computes_alone_are_told_of_a_gpu() -> None:
    whole = {"slices_per_second": 1000.0, "ms_per_slice": {"p50": 1.0, "p99": 1.5}}
    row = {"batch": 8, "end_to_end": whole, "compute": {"slices_per_second": 2000.0}}
    rows = [row | {"subject": "a.onnx"}, row | {"subject": "PyTorch eager, b", "compute": None}]
    throughput, _, _ = tabulate_made_up("fp32", rows=rows, gpu={"name": "Some GPU"})
    assert throughput.title == "Slices of 64 on Some GPU"
    assert throughput.rows == [
        ["a.onnx (fp32)", "8", "1000.0", "8.00", "12.00", "2000.0", "50.0%"],
        ["PyTorch eager, b", "8", "1000.0", "8.00", "12.00", "-", "-"],
    ]


@pytest.mark.parametrize(
    ("passed", "told"),
    [
        (True, ["0.5", "1 / 200", "passed"]),
        (False, ["0.5", "1 / 200", "FAILED"]),
        (None, ["-", "-", "not compared"]),
    ],
)
def test_the_verdict_is_that_of_the_comparison(passed: bool | None, told: list[str]) -> None:
    found = {"largest_probability_difference": 0.5, "flipped_pixels": 1e-5, "passed": passed}
    parity = {"a.onnx": found | {"limits": {"probability": None, "flipped": 2e-3}}}
    known = {"precision": "int8", "operations": 1, "load_s": 1.0, "memory_mib": 963.7}
    _, artifacts, _ = tabulate_made_up("int8", parity=parity, artifacts={"a.onnx": known})
    assert artifacts.rows == [["a.onnx (int8)", "1.00", "964", *told]]


def test_the_page_s_table_of_a_gpu_is_the_record_s() -> None:
    _, page = (DOCS / "gpu.md").read_text(encoding="utf-8").split("alone, batch 64 |\n")
    _, *lines = page.partition("\n\n")[0].splitlines()
    told = [[cell.strip() for cell in line.split("|")[2:6]] for line in lines]
    made: dict[str, list[str]] = {}  # by subject: slices a second of each batch
    alone: dict[str, str] = {}  # the same of the last batch by computing alone
    for row in Record.read(DOCS / "results" / "gpu-h200.json").results["rows"]:
        rate, compute = row["end_to_end"]["slices_per_second"], row["compute"]
        made.setdefault(row["subject"], []).append(f"{rate:,.0f}")
        alone[row["subject"]] = "" if compute is None else f"{compute['slices_per_second']:,.0f}"
    assert told == [[*rates, alone[subject]] for subject, rates in made.items()]
