"""Which benchmark's record becomes which tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lgg_bench import (
    coldstart,
    gpu_tables,
    latency,
    memory,
    node,
    parity,
    plausibility,
    quality,
    roofline,
    soak,
    throughput,
)
from lgg_bench.machine import summarise_machine
from lgg_bench.record import Record
from lgg_bench.table import Table
from lgg_runtime.errors import InputError
from lgg_runtime.notice import RESEARCH_ONLY_LINE

_TABLES: dict[str, Callable[[Record], Sequence[Table]]] = {
    "coldstart": coldstart.tabulate,
    "gpu": gpu_tables.tabulate,
    "latency": latency.tabulate,
    "memory": memory.tabulate,
    "node": node.tabulate,
    "parity": parity.tabulate,
    "plausibility": plausibility.tabulate,
    "quality": quality.tabulate,
    "roofline": roofline.tabulate,
    "soak": soak.tabulate,
    "throughput": throughput.tabulate,
}


def describe_record(record: Record, read_from: Path | None = None) -> str:
    """Its tables, the machine and the date; of a record that was read from a file as Markdown.

    Raises InputError, which names the file, for an unknown benchmark and for a damaged record.
    """
    named = "record" if read_from is None else f"{read_from}: record"
    if record.benchmark not in list(_TABLES):  # a list can be asked for what has no hash, too
        raise InputError(f"{named} of {record.benchmark!r}: expected {' or '.join(_TABLES)}")
    with refusing_damaged(f"{named} of {record.benchmark}"):
        tables = _TABLES[record.benchmark](record)
        parts = [table.as_text() if read_from is None else table.as_markdown() for table in tables]
        parts.append(f"Measured {record.date[:10]} on {summarise_machine(record.machine)}.")
    if read_from is None:
        parts.append(RESEARCH_ONLY_LINE)
    return "\n\n".join(parts)


@contextmanager
def refusing_damaged(what: str) -> Iterator[None]:
    """Raises InputError where a record holds other values than a measurement writes."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise InputError(f"{what}: incomplete or damaged ({error!r})") from error
