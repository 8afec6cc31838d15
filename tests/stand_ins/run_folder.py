"""What lies in the folder of a training run."""

import json
from pathlib import Path
from typing import Any


def read_metrics(folder: Path, part: str = "validation") -> dict[str, Any]:
    """The scores of a part."""
    scores: dict[str, Any] = json.loads((folder / f"metrics_{part}.json").read_text())
    return scores


def contents(folder: Path) -> dict[str, bytes]:
    """Each file's bytes by its name."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}
