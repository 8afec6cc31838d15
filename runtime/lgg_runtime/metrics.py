"""Segmentation metrics from additive pixel counts.

Where a denominator is 0: Dice, IoU and recall are 1.0; precision is 1.0 if no tumour was missed,
else 0.0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lgg_runtime.errors import InputError
from lgg_runtime.plural import count


@dataclass(frozen=True)
class Counts:
    """Pixels by prediction and truth: true and false positives, false and true negatives."""

    tp: int = 0
    fp: int = 0
    fn: int = 0
    tn: int = 0

    @classmethod
    def of(cls, predicted: npt.NDArray[Any], truth: npt.NDArray[Any]) -> Counts:
        """Count two masks of one shape; non-zero is tumour. Raises InputError on other shapes."""
        if predicted.shape != truth.shape:
            raise InputError(f"masks differ in shape: {predicted.shape} and {truth.shape}")
        p, t = predicted.astype(bool), truth.astype(bool)
        tp = int(np.count_nonzero(p & t))
        fp, fn = int(np.count_nonzero(p)) - tp, int(np.count_nonzero(t)) - tp
        return cls(tp, fp, fn, p.size - tp - fp - fn)

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.tp + other.tp, self.fp + other.fp, self.fn + other.fn, self.tn + other.tn
        )

    @property
    def total(self) -> int:
        return self.tp + self.fp + self.fn + self.tn

    @property
    def dice(self) -> float:
        """2 TP / (2 TP + FP + FN); for pixels this is F1."""
        return _ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    @property
    def iou(self) -> float:
        """TP / (TP + FP + FN), the Jaccard index."""
        return _ratio(self.tp, self.tp + self.fp + self.fn)

    @property
    def recall(self) -> float:
        """TP / (TP + FN), the sensitivity."""
        return _ratio(self.tp, self.tp + self.fn, nothing_expected=True)

    @property
    def precision(self) -> float:
        """TP / (TP + FP), the positive predictive value."""
        return _ratio(self.tp, self.tp + self.fp, nothing_expected=self.fn == 0)

    @property
    def accuracy(self) -> float:
        return _ratio(self.tp + self.tn, self.total)

    def to_json(self) -> dict[str, Any]:
        return {
            "iou": self.iou,
            "precision": self.precision,
            "recall": self.recall,
            "f1": self.dice,
            "accuracy": self.accuracy,
            "support": {"tumour": self.tp + self.fn, "background": self.fp + self.tn},
        }


def summarise(counts: dict[str, Counts]) -> dict[str, Any]:
    """Pooled metrics over all pixels, and Dice by patient, from one patient's counts each."""
    return join_scores(sum(counts.values(), Counts()), {name: c.dice for name, c in counts.items()})


def join_scores(pooled: Counts, dice: dict[str, float]) -> dict[str, Any]:
    """What `summarise` gives, from the counts of all patients together and each one's Dice."""
    values = np.sort(np.array(list(dice.values()), np.float64))
    worst = values[: max(1, round(len(values) / 10))]
    return {
        "pooled": pooled.to_json(),
        "per_patient_dice": {
            "patients": len(values),
            "mean": float(values.mean()),
            "median": float(np.median(values)),
            "worst_tenth": float(worst.mean()),
            "by_patient": dict(sorted(dice.items())),
        },
    }


def _ratio(numerator: int, denominator: int, nothing_expected: bool = True) -> float:
    if denominator == 0:
        return 1.0 if nothing_expected else 0.0
    return numerator / denominator


def describe_dice(dice: dict[str, Any], interval: str = "") -> str:
    """Dice by patient, as `join_scores` gives it, in one line; interval: the mean's, in words."""
    return (
        f"Dice of {count(dice['patients'], 'patient')}: mean {dice['mean']:.4f}{interval}, "
        f"median {dice['median']:.4f}, worst tenth {dice['worst_tenth']:.4f}"
    )


def describe_pooled(pooled: dict[str, Any]) -> str:
    """The ratios of all pixels together, as `Counts.to_json` gives them, in one line."""
    return (
        f"Pooled pixels: IoU {pooled['iou']:.4f}, precision {pooled['precision']:.4f}, "
        f"recall {pooled['recall']:.4f}, F1 {pooled['f1']:.4f}"
    )
