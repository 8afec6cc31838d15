"""One row of the catalogue: an input made by code, how the command ends, and what is preserved."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from lgg_runtime.lock import LOCK_FILE
from stand_ins.encodings import encode
from stand_ins.runs import LESION, draw_slice

INFER = ("lgg-infer", "in", "-o", "out")
RECORDS = ("run.json", "summary.csv", "journal.jsonl")
GOOD = "good/good_1.png"  # the slice beside every bad input that is not alone


@dataclass(frozen=True)
class Scene:
    """The folder that a row is played in; it is the current one, so that messages hold no more
    of a path than a user typed.

    patch and later: undone and closed after the row; shared: makes a fixture by its name.
    """

    root: Path
    patch: pytest.MonkeyPatch
    later: ExitStack
    shared: Callable[[str], Any]

    @property
    def source(self) -> Path:
        return self.root / "in"

    @property
    def out(self) -> Path:
        return self.root / "out"

    @property
    def model(self) -> Path:
        """A copy of the tiny artifact, whose probability is sigmoid((FLAIR - 128) / 8)."""
        return self.root / "model.onnx"

    def put(self, name: str, data: bytes) -> Path:
        """Write a file below `in`, with the folders above it."""
        path = self.source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    def put_good(self, name: str = GOOD) -> Path:
        """A slice of 40 x 48 with a lesion of 48 pixels."""
        return self.put(name, encode(".png", draw_slice(LESION)))


@dataclass(frozen=True)
class Outcome:
    """How a command ended, and what lies in `out` after it; before: digests of the scene's files
    before it.
    """

    scene: Scene
    code: int
    out: str
    err: str
    before: dict[str, str]

    @cached_property
    def changed(self) -> set[str]:
        """Files of the scene that are new, gone or others."""
        after = digests(self.scene.root)
        return {name for name, _ in after.items() ^ self.before.items()}

    @cached_property
    def files(self) -> list[str]:
        return [name for name in digests(self.scene.out) if not name.endswith(LOCK_FILE)]

    @cached_property
    def results(self) -> list[str]:
        return [name for name in self.files if name not in RECORDS]

    @cached_property
    def run(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads((self.scene.out / "run.json").read_bytes())
        return value

    def fates(self, fate: str) -> list[dict[str, Any]]:
        return [entry for entry in self.run["inputs"] if entry["fate"] == fate]


@dataclass(frozen=True)
class Keeping:
    """What is preserved, in words for the document, and as a check of what came out."""

    words: str
    check: Callable[[Outcome, Row], None]


@dataclass(frozen=True)
class Row:
    """name: of the test; what: the input, in words; make: puts it into the scene; code: exit code;
    says: all of standard error, without the line's end, {words in braces} for what varies; notes:
    what run.json records of the input; keeps: what is preserved; command: as a user types it;
    options for tests are added.
    """

    name: str
    what: str
    make: Callable[[Scene], object]
    code: int
    says: str
    keeps: Keeping
    notes: tuple[str, ...] = ()
    command: tuple[str, ...] = INFER


@dataclass(frozen=True)
class Section:
    """A heading of the document with its rows; intro: a paragraph below it."""

    title: str
    intro: str
    rows: tuple[Row, ...] = field(repr=False)


def digests(folder: Path) -> dict[str, str]:
    """Digest of each regular file below a folder by its name; of a large one, its size and time."""
    found = {}
    for path in sorted(folder.rglob("*")) if folder.is_dir() else []:
        status = path.lstat()
        if path.is_file() and not path.is_symlink() and status.st_size < 1 << 26:
            found[path.relative_to(folder).as_posix()] = hashlib.sha256(
                path.read_bytes()
            ).hexdigest()
        elif not path.is_dir():
            stamp = f"{status.st_mode} {status.st_size} {status.st_mtime_ns}"
            found[path.relative_to(folder).as_posix()] = stamp
    return found
