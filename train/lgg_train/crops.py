"""Crops that the network is shown: moved, cut, values changed, the other side appended."""

from __future__ import annotations

from typing import NamedTuple

import albumentations as A
import numpy as np
import numpy.typing as npt

from lgg_runtime.volume import Mask, Pixels
from lgg_train.augment import (
    build_augmentation,
    build_geometry,
    build_intensities,
    build_replacement,
)
from lgg_train.augmentations import Augmentation
from lgg_train.symmetry import draw_other_side


class Crop(NamedTuple):
    """shown, complete: (crop, crop, 3), or 6 channels with the other side, uint8; the second is
    before FLAIR was put in the place of other sequences; mask: (crop, crop) uint8, 0 and 1.
    """

    shown: Pixels
    complete: Pixels
    mask: npt.NDArray[np.uint8]


class CropMaker:
    """Augmented crops of `crop` pixels a side, each a function of its random generator alone."""

    def __init__(self, crop: int, chosen: Augmentation):
        self._augmentation = build_augmentation(crop, chosen)
        self._intensities = build_intensities(chosen)
        self._geometry = build_geometry(crop, chosen)
        self._replacement = build_replacement(chosen)

    def make(
        self, pixels: Pixels, mask: Mask, middle: int | None, rng: np.random.Generator
    ) -> Crop:
        """A crop of a normalised slice (H, W, 3); middle: of `find_middles`, for the other side.

        A crop does not show where the middle is. So the other side is mirrored before, of values
        that are changed already: a lesion made fainter on one side alone would show where it is.
        """
        truth = mask.astype(np.uint8)
        if middle is None:
            _seed(rng, self._augmentation, self._replacement)
            made = self._augmentation(image=pixels, mask=truth)
            complete = made["image"]
        else:
            _seed(rng, self._intensities, self._geometry, self._replacement)
            image = self._intensities(image=pixels, mask=truth)["image"]
            other = draw_other_side(image, middle, rng)
            made = self._geometry(image=image, other=other, mask=truth)
            complete = np.concatenate((made["image"], made["other"]), axis=2)
        return Crop(self._replacement(image=complete)["image"], complete, made["mask"])


def _seed(rng: np.random.Generator, *pipelines: A.Compose) -> None:
    for pipeline in pipelines:
        pipeline.set_random_seed(int(rng.integers(2**31)))
