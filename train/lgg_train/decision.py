"""The decision: from which probability a pixel is tumour, and which components stay.

Chosen on patients that did not train, recall first: a missed tumour is worse than a false alarm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lgg_runtime.cleanup import CleanupSettings, clean_up, label_components
from lgg_runtime.contract import LEAST_THRESHOLD
from lgg_runtime.errors import InputError
from lgg_runtime.metrics import Counts
from lgg_runtime.plural import count
from lgg_runtime.volume import Mask, Probability

THRESHOLDS = tuple(round(0.1 + 0.05 * step, 2) for step in range(17))
FRACTIONS = (0.0, 0.1, 0.25, 0.5, 1.0)
# Only a patient without tumour can tell how small a finding is no tumour.
LEAST_VOXELS = (0, 50, 100, 200, 500)
TOLERANCE = 0.005


@dataclass(frozen=True)
class Decision:
    """From which probability on a pixel is tumour, which components stay, and in words how both
    were chosen.
    """

    threshold: float
    cleanup: CleanupSettings
    how: str

    def describe(self) -> str:
        """For a person: the threshold and which components stay."""
        return f"threshold {self.threshold}, clean-up: {self.cleanup.describe()}"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Any) -> Decision:
        """Raises InputError for what is no decision, or one that no contract would take."""
        try:
            cleanup = CleanupSettings(**value["cleanup"])
            threshold, how = value["threshold"], str(value["how"])
        except (KeyError, TypeError) as error:
            raise InputError(f"no decision: {error!r}") from error
        fraction, voxels = cleanup.smallest_fraction, cleanup.smallest_voxels
        expected = (
            ("threshold", threshold, _is_number(threshold) and LEAST_THRESHOLD <= threshold < 1),
            ("smallest_fraction", fraction, _is_number(fraction) and 0 <= fraction <= 1),
            ("smallest_voxels", voxels, type(voxels) is int and voxels >= 0),
        )
        if wrong := [f"{name} {given!r}" for name, given, fits in expected if not fits]:
            raise InputError(f"no decision: {', '.join(wrong)}")
        return cls(float(threshold), cleanup, how)

    def apply(self, probability: Probability) -> Mask:
        """(S, H, W) probabilities of a whole volume to its mask."""
        return clean_up(probability >= self.threshold, self.cleanup)


def _is_number(value: object) -> bool:
    """Be it whole; true and false are none."""
    return type(value) in (int, float)


@dataclass(frozen=True)
class Findings:
    """All that the choice needs of one patient's probabilities.

    components: by threshold, a row of each 3-D component, (N, 3): its voxels in the whole volume,
    its voxels in the slices that count, and how many of these are tumour. tumour and total: voxels
    in the slices that count.
    """

    components: dict[float, npt.NDArray[np.int64]]
    tumour: int
    total: int

    def counts(self, threshold: float, cleanup: CleanupSettings) -> Counts:
        """Of the slices that count, at one of THRESHOLDS, after clean-up of the whole volume."""
        rows = self.components[threshold]
        found, tp = rows[cleanup.keeps(rows[:, 0]), 1:].sum(axis=0).tolist()
        return Counts(tp, found - tp, self.tumour - tp, self.total - found - self.tumour + tp)


def find(probability: Probability, truth: Mask, used: Sequence[int]) -> Findings:
    """Look at a whole volume's probabilities and truth, (S, H, W); used: indices of the slices
    that count. Clean-up sees the whole volume, but slices of another part decide nothing.
    """
    counting = list(used)
    theirs = truth[counting]
    components = {}
    for threshold in THRESHOLDS:
        mask = probability >= threshold
        labels, number = label_components(mask)
        ours, inside = labels[counting], mask[counting]
        groups = (labels[mask], ours[inside], ours[inside & theirs])
        rows = [np.bincount(group, minlength=number + 1)[1:] for group in groups]
        components[threshold] = np.stack(rows, axis=1)
    return Findings(components, int(np.count_nonzero(theirs)), theirs.size)


def choose_decision(patients: Sequence[tuple[Probability, Mask, Sequence[int]]]) -> Decision:
    """`choose` over validation patients, each as `find` takes it."""
    return choose([find(*p) for p in patients], count(len(patients), "validation patient"))


def choose(findings: Sequence[Findings], who: str) -> Decision:
    """Search thresholds and clean-ups over patients that did not train; `who` and how many they
    are, in words.

    Where one of them has no tumour, a least size of components is tried as well.
    Among all choices whose mean Dice by patient is within 0.005 of the best one's, the one with
    the highest pooled recall is taken; of equal ones the higher mean Dice, then the lower
    threshold, then the smaller fraction and the smaller size.
    """
    has_empty = any(not patient.tumour for patient in findings)
    if not any(patient.tumour for patient in findings):
        who += " without tumour"  # where a recall of 1 says nothing
    cleanups = [
        CleanupSettings(fraction, voxels)
        for fraction in FRACTIONS
        for voxels in (LEAST_VOXELS if has_empty else LEAST_VOXELS[:1])
    ]
    scored = []
    for threshold in THRESHOLDS:
        for cleanup in cleanups:
            counts = [patient.counts(threshold, cleanup) for patient in findings]
            mean = float(np.mean([c.dice for c in counts]))
            recall = sum(counts, Counts()).recall
            scored.append((recall, mean, threshold, cleanup))
    best = max(mean for _, mean, _, _ in scored)
    eligible = [entry for entry in scored if entry[1] >= best - TOLERANCE]
    recall, mean, threshold, cleanup = max(eligible, key=lambda entry: entry[:2])
    sizes = f", least voxels {list(LEAST_VOXELS)}" if has_empty else ""
    how = (
        f"highest pooled recall ({recall:.4f}) on {who} among all "
        f"thresholds {THRESHOLDS[0]} to {THRESHOLDS[-1]} and smallest component fractions "
        f"{list(FRACTIONS)}{sizes} whose mean Dice by patient is within {TOLERANCE} of the best "
        f"({best:.4f}); this one's mean Dice is {mean:.4f}"
    )
    return Decision(threshold, cleanup, how)
