"""The lines of `journal.jsonl`: how a finished study is put down, and how it is read back.

Each line is JSON, `{"crc32": number, "value": {...}}`. The first value is the header, the others
are finished studies.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from lgg_runtime.errors import ModelError
from lgg_runtime.run.journal import InputRecord
from lgg_runtime.run.summary import SummaryRow
from lgg_runtime.typed_json import build

SCHEMA = 4
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
    """Any bytes are taken; reading ends before the first line that is torn or damaged. Of another
    schema, whose studies are only known by their outputs, newer fields may be missing.
    """
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
                finished.append(_build_finished(value, header["schema"] == SCHEMA))
        except (ModelError, ValueError, RecursionError):
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


def _build_finished(value: dict[str, Any], whole: bool) -> Finished:
    finished = build(Finished, value, "finished", whole)
    _require_below(list(finished.outputs))
    return finished


def _require_below(names: Any) -> None:
    """Raises ValueError for what is no list of names below a folder."""
    paths = [PurePosixPath(name) for name in names] if _is_texts(names) else [PurePosixPath("/")]
    if any(path.is_absolute() or ".." in path.parts for path in paths):
        raise ValueError("no list of names")


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(entry, str) for entry in value)


def _require(value: dict[str, Any], holds: bool) -> dict[str, Any]:
    if not holds:
        raise ValueError("no line of this journal")
    return value
