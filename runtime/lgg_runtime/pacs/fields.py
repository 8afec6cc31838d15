"""Settings of a TOML table as a frozen dataclass, with every mistake found in one go.

A field whose default is MISSING is required.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
_RULE = "rule"


@dataclass(frozen=True)
class Rule:
    """What a setting may hold. says: in words; holds: whether a value does; make: its type;
    is_there: whether what it names is, of which a reader of settings may have no need.
    """

    says: str
    holds: Callable[[Any], bool]
    make: Callable[[Any], Any]
    is_there: Callable[[Any], bool] = lambda value: True


def integer(default: int, least: int, most: int) -> Any:
    """A field for a whole number."""
    rule = Rule(
        f"a whole number from {least} to {most}",
        lambda value: _is_number(value, int) and least <= value <= most,
        int,
    )
    return _field(default, rule)


def real(default: float, least: float, most: float) -> Any:
    """A field for a real number."""
    rule = Rule(
        f"a number from {least:g} to {most:g}",
        lambda value: _is_number(value, int, float) and least <= value <= most,
        float,
    )
    return _field(default, rule)


def text(
    default: Any = dataclasses.MISSING,
    says: str = "text",
    holds: Callable[[str], bool] = lambda value: True,
) -> Any:
    return _field(default, Rule(says, lambda v: isinstance(v, str) and holds(v), str))


def one_of(default: Any, *values: str) -> Any:
    return _field(default, Rule(f"one of {', '.join(values)}", lambda v: v in values, str))


def texts(says: str, holds: Callable[[str], bool]) -> Any:
    """A field for a list of strings, empty by default."""
    rule = Rule(
        f"a list, each {says}",
        lambda value: (
            isinstance(value, list) and all(isinstance(v, str) and holds(v) for v in value)
        ),
        tuple,
    )
    return _field((), rule)


def folder() -> Any:
    """A field for the path of a folder, required."""
    rule = Rule(
        "a path from the root",
        lambda v: isinstance(v, str) and Path(v).is_absolute() and "\0" not in v,
        Path,
    )
    return _field(dataclasses.MISSING, rule)


def file() -> Any:
    """A field for the path of a file that is there; None by default, and for empty text."""
    rule = Rule(
        "the path of a file that is there",
        lambda value: isinstance(value, str),
        lambda value: Path(value) if value else None,
        lambda value: not value or os.path.isfile(value),  # noqa: PTH113  Path's may raise
    )
    return _field(None, rule)


def read_table(
    kind: type[T], table: object, where: str, mistakes: list[str], needs_files: bool
) -> T | None:
    """Build a settings class from a table; each mistake is a line `WHERE.NAME: reason`.

    needs_files: whether a file that is named has to be there. Returns None where there was a
    mistake.
    """
    if not isinstance(table, Mapping):
        mistakes.append(f"{where}: expected a table")
        return None
    known = {f.name: f for f in dataclasses.fields(kind) if _RULE in f.metadata}  # type: ignore[arg-type]
    before = len(mistakes)
    for name in table.keys() - known.keys():
        mistakes.append(f"{where}.{name}: no such setting; there are {', '.join(known)}")
    values: dict[str, Any] = {}
    for name, described in known.items():
        rule: Rule = described.metadata[_RULE]
        if name in table:
            if rule.holds(table[name]) and (rule.is_there(table[name]) or not needs_files):
                values[name] = rule.make(table[name])
            else:
                found = _shown(table[name])
                mistakes.append(f"{where}.{name}: expected {rule.says}, found {found}")
        elif described.default is dataclasses.MISSING:
            mistakes.append(f"{where}.{name}: missing; expected {rule.says}")
    return kind(**values) if len(mistakes) == before else None


def _shown(value: object) -> str:
    try:
        return repr(value)
    except ValueError:  # a number of which Python says no digits: TOML's 0xffff... may be any
        return "a number of thousands of digits"


def _field(default: Any, rule: Rule) -> Any:
    return dataclasses.field(default=default, metadata={_RULE: rule})


def _is_number(value: object, *kinds: type) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool)
