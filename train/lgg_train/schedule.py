"""The learning rate over a budget given in epochs or in minutes."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lgg_runtime.errors import UsageError


@dataclass(frozen=True)
class Budget:
    """When training ends: after `epochs`, or after `minutes` of training time.

    A budget in epochs gives the same numbers on every run. One in minutes makes the number of
    steps depend on the machine's speed; a resumed run goes on with the minutes that are left.
    """

    epochs: float | None = None
    minutes: float | None = None

    def __post_init__(self) -> None:
        given = [value for value in (self.epochs, self.minutes) if value is not None]
        if len(given) != 1 or not 0 < given[0] < math.inf:
            raise UsageError("expected one budget above zero: either epochs or minutes")

    def progress(self, step: int, steps_per_epoch: int, seconds: float) -> float:
        """Fraction of the budget that is spent, 1.0 from its end on."""
        if self.epochs is not None:
            return min(step / (self.epochs * steps_per_epoch), 1.0)
        assert self.minutes is not None
        return min(seconds / (self.minutes * 60), 1.0)


def learning_rate(peak: float, progress: float, warm_up: float) -> float:
    """Linear warm-up over the first `warm_up` of the budget, then half a cosine down to zero
    (Loshchilov and Hutter 2017, SGDR, without restarts).

    progress and warm_up: fractions of the budget. Never below a hundredth of the peak in warm-up.
    """
    if progress < warm_up:
        return peak * max(progress / warm_up, 0.01)
    rest = min((progress - warm_up) / (1 - warm_up), 1.0)
    return peak * 0.5 * (1 + math.cos(math.pi * rest))
