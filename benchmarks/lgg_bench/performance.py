"""The performance page: its tables and its picture, from recorded measurements alone."""

from __future__ import annotations

from pathlib import Path

from lgg_bench.document import fill_blocks
from lgg_bench.record import Record
from lgg_bench.tables import describe_record
from lgg_runtime.errors import InputError
from lgg_runtime.writers.atomic import make_folder, write_atomically

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


def write_performance(results: Path, page: Path) -> None:
    """Fill the page's blocks and draw its picture, into a folder beside it of the page's stem.

    Raises InputError for a record that is missing and for a page without the blocks.
    """
    from lgg_bench.performance_figures import draw_throughput

    records = {name: Record.read(results / f"{name}.json") for name in BLOCKS}
    try:
        text = page.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{page}: cannot be read ({error.strerror})") from error
    tables = {name: describe_record(record, markdown=True) for name, record in records.items()}
    filled = fill_blocks(text, tables)
    pictures = page.with_suffix("")
    make_folder(pictures)
    write_atomically(pictures / "throughput.png", draw_throughput(records["throughput"]))
    write_atomically(page, filled.encode())
