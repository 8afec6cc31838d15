"""Parity: does an artifact give what the PyTorch model gave? Judged here, on arrays alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, astuple, dataclass, replace
from typing import Any

import numpy as np

from lgg_runtime.errors import ParityError
from lgg_runtime.metrics import Counts, summarise
from lgg_runtime.volume import Pixels, Probability
from lgg_train.decision import Decision
from lgg_train.prediction import Prediction


@dataclass(frozen=True)
class Limits:
    """What a precision may differ by, None where it may by any amount.

    probability: the largest difference; flipped: the fraction of pixels that fall on the other side
    of the threshold; metric: of any pooled metric or patient's Dice, up or down. Then what may be
    lost, where a gain is none: of the mean over patients' Dice, of any patient's Dice, of the
    pooled recall.
    """

    probability: float | None = None
    flipped: float | None = None
    metric: float | None = None
    mean_dice_loss: float | None = None
    patient_dice_loss: float | None = None
    recall_loss: float | None = None

    def share(self, part: float) -> Limits:
        """Each limit times `part`."""
        return Limits(*(None if v is None else part * v for v in astuple(self)))


@dataclass(frozen=True)
class Parity:
    """The comparison: differences and losses as in `Limits`, and both sides' scores."""

    subject: str
    patients: int
    slices: int
    largest_probability_difference: float
    flipped_pixels: float
    largest_metric_difference: float
    largest_dice_difference: float
    mean_dice_loss: float
    largest_dice_loss: float
    recall_loss: float
    pytorch: dict[str, Any]
    artifact: dict[str, Any]

    def summary(self) -> dict[str, Any]:
        """Without the scores by patient, for the contract."""
        whole = asdict(self)
        for side in ("pytorch", "artifact"):
            whole[side] = without_patients(whole[side])
        return whole

    def failures(self, limits: Limits) -> list[str]:
        """Every limit that is exceeded, in words; empty where all hold."""
        found = {
            "probability difference": (self.largest_probability_difference, limits.probability),
            "flipped pixels": (self.flipped_pixels, limits.flipped),
            "metric difference": (self.largest_metric_difference, limits.metric),
            "Dice difference of a patient": (self.largest_dice_difference, limits.metric),
            "loss of mean Dice": (self.mean_dice_loss, limits.mean_dice_loss),
            "loss of a patient's Dice": (self.largest_dice_loss, limits.patient_dice_loss),
            "loss of recall": (self.recall_loss, limits.recall_loss),
        }
        return [
            f"{name} {a:.3g} over {b:.3g}"
            for name, (a, b) in found.items()
            if b is not None and not a <= b
        ]


def compare(
    subject: str,
    references: Iterable[Prediction],
    run: Callable[[Pixels], Probability],
    decision: Decision,
) -> Parity:
    """Run an artifact on normalised slices and compare it with PyTorch, patient by patient.

    `run` takes (S, H, W, 3) uint8 of any H and W and returns (S, H, W) float32.
    Raises ParityError where there is nothing to compare or one side's output is no number.
    """
    largest, flipped, pixels, slices = 0.0, 0, 0, 0
    theirs: dict[str, Counts] = {}
    ours: dict[str, Counts] = {}
    for reference in references:
        found = run(reference.slices)
        if not (np.isfinite(found).all() and np.isfinite(reference.probability).all()):
            raise ParityError(f"{subject}: the output is no number")
        used = list(reference.used)
        a, b = found[used], reference.probability[used]
        largest = max(largest, float(np.abs(a - b).max()))
        flipped += int(np.count_nonzero((a >= decision.threshold) != (b >= decision.threshold)))
        pixels, slices = pixels + a.size, slices + len(used)
        theirs[reference.patient] = reference.counts(decision)
        ours[reference.patient] = replace(reference, probability=found).counts(decision)
    if not ours:
        raise ParityError(f"{subject}: no patient to compare on")
    pytorch, artifact = summarise(theirs), summarise(ours)
    losses = [theirs[name].dice - ours[name].dice for name in ours]
    return Parity(
        subject=subject,
        patients=len(ours),
        slices=slices,
        largest_probability_difference=largest,
        flipped_pixels=flipped / pixels,
        largest_metric_difference=max(
            abs(pytorch["pooled"][k] - artifact["pooled"][k])
            for k in ("iou", "precision", "recall", "f1")
        ),
        largest_dice_difference=max(map(abs, losses)),
        mean_dice_loss=pytorch["per_patient_dice"]["mean"] - artifact["per_patient_dice"]["mean"],
        largest_dice_loss=max(losses),
        recall_loss=pytorch["pooled"]["recall"] - artifact["pooled"]["recall"],
        pytorch=pytorch,
        artifact=artifact,
    )


def without_patients(scores: dict[str, Any]) -> dict[str, Any]:
    """Scores with their numbers by patient left out."""
    dice = {k: v for k, v in scores["per_patient_dice"].items() if k != "by_patient"}
    return {"pooled": scores["pooled"], "per_patient_dice": dice}
