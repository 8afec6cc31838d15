"""What a trained run's folder says of it: settings, scores and history, from its JSON and CSV."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lgg_runtime.errors import InputError
from lgg_train.history import read_rounds
from lgg_train.run import read_config
from lgg_train.scores import read_scores

PARTS = ("validation", "test")


@dataclass(frozen=True)
class RunRecord:
    """What a run's folder says: its settings, its scores by part (`test`, `validation`,
    `test_flair_only`), and its history: rounds of rows, one a validation.
    """

    name: str
    config: dict[str, Any]
    scores: dict[str, dict[str, Any]]
    rounds: list[list[dict[str, float]]]

    @property
    def label(self) -> str:
        unet = self.config["settings"]["unet"]
        size = {1: "", 2: ", half size", 4: ", quarter size"}[unet.get("stride", 1)]
        mirror = ", mirror" if unet["mirror"] else ""
        symmetry = ", other side" if unet.get("symmetry") else ""
        return f"{self.name} ({unet['features']} features{size}{mirror}{symmetry})"

    @property
    def tested(self) -> set[str]:
        """Names of the test patients."""
        return set(self.scores["test"]["per_patient_dice"]["by_patient"])

    @property
    def networks(self) -> set[str]:
        """Digests of those whose scores these are; scores from before they told it add none."""
        return {scores["model"] for scores in self.scores.values() if "model" in scores}

    @classmethod
    def read(cls, folder: Path) -> RunRecord:
        """Raises InputError for a folder that cannot be read, or lacks scores or settings."""
        try:
            files = sorted(folder.glob("metrics_*.json"))
        except OSError as error:
            raise InputError(f"{folder}: cannot be read ({error.strerror})") from error
        scores = {path.stem.removeprefix("metrics_"): read_scores(path) for path in files}
        for part in PARTS:
            if part not in scores:
                raise InputError(
                    f"{folder}: no metrics_{part}.json; `lgg-train evaluate` writes it"
                )
        config = read_config(folder, "training", "settings")
        return cls(folder.name, config, scores, read_rounds(folder))
