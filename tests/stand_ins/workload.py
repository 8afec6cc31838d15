"""A small run of lgg-infer for the tests of faults, and how much of them is asked for."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stand_ins.forks import Call, ForkServer

# `make test-faults` sets these; the normal suite takes a few of each.
KILLS = int(os.environ.get("LGG_FAULT_KILLS", "8"))
CHECKPOINT_KILLS = int(os.environ.get("LGG_FAULT_CHECKPOINT_KILLS", "12"))
RECORD = os.environ.get("LGG_FAULT_RECORD")

IMPORTED = (
    "click", "cv2", "lgg_runtime.cli", "lgg_runtime.run.inference", "lgg_runtime.run.report",
    "onnxruntime", "tqdm",
)  # fmt: skip


@dataclass(frozen=True)
class Workload:
    """Slices to segment, the artifact to do it with, the server to fork from, a folder to log."""

    source: Path
    artifact: Path
    server: ForkServer
    folder: Path

    def from_source(self, source: Path) -> Workload:
        return replace(self, source=source)

    def call(self, out: Path, *more: str, **plan: Any) -> Call:
        """lgg-infer into the folder; plan: what the call suffers."""
        fixed = ("-m", str(self.artifact), "--threads", "2", "-p", "--no-progress")
        arguments = (str(self.source), "-o", str(out), *fixed, *more)
        return Call("lgg_runtime.cli:main", arguments, self.folder / "log", out, **plan)
