"""What was done: `run.json` and `summary.csv`."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from lgg_runtime.contract import RESEARCH_ONLY
from lgg_runtime.summary import SummaryRow, write_csv
from lgg_runtime.writers.atomic import write_atomically

RUN_FILE, SUMMARY_FILE = "run.json", "summary.csv"
DONE, FAILED, SKIPPED_MASK = "done", "failed", "skipped: reference mask"


@dataclass(frozen=True, slots=True)
class InputRecord:
    """The fate of one input: done, failed with a reason, or skipped as a reference mask.

    notes: what was recorded about it; outputs: files written, relative to the output folder.
    """

    name: str
    fate: str
    reason: str = ""
    notes: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()


@dataclass
class Journal:
    """Collects what a run does, and writes it.

    settings: the options; model: name, digest and contract; provider: requested, ran, device;
    seconds: by stage; metrics: against the reference masks, where the run was evaluated;
    resumed: number of studies that an earlier run had finished; doubts: by study, why it does not
    look like what the model was trained on.
    """

    settings: dict[str, Any]
    model: dict[str, Any] = field(default_factory=dict)
    provider: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    skipped_files: int = 0
    inputs: list[InputRecord] = field(default_factory=list)
    rows: list[SummaryRow] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    metrics: dict[str, Any] | None = None
    resumed: int = 0
    doubts: dict[str, str] = field(default_factory=dict)

    def count(self, fate: str) -> int:
        return sum(record.fate == fate for record in self.inputs)

    @property
    def patients(self) -> list[SummaryRow]:
        return [row for row in self.rows if row.level == "patient"]

    @property
    def failures(self) -> list[InputRecord]:
        return [record for record in self.inputs if record.fate == FAILED]

    def write(self, folder: Path, state: str) -> None:
        """Write both files; state: complete, or what ended the run before its time."""
        # A file name need not be text; both files are, with its foreign bytes escaped.
        table = write_csv(self.rows).encode("utf-8", "backslashreplace")
        write_atomically(folder / SUMMARY_FILE, table)
        # In pieces: of many thousand slices the text is as large as all else that is kept of them.
        text = json.JSONEncoder(indent=1).iterencode(self.to_json(state))
        write_atomically(folder / RUN_FILE, (piece.encode("ascii") for piece in chain(text, "\n")))

    def to_json(self, state: str) -> dict[str, Any]:
        counts = {
            "inputs": len(self.inputs),
            "done": self.count(DONE),
            "failed": self.count(FAILED),
            "skipped_masks": self.count(SKIPPED_MASK),
            "skipped_files": self.skipped_files,
            "patients": len(self.patients),
            "patients_with_tumour": sum(row.tumour_present for row in self.patients),
        }
        return {
            "schema": 1,
            "use": RESEARCH_ONLY,
            "state": state,
            "model": self.model,
            "provider": self.provider,
            "settings": self.settings,
            "versions": tool_versions() | self.versions,
            "machine": {"system": platform.platform(), "processor": platform.machine()},
            "seconds": {name: round(value, 4) for name, value in self.seconds.items()},
            "counts": counts,
            "metrics": self.metrics,
            "doubts": self.doubts,
            "patients": [
                {"name": r.patient, "tumour": r.tumour_present, "volume_ml": r.volume_ml}
                for r in self.patients
            ],
            "inputs": [asdict(record) for record in sorted(self.inputs, key=lambda r: r.name)],
        }


def tool_versions() -> dict[str, str]:
    """Of this package and of what its numbers depend on, without the provider's."""
    return {
        "lgg-edge": version("lgg-edge"),
        "python": platform.python_version(),
        "numpy": np.__version__,
    }
