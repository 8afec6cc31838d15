"""The folder of a tiny training run: what it is made with, and what lies in it."""

import json
from pathlib import Path
from typing import Any

TINY = ["--features", "4", "--depth", "2", "--crop", "32", "--batch", "4", "--tumour", "3"]
TINY += ["--precision", "fp32", "--device", "cpu", "--no-progress"]
# Beside TINY, what the finished run that training's tests share was told.
BRIEF = ("--epochs", "4", "--rate", "0.01", "--validations", "2")
# A smaller network yet, for what trains several.
LEAST = ("--features", "4", "--depth", "1", "--crop", "16", "--batch", "4", "--tumour", "3",
         "--device", "cpu")  # fmt: skip


def read_config(run: Path) -> dict[str, Any]:
    """What the run recorded of itself."""
    config: dict[str, Any] = json.loads((run / "config.json").read_text())
    return config


def read_metrics(folder: Path, part: str = "validation") -> dict[str, Any]:
    """The scores of a part."""
    scores: dict[str, Any] = json.loads((folder / f"metrics_{part}.json").read_text())
    return scores


def contents(folder: Path) -> dict[str, bytes]:
    """Each file's bytes by its name."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}
