"""First look: a quick network sees every slice, so that the model runs only where there may be
tumour.

Two slices of three hold none in the training data. What the first look misses is lost, so a faint
sign suffices, and the slices beside are run too: a tumour that is seen is seen to its ends.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lgg_runtime.cleanup import CleanupSettings, clean_up
from lgg_runtime.contract import Contract
from lgg_runtime.crop import Box
from lgg_runtime.errors import ModelError
from lgg_runtime.volume import Probability

# From this probability on a pixel is a sign of tumour, and 3-D components of signs below this
# fraction of the largest are specks. On the 82 patients of the training and validation parts not
# even 0.3 and 0.03 lost any of the tumour found; the first look was trained on 72 of them, so the
# least sign is far lower.
LEAST_SIGN = 0.02
SPECKS = CleanupSettings(smallest_fraction=0.03)


def keep_signs(probability: Probability, boxes: Sequence[Box | None]) -> tuple[Box | None, ...]:
    """What the model shall run of each slice: its box, None where the first look found no sign
    in it or in a slice beside it.

    probability: the first look's, (S, H, W), slices in anatomical order.
    """
    signs = np.asarray(clean_up(probability >= LEAST_SIGN, SPECKS).any(axis=(1, 2)))
    near = signs.copy()
    near[1:] |= signs[:-1]
    near[:-1] |= signs[1:]
    return tuple(box if run else None for box, run in zip(boxes, near, strict=True))


def require_same_slices(first_look: Contract, model: Contract) -> None:
    """Raises ModelError where the two expect slices that are prepared differently."""
    for name in ("intensity", "channels", "pixel_mm"):
        theirs, ours = getattr(first_look, name), getattr(model, name)
        if theirs != ours:
            raise ModelError(
                f"first look {first_look.name}: its {name} is {theirs}, the model's is {ours}; "
                "both must be trained on slices that are prepared alike"
            )
