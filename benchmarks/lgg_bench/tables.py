"""Which benchmark's record becomes which tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence

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


def describe_record(record: Record, markdown: bool = False) -> str:
    """Its tables, the machine and the date. Raises InputError for an unknown benchmark and for a
    damaged record.
    """
    if record.benchmark not in list(_TABLES):  # a list can be asked for what has no hash, too
        raise InputError(f"record of {record.benchmark!r}: expected {' or '.join(_TABLES)}")
    try:
        tables = _TABLES[record.benchmark](record)
        parts = [table.as_markdown() if markdown else table.as_text() for table in tables]
        parts.append(f"Measured {record.date[:10]} on {summarise_machine(record.machine)}.")
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        said = f"record of {record.benchmark}: incomplete or damaged ({error!r})"
        raise InputError(said) from error
    if not markdown:
        parts.append(RESEARCH_ONLY_LINE)
    return "\n\n".join(parts)
