"""The performance page: its tables and its picture, from recorded measurements alone."""

from __future__ import annotations

from pathlib import Path

from lgg_bench.document import fill_page
from lgg_bench.performance_figures import draw_throughput
from lgg_bench.record import Record
from lgg_bench.tables import describe_record, refusing_damaged
from lgg_runtime.errors import InputError

# The page's blocks: the records that fill them, in the folder of results.
BLOCKS = (
    "throughput",
    "quality",
    "quality-lite",
    "roofline",
    "coldstart",
    "memory",
    "latency",
)
# Of other processors, which this machine cannot measure again: they lie beside the page.
KEPT = ("throughput-avx2", "throughput-amx")


def write_performance(results: Path, page: Path) -> None:
    """Fill the page's blocks and draw its picture, as `fill_page` does.

    Raises InputError for a record that is missing or of another benchmark than its name says, and
    for a page without the blocks.
    """
    folders = dict.fromkeys(BLOCKS, results) | dict.fromkeys(KEPT, page.parent / "results")
    paths = {name: where / f"{name}.json" for name, where in folders.items()}
    records = {name: _read(path) for name, path in paths.items()}
    tables = {name: describe_record(records[name], path) for name, path in paths.items()}
    with refusing_damaged(f"{paths['throughput']}: record of throughput"):
        picture = draw_throughput(records["throughput"])
    fill_page(page, tables, {"throughput.png": picture})


def _read(path: Path) -> Record:
    """A record whose file is named BENCHMARK.json or BENCHMARK-WHAT.json."""
    record, expected = Record.read(path), path.stem.partition("-")[0]
    if record.benchmark != expected:
        raise InputError(
            f"{path}: expected a record of {expected}, found one of {record.benchmark}; measure "
            "that again, or name another folder"
        )
    return record
