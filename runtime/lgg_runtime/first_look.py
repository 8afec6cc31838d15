"""First look: a quick network sees every slice, so that the model runs only where there may be
tumour.

Two slices of three hold none in the training data. A tumour of which the first look sees no sign in
any slice is lost, so a faint sign suffices; one that it sees in part is followed to its ends by the
model itself.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from lgg_runtime.cleanup import CleanupSettings, clean_up
from lgg_runtime.contract import Contract
from lgg_runtime.crop import Boxes
from lgg_runtime.errors import ModelError
from lgg_runtime.volume import Probability

# From this probability on a pixel is a sign of tumour, and 3-D components of signs below this
# fraction of the largest are specks. On the 82 patients of the training and validation parts not
# even 0.5 and 0.3 lost any of the tumour found; the first look was trained on 72 of them, so the
# least sign is far lower.
LEAST_SIGN = 0.02
SPECKS = CleanupSettings(smallest_fraction=0.03)


def run_from_signs(
    look: Probability, boxes: Boxes, run: Callable[[Boxes, Probability], object], threshold: float
) -> tuple[Probability, int]:
    """The model on slices with a sign of tumour, then on those beside what it finds itself, until
    it finds nothing at either end.

    look: the first look's probabilities, (S, H, W), slices in anatomical order; boxes: what may be
    run of each; run: puts the model's probability of the boxes that are not None into an array
    like `look`; threshold: from which on a pixel is found. Returns that array, 0 elsewhere, and the
    number of boxes that were left out.
    """
    found = np.zeros_like(look)
    left = np.array([box is not None for box in boxes])
    due = np.asarray(clean_up(look >= LEAST_SIGN, SPECKS).any(axis=(1, 2)))
    while (due := due & left).any():
        run([box if is_due else None for box, is_due in zip(boxes, due, strict=True)], found)
        left &= ~due
        due[due] = (found[due] >= threshold).any(axis=(1, 2))
        due = _beside(due)
    return found, int(np.count_nonzero(left))


def require_same_slices(first_look: Contract, model: Contract) -> None:
    """Raises ModelError where the two expect slices that are prepared differently."""
    for name in ("intensity", "pixel_mm"):
        theirs, ours = getattr(first_look, name), getattr(model, name)
        if theirs != ours:
            raise ModelError(
                f"first look {first_look.name}: its {name} is {theirs}, the model's is {ours}; "
                "both must be trained on slices that are prepared alike"
            )


def _beside(slices: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """(S,): whether the slice before or after is one of them."""
    near = np.zeros_like(slices)
    near[1:] |= slices[:-1]
    near[:-1] |= slices[1:]
    return near
