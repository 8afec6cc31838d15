"""Augmentation of normalised slices, as one seeded Albumentations pipeline."""

from __future__ import annotations

import os
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
import albumentations as A

from lgg_runtime.volume import CHANNELS, FLAIR, Pixels

ROTATION_DEGREES = 35


class SequenceIntensity(A.ImageOnlyTransform):  # type: ignore[misc]
    """Brightness, contrast and gamma drawn for each sequence on its own.

    The sequences of one patient come from separate scans, so their scales vary independently.
    """

    def __init__(self, brightness: float, contrast: float, gamma: float, p: float):
        super().__init__(p=p)
        self.brightness, self.contrast, self.gamma = brightness, contrast, gamma

    def get_params(self) -> dict[str, Any]:
        draw = self.random_generator.uniform(-1, 1, (len(CHANNELS), 3))
        ramp = np.linspace(0, 1, 256)[:, None]
        curve = ramp ** (1 + self.gamma) ** draw[:, 0]
        curve = curve * (1 + self.contrast * draw[:, 1]) + self.brightness * draw[:, 2]
        return {"tables": np.clip(np.rint(curve * 255), 0, 255).astype(np.uint8)}

    def apply(self, img: Pixels, tables: npt.NDArray[np.uint8], **_: Any) -> Pixels:
        return cv2.LUT(img, tables.reshape(1, 256, len(CHANNELS)))  # type: ignore[return-value]


class BiasField(A.ImageOnlyTransform):  # type: ignore[misc]
    """A smooth gain for each sequence, within 1 +- strength, as a coil's profile leaves it."""

    def __init__(self, strength: float, p: float):
        super().__init__(p=p)
        self.strength = strength

    def get_params(self) -> dict[str, Any]:
        grid = self.random_generator.uniform(-1, 1, (3, 3, len(CHANNELS)))
        return {"grid": (1 + self.strength * grid).astype(np.float32)}

    def apply(self, img: Pixels, grid: npt.NDArray[np.float32], **_: Any) -> Pixels:
        height, width = img.shape[:2]
        gain = cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
        return cv2.multiply(img, gain, dtype=cv2.CV_8U)  # type: ignore[return-value]


class ReplaceByFlair(A.ImageOnlyTransform):  # type: ignore[misc]
    """Put FLAIR in the place of one other sequence, as the dataset does, or more often of both."""

    def get_params(self) -> dict[str, Any]:
        others = [c for c in range(len(CHANNELS)) if c != FLAIR]
        choices = [*([c] for c in others), *[others] * 3]
        return {"channels": choices[int(self.random_generator.integers(len(choices)))]}

    def apply(self, img: Pixels, channels: list[int], **_: Any) -> Pixels:
        out = img.copy()
        out[..., channels] = img[..., FLAIR : FLAIR + 1]
        return out


def build_augmentation(crop: int) -> A.Compose:
    """The training pipeline: a (H, W, 3) uint8 slice and its (H, W) mask to `crop` pixels a side.

    `set_random_seed` before each call makes the result depend on that seed alone.
    """
    return A.Compose(
        [
            A.HorizontalFlip(p=0.5),
            A.VerticalFlip(p=0.5),
            A.Affine(
                scale=(0.8, 1.25),
                rotate=(-ROTATION_DEGREES, ROTATION_DEGREES),
                translate_percent=(-0.05, 0.05),
                p=0.8,
            ),
            A.PadIfNeeded(crop, crop),
            A.GridDistortion(num_steps=4, distort_limit=0.25, p=0.3),
            A.OneOf(
                [A.CropNonEmptyMaskIfExists(crop, crop, p=0.5), A.RandomCrop(crop, crop, p=0.5)],
                p=1,
            ),
            SequenceIntensity(brightness=0.12, contrast=0.25, gamma=0.5, p=0.8),
            BiasField(strength=0.3, p=0.3),
            A.GaussianBlur(blur_limit=(3, 5), p=0.1),
            A.GaussNoise(std_range=(0.01, 0.04), p=0.1),
            ReplaceByFlair(p=0.5),
        ]
    )
