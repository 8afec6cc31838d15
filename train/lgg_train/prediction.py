"""What PyTorch predicts for one patient, and how well that fits the truth."""

from __future__ import annotations

from dataclasses import dataclass

from lgg_runtime.metrics import Counts
from lgg_runtime.volume import Mask, Pixels, Probability
from lgg_train.decision import Decision


@dataclass(frozen=True)
class Prediction:
    """One patient's normalised slices, probabilities, truth and head, and the slices that count.

    slices (S, H, W, 3) uint8, probability (S, H, W) float32, truth and head (S, H, W) bool; used:
    indices. Of a split by slice, the other slices are of other parts: clean-up sees them, and
    nothing is counted on them.
    """

    patient: str
    slices: Pixels
    probability: Probability
    truth: Mask
    used: tuple[int, ...]
    head: Mask

    def counts_by_slice(self, decision: Decision) -> list[Counts]:
        """Of each slice that counts, under a decision."""
        used = list(self.used)
        found = decision.apply(self.probability)[used]
        return [Counts.of(m, t) for m, t in zip(found, self.truth[used], strict=True)]

    def counts(self, decision: Decision) -> Counts:
        """Of all pixels that count, under a decision."""
        return self.counts_of(decision.apply(self.probability))

    def counts_of(self, mask: Mask) -> Counts:
        """Of all pixels that count in a mask of the whole volume, (S, H, W) bool."""
        used = list(self.used)
        return Counts.of(mask[used], self.truth[used])
