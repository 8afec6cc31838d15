"""The other side: a slice's mirror image about the middle of its head, as channels of its own.

A brain's halves are alike and a tumour seldom lies in both alike. A convolution cannot compare
them: what it would have to look at lies in another direction at each pixel.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from lgg_runtime.volume import Pixels

MOST_COLUMNS = 8192
# Of a pixel's 8-bit channels, normalised: a larger sum is of the head, or of bright air.
_HEAD_SUM = 90
# In training, standard deviations of where the middle lies, which the head's outline tells
# roughly, and of its angle, in one crop of _ASKEW_EACH that of a head that lies askew.
_SHIFT_PIXELS = 1.5
_TILT_DEGREES = 3.0
_ASKEW_DEGREES = 20.0
_ASKEW_EACH = 5


class OtherSide(nn.Module):
    """Appends the other side.

    forward: (N, 3, H, W) in 0..1 to (N, 6, H, W), W up to MOST_COLUMNS: the slices, then each
    mirrored about its head's middle, 0 where that lies outside the picture or nothing is bright.
    """

    columns: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        # Not made anew by each width, which would be an operator that no artifact may hold.
        self.register_buffer("columns", torch.arange(MOST_COLUMNS), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        columns = self.columns[: x.shape[3]]
        # (N, 1, W, W): 1 where two columns mirror each other. A product with it moves each pixel
        # as it is, and all engines compute it.
        mirror = columns[:, None] + columns == self.find_middles(x)[:, None, None, None]
        return torch.cat((x, x @ mirror.to(x.dtype)), 1)

    def find_middles(self, x: torch.Tensor) -> torch.Tensor:
        """Twice the middle column of each head: the sum of the columns of two pixels that mirror
        each other.

        x: (N, 3, H, W), normalised slices in 0..1; returns (N,) int64, -1 where nothing is bright.
        In whole numbers, so that no engine rounds it another way.
        """
        # Halfway between two sums of whole numbers, so that no precision moves it over the bound.
        is_head = x.float().sum(1) > (_HEAD_SUM + 0.5) / 255
        counts = is_head.long().sum(1)  # (N, W)
        total = counts.sum(1)
        moment = (counts * self.columns[: x.shape[3]]).sum(1)
        return torch.where(total > 0, (4 * moment + total) // (2 * total).clamp(min=1), -1)


def draw_other_side(pixels: Pixels, middle: int, rng: np.random.Generator) -> Pixels:
    """A slice (H, W, 3) mirrored as `OtherSide` does, about a middle that is a little off and
    tilted, now and then by much; middle: of its `find_middles`.
    """
    height, width = pixels.shape[:2]
    middle += round(2 * rng.normal(0, _SHIFT_PIXELS))
    is_askew = rng.random() < 1 / _ASKEW_EACH
    tilt = rng.normal(0, _ASKEW_DEGREES if is_askew else _TILT_DEGREES)
    flip: npt.NDArray[np.float64] = np.array([[-1.0, 0, middle], [0, 1, 0], [0, 0, 1]])
    turn = np.vstack([cv2.getRotationMatrix2D((middle / 2, height / 2), tilt, 1), [0, 0, 1]])
    other = cv2.warpAffine(pixels, (turn @ flip)[:2], (width, height))
    return np.asarray(other, np.uint8)
