"""What was done: `run.json` and `summary.csv`."""

from __future__ import annotations

import json
import platform
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lgg_runtime import __version__
from lgg_runtime.notice import RESEARCH_ONLY
from lgg_runtime.run.packed import Packed
from lgg_runtime.run.summary import SummaryRow, encode_csv
from lgg_runtime.writers.atomic import write_atomically

RUN_FILE, SUMMARY_FILE, REPORT_FILE = "run.json", "summary.csv", "report.html"
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
    skipped_files: number of files that are no input; links: of the symbolic links among them;
    passed_over: of the input, what was left out by its name and may be missed; notices: of that;
    seconds: by stage; metrics: against the reference masks, where the run was evaluated;
    resumed: number of studies that an earlier run had finished; left_out: slices that the first
    look left out; doubts: by study, why it does not look like what the model was trained on;
    stale: files of an earlier run into the same folder that are not of this one.
    """

    settings: dict[str, Any]
    model: dict[str, Any] = field(default_factory=dict)
    provider: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    skipped_files: int = 0
    links: int = 0
    passed_over: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()
    inputs: Packed[InputRecord] = field(default_factory=lambda: Packed(InputRecord))
    rows: Packed[SummaryRow] = field(default_factory=lambda: Packed(SummaryRow.of))
    seconds: dict[str, float] = field(default_factory=dict)
    metrics: dict[str, Any] | None = None
    resumed: int = 0
    left_out: int = 0
    doubts: dict[str, str] = field(default_factory=dict)
    stale: tuple[str, ...] = ()

    @property
    def patients(self) -> list[SummaryRow]:
        return [row for row in self.rows if row.level == "patient"]

    @property
    def failures(self) -> list[InputRecord]:
        return [record for record in self.inputs if record.fate == FAILED]

    def write(self, folder: Path, state: str) -> None:
        """Write both files; state: complete, or what ended the run before its time."""
        # A file name need not be text; both files are, its foreign bytes escaped. In pieces: of
        # many thousand slices the text is larger than all else that is kept of them.
        lines = encode_csv(self.rows, self.doubts)
        encoded = (line.encode("utf-8", "backslashreplace") for line in lines)
        write_atomically(folder / SUMMARY_FILE, encoded)
        pieces = (piece.encode("ascii") for piece in self.encode(state))
        write_atomically(folder / RUN_FILE, pieces)

    def encode(self, state: str) -> Iterator[str]:
        """`run.json` in pieces: `to_json` with an indent of 1, and its `inputs`, the last name, a
        line each.
        """
        yield json.dumps(self.to_json(state), indent=1).removesuffix("\n}")
        yield ',\n "inputs": ['
        for index, record in enumerate(sorted(self.inputs, key=lambda r: r.name)):
            yield ",\n" if index else "\n"
            yield "  " + json.dumps(asdict(record))
        yield ("\n ]" if self.inputs else "]") + "\n}\n"

    def to_json(self, state: str) -> dict[str, Any]:
        """What `run.json` holds, without the row of each input."""
        fates = Counter(record.fate for record in self.inputs)
        patients = self.patients
        counts = {
            "inputs": len(self.inputs),
            "done": fates[DONE],
            "failed": fates[FAILED],
            "skipped_masks": fates[SKIPPED_MASK],
            "skipped_files": self.skipped_files,
            "patients": len(patients),
            "patients_with_tumour": sum(row.tumour_present for row in patients),
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
            "stale": self.stale,
            "passed_over": self.passed_over,
            "patients": [
                {
                    "name": row.patient,
                    "tumour": row.tumour_present,
                    "volume_ml": row.volume_ml,
                    "dropped_fraction": row.dropped_fraction,
                }
                for row in patients
            ],
        }


def tool_versions() -> dict[str, str]:
    """Of this package and of what its numbers depend on, without the provider's."""
    return {
        "lgg-edge": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
    }
