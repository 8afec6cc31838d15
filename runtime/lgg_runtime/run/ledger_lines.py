"""The lines of `journal.jsonl`: how a finished study is put down, and how it is read back.

Each line is JSON, `{"crc32": number, "value": {...}}`. The first value is the header, the others
are finished studies.
"""

from __future__ import annotations

import dataclasses
import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from lgg_runtime.metrics import Counts
from lgg_runtime.run.journal import InputRecord
from lgg_runtime.run.summary import SummaryRow

# earlier: what runs before it left in the folder; journals of schema 2 have no such entry.
_HEADER = {"schema", "run", "earlier"}


@dataclass(frozen=True)
class Finished:
    """One study that is done, or what was written of one that failed in part.

    inputs, outputs: SHA-256 by name, relative to the input's and to the output's root; without
    inputs it proves nothing; records, rows, doubts: what the run recorded of it; left_out: slices
    that the first look left out.
    """

    study: str
    inputs: dict[str, str]
    outputs: dict[str, str]
    records: tuple[InputRecord, ...]
    rows: tuple[SummaryRow, ...]
    doubts: tuple[str, ...] = ()
    left_out: int = 0


@dataclass(frozen=True)
class ParsedLines:
    """What the whole lines at the beginning of a journal say, and how many bytes they are.

    header: None where already the first line is damaged.
    """

    header: dict[str, Any] | None
    finished: tuple[Finished, ...]
    whole_bytes: int


def encode_line(value: dict[str, Any]) -> bytes:
    """One line: the value with the CRC-32 of its text."""
    text = json.dumps(value, sort_keys=True)
    return f'{{"crc32": {zlib.crc32(text.encode("ascii"))}, "value": {text}}}\n'.encode("ascii")


def parse_lines(data: bytes) -> ParsedLines:
    """Any bytes are taken; reading ends before the first line that is torn or damaged."""
    header: dict[str, Any] | None = None
    finished: list[Finished] = []
    whole = 0
    for line in data.split(b"\n")[:-1]:
        try:
            value = _decode_line(line + b"\n")
            if header is None:
                _require_below(value.get("earlier", []))
                header = _require(value, value.keys() in ({"schema", "run"}, _HEADER))
            else:
                finished.append(_build_finished(value))
        except (ValueError, RecursionError):
            break
        whole += len(line) + 1
    return ParsedLines(header, tuple(finished), whole)


def _decode_line(line: bytes) -> dict[str, Any]:
    """Raises ValueError for bytes that encode_line did not make."""
    parsed = json.loads(line)
    value = parsed.get("value") if isinstance(parsed, dict) else None
    if not isinstance(value, dict):
        raise ValueError("no line of a journal")
    return _require(value, encode_line(value) == line)


def _build_finished(value: dict[str, Any]) -> Finished:
    _require(value, all(isinstance(value.get(name), list) for name in ("records", "rows")))
    records = tuple(_build(InputRecord, entry) for entry in value["records"])
    rows = tuple(_build(SummaryRow, entry) for entry in value["rows"])
    finished: Finished = _build(Finished, value | {"records": records, "rows": rows})
    _require_below(list(finished.outputs))
    return finished


def _require_below(names: Any) -> None:
    """Raises ValueError for what is no list of names below a folder."""
    paths = [PurePosixPath(name) for name in names] if _is_texts(names) else [PurePosixPath("/")]
    if any(path.is_absolute() or ".." in path.parts for path in paths):
        raise ValueError("no list of names")


def _build(kind: Any, value: Any) -> Any:
    """A dataclass from its JSON form. Raises ValueError for other fields, or another type."""
    fields = dataclasses.fields(kind)
    if not isinstance(value, dict) or value.keys() != {spec.name for spec in fields}:
        raise ValueError(f"no {kind.__name__}")
    given: dict[str, Any] = {}
    for spec in fields:
        entry = value[spec.name]
        if spec.type == "Counts | None" and entry is not None:
            entry = _build(Counts, entry)
        elif not _CHECKS[str(spec.type)](entry):
            raise ValueError(f"{kind.__name__}.{spec.name}")
        given[spec.name] = tuple(entry) if isinstance(entry, list) else entry
    return kind(**given)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(entry, str) for entry in value)


def _is_digests(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(entry, str) for entry in value.values())


_CHECKS: dict[str, Callable[[Any], bool]] = {
    "str": lambda value: isinstance(value, str),
    "bool": lambda value: isinstance(value, bool),
    "int": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "float": _is_number,
    "float | None": lambda value: value is None or _is_number(value),
    "Counts | None": lambda value: value is None,
    "dict[str, str]": _is_digests,
    "tuple[str, ...]": _is_texts,
    "tuple[InputRecord, ...]": lambda value: isinstance(value, tuple),
    "tuple[SummaryRow, ...]": lambda value: isinstance(value, tuple),
}


def _require(value: dict[str, Any], holds: bool) -> dict[str, Any]:
    if not holds:
        raise ValueError("no line of this journal")
    return value
