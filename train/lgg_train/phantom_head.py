"""A head drawn by code: its space, its tissues, its anatomy and a lesion.

Lengths are in 1/256 of the picture's width, about 0.9 mm; signed distances are positive inside a
shape. An image is (3, S, H, W) float, the sequences in the order of the channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from lgg_runtime.volume import Mask

Field = npt.NDArray[np.floating[Any]]
Triple = tuple[float, float, float]
Rng = np.random.Generator

# Brightness in pre-contrast T1, FLAIR and post-contrast T1; white matter in T1 is 1.
TISSUES: dict[str, Triple] = {
    "air": (0.03, 0.03, 0.03),
    "bone": (0.24, 0.22, 0.26),
    "cerebellum": (0.85, 0.80, 0.88),
    "falx": (0.40, 0.30, 1.10),
    "fat": (1.75, 1.50, 1.70),
    "fluid": (0.32, 0.25, 0.34),
    "grey": (0.70, 0.94, 0.76),
    "muscle": (0.80, 0.60, 0.95),
    "nuclei": (0.90, 0.95, 0.92),
    "vessel": (0.40, 0.30, 2.10),
    "white": (1.00, 0.88, 1.00),
}
CEREBELLUM: tuple[Triple, Triple] = ((0, 52, -54), (56, 36, 27))


@dataclass(frozen=True)
class Space:
    """Where the voxels lie: x leftwards, y backwards, z upwards, each (S, H, W); their spacing."""

    x: Field
    y: Field
    z: Field
    spacing: Triple

    def ellipsoid(self, centre: Triple, axes: Triple) -> Field:
        """Signed distance to an ellipsoid, exact for a sphere."""
        parts = zip((self.x, self.y, self.z), centre, axes, strict=True)
        radius = np.sqrt(sum(((p - c) / a) ** 2 for p, c, a in parts))
        return np.asarray((1 - radius) * min(axes), np.float32)

    def noise(self, rng: Rng, width: float) -> Field:
        """Gaussian random field (S, H, W) of mean 0 and variance 1, smooth over `width`."""
        bells: list[Field] = []
        for length, spacing in zip(self.z.shape, self.spacing, strict=True):
            sigma = max(width / spacing, 0.3)
            nodes = np.arange(-2 * sigma, length + 3 * sigma, sigma)
            bell = np.exp(-0.5 * ((np.arange(length)[:, None] - nodes) / sigma) ** 2)
            bells.append((bell / np.linalg.norm(bell, axis=1, keepdims=True)).astype(np.float32))
        z, y, x = bells
        coarse = rng.standard_normal((z.shape[1], y.shape[1], x.shape[1]), np.float32)
        # Three large products: a small one for each slice waits for BLAS's threads far longer.
        fine = np.tensordot(np.tensordot(z, coarse, 1), y, (1, 1))
        return np.asarray(np.tensordot(fine, x, (1, 1)), np.float32)


def place_head(rng: Rng, slices: int, size: int) -> Space:
    """A head of its own size, turned and tilted a little, from the palate to above the vertex."""
    scale, turn, tilt = rng.uniform(0.94, 1.06), rng.normal(0, 0.04), rng.normal(0, 0.08)
    pixel, step = 256 / size, 188 / slices
    middle = (np.arange(size) + 0.5) * pixel - 128
    x = (middle[None, None, :] - rng.normal(0, 3)) / (scale * rng.uniform(0.97, 1.03))
    y = (middle[None, :, None] - rng.normal(-5, 3)) / scale
    z = (np.arange(slices)[:, None, None] + 0.5) * step - 92
    x, y = x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)
    x, y, z = (np.array(a, np.float32) for a in np.broadcast_arrays(x, y, z - tilt * y))
    return Space(x, y, z, (step, pixel, pixel))


def _paint(image: Field, tissue: str | Sequence[float | Field], *shapes: Field) -> None:
    """Fill what the shapes share; its edge is a unit wide, more where it runs through the slice."""
    distance = np.minimum.reduce(shapes)
    edge = 1 + np.minimum(0.7 * np.abs(np.gradient(distance, axis=0)), 4)
    share = np.clip(distance / edge + 0.5, 0, 1)
    for channel, value in enumerate(TISSUES[tissue] if isinstance(tissue, str) else tissue):
        image[channel] += share * (value - image[channel])


def draw_skull(image: Field, space: Space, rng: Rng) -> tuple[Field, Field]:
    """Scalp, face, eyes, bone and fluid; returns signed distances of skull cavity and brain."""
    y, z = space.y, space.z
    sides = replace(space, x=np.abs(space.x))
    oval = replace(space, x=space.x * (1 - 0.0012 * y), z=np.where(z > 0, z, 0.45 * z))
    head = oval.ellipsoid((0, 0, 0), (83, 101, 90)) + 1.2 * space.noise(rng, 25)
    head = np.maximum(head, space.ellipsoid((0, -86, -66), (13, 32, 30)))
    vault = head - np.float32(rng.uniform(11, 14))
    floor = np.interp(y, (-85, -45, 20, 60), (-24, -38, -40, -34)).astype(np.float32)
    lobes = (
        z - floor + 3 * space.noise(rng, 25),
        sides.ellipsoid((38, -16, -34), (25, 36, 26)) + 2 * space.noise(rng, 15),
        space.ellipsoid(*CEREBELLUM) + 2 * space.noise(rng, 15),
        space.ellipsoid((0, 14, -45), (13, 13, 50)),
    )
    brain = np.minimum(vault, np.maximum.reduce(lobes))

    muscles = space.noise(rng, 9)
    muscles = muscles + 0.8 * muscles[..., ::-1]
    _paint(image, "muscle", head)
    _paint(image, "fat", head - 1.2)
    _paint(image, "muscle", head - 7.5 + space.noise(rng, 12))
    _paint(image, "fat", head - 4, 1.5 * space.noise(rng, 14) - 6 * np.abs(muscles))
    _paint(image, "bone", head - 10, 9 * (np.abs(muscles) - 2))
    _paint(image, "fat", head - 2, sides.ellipsoid((30, -64, -42), (16, 28, 16)))
    _paint(image, "fluid", sides.ellipsoid((31, -75, -42), (12, 12, 12)))
    _paint(image, "air", sides.ellipsoid((0, -68, -62), (9, 30, 24)) + 3 * space.noise(rng, 8))
    _paint(image, "air", sides.ellipsoid((24, -62, -74), (12, 15, 16)) + 3 * space.noise(rng, 8))
    _paint(image, "air", space.ellipsoid((0, -18, -88), (11, 8, 22)))
    _paint(image, "bone", head - 5, brain + 4.5)
    _paint(image, "muscle", brain + 5.5, space.noise(rng, 12) - brain - 3)
    _paint(image, "fluid", brain + np.float32(rng.uniform(1, 2.5)))
    return vault, brain


def draw_brain(image: Field, space: Space, rng: Rng, vault: Field, brain: Field) -> None:
    """Folded cortex, white matter, nuclei, ventricles, cerebellum, falx and vessels."""
    x, y, z = space.x, space.y, space.z
    sides = replace(space, x=np.abs(x + 0.8 * space.noise(rng, 20)))
    core = space.ellipsoid((0, 4, 2), (40, 42, 26))
    gap = sides.x + np.where((core > 0) | (z < -30), np.float32(99), np.float32(0))
    base = 2 * (np.maximum(z + 36, 0) + np.maximum(18 - sides.x, 0))
    depth = np.minimum.reduce((vault, brain + base, gap))
    sulcus = 4 * np.abs(_folds(space, rng))
    wide = rng.uniform(0.7, 1.4, 2).astype(np.float32)
    _paint(image, "white", brain)
    _paint(image, "grey", brain, 5 - np.minimum(depth, sulcus + depth / 7))
    _paint(image, "fluid", brain, 1.2 * wide[0] - depth / 13 - sulcus)
    _paint(image, "vessel", brain + 2, 6 - depth, 4 * space.noise(rng, 3) - 7.6)

    _paint(image, "nuclei", sides.ellipsoid((27, -10, 2), (7, 18, 12)))
    apart = replace(sides, x=sides.x - 5 - 0.25 * np.abs(y))
    _paint(image, "fluid", apart.ellipsoid((0, 2, 13), (6 * wide[1], 40, 15 * wide[1])))
    _paint(image, "nuclei", sides.ellipsoid((13, 6, 1), (11, 17, 12)))
    _paint(image, "fluid", space.ellipsoid((0, 4, 0), (2 * wide[1], 14, 9)))

    cerebellum = np.minimum(brain, space.ellipsoid(*CEREBELLUM) + 2 * space.noise(rng, 15))
    folia = np.sin(0.9 * np.hypot(x, 1.6 * (y - 20)) + 1.6 * space.noise(rng, 9))
    _paint(image, "fluid", brain, cerebellum + 1)
    _paint(image, "cerebellum", cerebellum)
    _paint(image, "fluid", cerebellum, 2 * (folia - 1.05))
    _paint(image, "fluid", space.ellipsoid((0, 36, -48), (6, 5, 9)))

    _paint(image, "falx", brain + 3, 0.7 - gap)
    _paint(image, "vessel", z + 30, 3 - np.hypot(x, brain + 2))


def _folds(space: Space, rng: Rng) -> Field:
    """A random field whose zeros are the sulci: across the surface, and without order on top."""
    around = replace(space, z=np.zeros((len(space.z), 1, 1440)), spacing=(space.spacing[0], 1, 1))
    table = around.noise(rng, 11)[:, 0]
    angle = np.arctan2(space.x, -space.y) + 0.12 * space.noise(rng, 9)
    column = np.clip((angle + 4) * 180, 0, 1439).astype(np.int64)
    across = np.take_along_axis(table, column.reshape(len(table), -1), 1).reshape(angle.shape)
    share = 0.85 * np.clip(np.hypot(space.x, space.y) / 60, 0, 1)
    return np.asarray(share * across + np.sqrt(1 - share**2) * space.noise(rng, 4), np.float32)


def draw_lesion(image: Field, space: Space, rng: Rng, brain: Field) -> Mask:
    """One irregular lesion in a hemisphere, bright in FLAIR; returns where it fills half a voxel.

    One of five has a satellite, one of four a rim that takes up contrast.
    """
    side, radius = rng.choice((-1, 1)), rng.uniform(24, 40)
    centre = np.array((side * rng.uniform(24, 42), rng.uniform(-50, 45), rng.uniform(-8, 42)))
    shape = space.ellipsoid(tuple(centre), tuple(radius * rng.uniform(0.8, 1.25, 3)))
    if rng.random() < 0.2:
        near = centre + rng.normal(0, 0.7 * radius, 3)
        shape = np.maximum(shape, space.ellipsoid(tuple(near), (radius / 2,) * 3))
    shape = shape + 0.22 * radius * space.noise(rng, radius / 2) + 1.5 * space.noise(rng, 4)
    shape = np.minimum.reduce((shape, brain - 1, side * space.x - 2))
    t1, flair = rng.uniform(0.62, 0.88), rng.uniform(1.4, 1.9)
    texture = 1 + 0.07 * space.noise(rng, 8)
    rim = rng.uniform(0.4, 1) if rng.random() < 0.25 else 0
    ring = np.clip(1.5 - np.abs(shape - 4) / 2, 0, 0.6) * np.abs(space.noise(rng, 9))
    _paint(image, (t1 * texture, flair * texture, t1 * texture + rim * ring), shape)
    return np.asarray(shape > 0)
