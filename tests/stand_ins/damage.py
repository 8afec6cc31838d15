"""What must hold of an output folder after any fault, and what a finished one is compared by."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lgg_runtime.lock import LOCK_FILE
from lgg_runtime.run.journal import RUN_FILE, SUMMARY_FILE
from lgg_runtime.run.ledger import JOURNAL_FILE
from lgg_runtime.run.ledger_lines import parse_lines
from lgg_runtime.writers.atomic import PART_SUFFIX

OWN_FILES = (RUN_FILE, SUMMARY_FILE, JOURNAL_FILE, LOCK_FILE)


@dataclass(frozen=True)
class Kept:
    """What a fault left: outputs under their final names, studies that the journal proves."""

    outputs: frozenset[str]
    studies: frozenset[str]


def read_outputs(folder: Path) -> dict[str, bytes]:
    """Every output by its name relative to the folder; of a file that is not whole, none."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in OWN_FILES and path.suffix != PART_SUFFIX
    }


def read_results(folder: Path) -> dict[str, Any]:
    """All that a user gets: the outputs, `summary.csv`, and `run.json` without the times."""
    run = json.loads((folder / RUN_FILE).read_bytes())
    return {
        **read_outputs(folder),
        RUN_FILE: run | {"seconds": None},
        SUMMARY_FILE: (folder / SUMMARY_FILE).read_bytes(),
    }


def left_parts(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*" + PART_SUFFIX))


def check_folder(folder: Path, undisturbed: dict[str, bytes]) -> Kept:
    """Asserts that no file is torn, that every output is the undisturbed run's byte for byte,
    and that the journal speaks the truth.
    """
    outputs = read_outputs(folder) if folder.exists() else {}
    for name, data in outputs.items():
        assert data == undisturbed.get(name), f"{name} is torn or another"
    _check_tables(folder)
    journal = folder / JOURNAL_FILE
    data = journal.read_bytes() if journal.exists() else b""
    parsed = parse_lines(data)
    assert b"\n" not in data[parsed.whole_bytes :], "a damaged line inside the journal"
    for finished in parsed.finished:
        for name, digest in finished.outputs.items():
            assert hashlib.sha256(outputs[name]).hexdigest() == digest, name
    return Kept(frozenset(outputs), frozenset(entry.study for entry in parsed.finished))


def _check_tables(folder: Path) -> None:
    if (folder / RUN_FILE).exists():
        json.loads((folder / RUN_FILE).read_bytes())
    if (folder / SUMMARY_FILE).exists():
        text = (folder / SUMMARY_FILE).read_text(encoding="utf-8")
        assert text.endswith("\n")
        assert len({len(row) for row in csv.reader(io.StringIO(text))}) == 1
