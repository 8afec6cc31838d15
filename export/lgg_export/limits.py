"""What an artifact may differ by from the PyTorch model, and a host from it, by its precision."""

from __future__ import annotations

from lgg_export.parity import Limits
from lgg_runtime.errors import ModelError

# Eight bits move single probabilities far and pixels at the border of a tumour; what counts is what
# is found.
LOSSY = Limits(flipped=2e-3, mean_dice_loss=2e-3, patient_dice_loss=1e-2, recall_loss=2e-3)
LIMITS: dict[str, Limits] = {
    "fp32": Limits(probability=1e-3, flipped=1e-5, metric=1e-4),
    "fp16": Limits(probability=5e-2, flipped=1e-4, metric=1e-3),
    "int8": LOSSY,
}
GOLDEN = {"fp32": 1e-3, "fp16": 5e-2, "int8": 2e-1}
# Other words of a contract, and the precision that their rounding is like.
_LIKE = {"fp32 with fp16 weights": "fp16", "int8 symmetric": "int8"}


def limits_of(precision: str) -> Limits:
    """The limits for a contract's precision; float16 weights round as float16 arithmetic does.

    Raises ModelError for a precision that is not in the table.
    """
    return LIMITS[_rounding_of(precision)]


def golden_tolerance(precision: str) -> float:
    """What a host's probability of the golden input may differ by. Raises ModelError as `limits_of`
    does.
    """
    return GOLDEN[_rounding_of(precision)]


def _rounding_of(precision: str) -> str:
    """The precision of the table that a contract's rounds like."""
    name = _LIKE.get(precision, precision)
    if name not in LIMITS:
        raise ModelError(f"precision {precision!r}: expected {', '.join(LIMITS)}")
    return name
