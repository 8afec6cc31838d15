"""Augmentation of normalised slices, as seeded Albumentations pipelines."""

from __future__ import annotations

import os
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
import albumentations as A

from lgg_runtime.volume import CHANNELS, FLAIR, Pixels
from lgg_train.augmentations import Augmentation

ROTATION_DEGREES = 35
LESION_RIM_PIXELS = 2.0  # standard deviation of the mask's smoothing


class LesionContrast(A.DualTransform):  # type: ignore[misc]
    """How far a tumour stands out: a gain within 1 +- strength over its smoothed mask, drawn for
    each sequence on its own.
    """

    def __init__(self, strength: float, p: float):
        super().__init__(p=p)
        self.strength = strength

    @property
    def targets_as_params(self) -> list[str]:
        return ["mask"]

    def get_params_dependent_on_data(
        self, params: dict[str, Any], data: dict[str, Any]
    ) -> dict[str, Any]:
        soft = cv2.GaussianBlur(data["mask"].astype(np.float32), (0, 0), LESION_RIM_PIXELS)
        draw = self.random_generator.uniform(-1, 1, len(CHANNELS)).astype(np.float32)
        return {"gain": 1 + self.strength * soft[..., None] * draw}

    def apply(self, img: Pixels, gain: npt.NDArray[np.float32], **_: Any) -> Pixels:
        return cv2.multiply(img, gain, dtype=cv2.CV_8U)  # type: ignore[return-value]

    def apply_to_mask(self, mask: npt.NDArray[np.uint8], **_: Any) -> npt.NDArray[np.uint8]:
        return mask


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
    """Put FLAIR in the place of one other sequence, as the dataset does, or more often of both; on
    the other side too, where the picture holds it.

    both: its chances, against one for each sequence on its own.
    """

    def __init__(self, both: int, p: float):
        super().__init__(p=p)
        self.both = both

    def get_params(self) -> dict[str, Any]:
        others = [c for c in range(len(CHANNELS)) if c != FLAIR]
        choices = [*([c] for c in others), *[others] * self.both]
        return {"channels": choices[int(self.random_generator.integers(len(choices)))]}

    def apply(self, img: Pixels, channels: list[int], **_: Any) -> Pixels:
        out = img.copy()
        for first in range(0, img.shape[2], len(CHANNELS)):
            replaced = [first + channel for channel in channels]
            out[..., replaced] = img[..., first + FLAIR, None]
        return out


def build_augmentation(crop: int, chosen: Augmentation) -> A.Compose:
    """What comes first: a (H, W, 3) uint8 slice and its (H, W) mask to `crop` pixels a side.

    For each pipeline `set_random_seed` before a call makes the result depend on that seed alone.
    """
    return A.Compose([*_list_geometry(crop, chosen), *_list_intensities(chosen)])


def build_intensities(chosen: Augmentation) -> A.Compose:
    """In its place where the other side is shown too: other values first, which both sides have."""
    return A.Compose(_list_intensities(chosen))


def build_geometry(crop: int, chosen: Augmentation) -> A.Compose:
    """After it: the slice, its mask and, called `other`, its other side, moved and cut alike."""
    return A.Compose(_list_geometry(crop, chosen), additional_targets={"other": "image"})


def build_replacement(chosen: Augmentation) -> A.Compose:
    """What comes last: FLAIR in the place of other sequences, in the set's share of the crops."""
    return A.Compose([ReplaceByFlair(chosen.flair_both, p=chosen.flair)])


def _list_geometry(crop: int, chosen: Augmentation) -> list[A.BasicTransform | A.BaseCompose]:
    return [
        A.HorizontalFlip(p=0.5),
        A.VerticalFlip(p=0.5),
        A.Affine(
            scale=chosen.scale,
            rotate=(-ROTATION_DEGREES, ROTATION_DEGREES),
            translate_percent=(-0.05, 0.05),
            shear=(-chosen.shear_degrees, chosen.shear_degrees),
            p=chosen.affine,
        ),
        A.PadIfNeeded(crop, crop),
        A.GridDistortion(num_steps=4, distort_limit=0.25, p=chosen.distortion),
        A.OneOf(
            [A.CropNonEmptyMaskIfExists(crop, crop, p=0.5), A.RandomCrop(crop, crop, p=0.5)],
            p=1,
        ),
    ]


def _list_intensities(chosen: Augmentation) -> list[A.BasicTransform]:
    lesion = [LesionContrast(chosen.lesion, p=0.5)] if chosen.lesion else []
    return [
        *lesion,
        SequenceIntensity(chosen.brightness, chosen.contrast, chosen.gamma, chosen.intensity),
        BiasField(strength=chosen.bias, p=chosen.bias),
        A.GaussianBlur(blur_limit=(3, 5), p=chosen.blur),
        A.GaussNoise(std_range=(0.01, chosen.noise_limit), p=chosen.noise),
    ]
