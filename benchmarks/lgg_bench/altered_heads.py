"""Pictures of a phantom's head as no MRI of the three sequences shows it, drawn as in non_brain."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from lgg_runtime.intensity import IntensitySettings, head_mask
from lgg_runtime.volume import Pixels
from lgg_train.phantom import PhantomSettings, make_phantom

Rng = np.random.Generator
Picture = npt.NDArray[Any]


def _head(rng: Rng, size: int) -> tuple[Pixels, npt.NDArray[np.bool_]]:
    """A slice from the middle of a phantom, and where its head is."""
    settings = PhantomSettings(1, 3, size, int(rng.integers(1 << 30)))
    pixels, _ = make_phantom(int(rng.integers(50)), settings)
    return pixels[1], head_mask(pixels, IntensitySettings())[1]


def draw_inverted_head(rng: Rng, size: int) -> Picture:
    """White where the slice is black."""
    return 1 - _head(rng, size)[0] / 255


def draw_ct_head(rng: Rng, size: int) -> Picture:
    """A bright skull around a flat brain, three times the same."""
    slice_, head = _head(rng, size)
    filled = cv2.morphologyEx(head.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((15, 15), np.uint8))
    depth = cv2.distanceTransform(np.pad(filled, 1), cv2.DIST_L2, 5)[1:-1, 1:-1] * 256 / size
    soft = 0.38 + 0.0004 * (slice_[..., 0].astype(float) - 80) + rng.normal(0, 0.015, depth.shape)
    skull = (depth > 6) & (depth < 6 + rng.uniform(6, 11))
    picture = np.where(depth > 0, np.where(skull, 1.0, soft), 0.0)
    return cv2.GaussianBlur(picture, (0, 0), size / 256)


def draw_reversed_contrast(rng: Rng, size: int) -> Picture:
    """A head on black whose tissues are reversed: fluid bright, white matter dark, as in T2."""
    slice_, head = _head(rng, size)
    smooth = cv2.erode(head.astype(np.uint8), np.ones((5, 5), np.uint8))[..., None]
    bright = np.percentile(slice_[head], 99)
    picture = np.clip(bright - slice_.astype(float), 5, 255) * smooth
    return picture / 255
