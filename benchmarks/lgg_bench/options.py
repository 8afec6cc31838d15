"""Options that commands of lgg-bench share, and what those do that measure: check, keep, print."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from lgg_runtime.terminal import show

if TYPE_CHECKING:
    from lgg_bench.record import Record

T = TypeVar("T")
PATH = click.Path(path_type=Path)
ARTIFACTS = click.argument("artifacts", metavar="ARTIFACT...", nargs=-1, required=True, type=PATH)
OUTPUT = click.option("-o", "--output", type=PATH, help="Write the measurement, NAME.json.")
NO_PROGRESS = click.option("--no-progress", is_flag=True, help="No progress bar.")
PARTS = click.Choice(("test", "validation", "train"))
LIMIT = click.option("--limit", type=click.IntRange(1), help="The first patients only.")


def refuse_repeated(
    _context: click.Context, _: click.Parameter, values: tuple[T, ...]
) -> tuple[T, ...]:
    """Of an option that may be given again: two subjects of one name would be measured as one."""
    if twice := [value for value in values if values.count(value) > 1]:
        raise click.BadParameter(f"{twice[0]} is given twice.")
    return values


def measured(output: Path | None, measure: Callable[[], Record]) -> Record:
    """Measure, write the record where an output is given, and print its tables.

    Raises UsageError or ResourceError, before anything is measured, for an output that cannot be.
    """
    from lgg_bench.record import check_output
    from lgg_bench.tables import describe_record

    check_output(output)
    record = measure()
    try:
        if output is not None:
            record.write(output)
    finally:  # a disk that is full by now does not cost what was measured
        show(describe_record(record))
    return record
