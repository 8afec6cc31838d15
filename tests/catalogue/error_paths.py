"""Which error paths of readers, writers and backends no test takes, by a coverage file.

`make error-paths` writes the file by coverage and reads it here.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

from coverage import CoverageData

ROOT = Path(__file__).parents[2] / "runtime" / "lgg_runtime"
ROOMS = ("readers", "writers", "backends")


def error_paths(source: str) -> Iterator[tuple[int, ...]]:
    """The lines of each `raise`, and of each first statement of an `except`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Raise):
            yield tuple(range(node.lineno, (node.end_lineno or node.lineno) + 1))
        elif isinstance(node, ast.ExceptHandler):
            yield (node.body[0].lineno,)


def untaken(data: CoverageData) -> tuple[int, list[str]]:
    """How many error paths there are, and the places of those that were never taken."""
    measured = {Path(name).resolve(): name for name in data.measured_files()}
    total, places = 0, []
    for path in sorted(p for room in ROOMS for p in (ROOT / room).rglob("*.py")):
        lines = set(data.lines(measured.get(path.resolve(), "")) or ())
        for path_lines in set(error_paths(path.read_text(encoding="utf-8"))):
            total += 1
            if not lines.intersection(path_lines):
                places.append(f"{path.relative_to(ROOT)}:{path_lines[0]}")
    return total, sorted(places)


def main() -> None:
    data = CoverageData(".coverage")
    data.read()
    total, places = untaken(data)
    sys.stdout.write(f"{total - len(places)} of {total} error paths taken\n")
    sys.stdout.write("".join(f"not taken: {place}\n" for place in places))
    sys.exit(1 if places else 0)


if __name__ == "__main__":
    main()
