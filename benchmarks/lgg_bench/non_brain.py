"""Pictures that are no brain MRI, drawn by code: what the check of plausibility must warn of.

One function a kind; each takes a generator of random numbers and the width, and gives values from
0, black, to 1, white, some beyond: grey (size, size) or in colour (size, size, 3). Those of heads
are in altered_heads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import cv2
import numpy as np

from lgg_bench.altered_heads import (
    Picture,
    Rng,
    draw_ct_head,
    draw_inverted_head,
    draw_reversed_contrast,
)
from lgg_runtime.volume import Pixels

_LETTERS = list("abcdefghijklmnopqrstuvwxyz  ABCDEFGHIKLMNOPRSTUVW0123456789.,:")
_FONTS = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_COMPLEX)


def draw_non_brain(count: int, size: int, seed: int) -> Iterator[tuple[str, Pixels]]:
    """`count` pictures of every kind, with the kind's name."""
    for index, (kind, draw) in enumerate(KINDS.items()):
        rng = np.random.default_rng((seed, index))
        for _ in range(count):
            yield kind, _as_pixels(draw(rng, size))


def _as_pixels(picture: Picture) -> Pixels:
    """Rounded, with what lies outside 0..1 cut off, and grey in all three channels."""
    colour = np.repeat(picture[..., None], 3, 2) if picture.ndim == 2 else picture
    pixels: Pixels = np.clip(np.rint(255 * colour), 0, 255).astype(np.uint8)
    return pixels


def _clouds(rng: Rng, size: int, power: float) -> Picture:
    """Noise whose amplitude falls with the power of the frequency; natural pictures have 1."""
    y, x = np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size)[None]
    frequency = np.maximum(np.hypot(x, y), 1 / size)
    phase = np.exp(2j * np.pi * rng.random((size, size)))
    plane = np.real(np.fft.ifft2(phase / frequency**power))
    clouds: Picture = (plane - plane.min()) / np.ptp(plane)
    return clouds


def _colour(rng: Rng) -> tuple[float, float, float]:
    r, g, b = rng.random(3)
    return float(r), float(g), float(b)


def _point(rng: Rng, size: int) -> tuple[int, int]:
    x, y = rng.integers(0, size, 2)
    return int(x), int(y)


def draw_gradient(rng: Rng, size: int) -> Picture:
    y, x = np.mgrid[:size, :size] / size
    angle = rng.uniform(0, 2 * np.pi, 3)
    picture = np.stack([0.5 + 0.5 * np.sin(a + 3 * (x * np.cos(a) + y * np.sin(a))) for a in angle])
    return picture.transpose(1, 2, 0) + rng.normal(0, 0.01, (size, size, 3))


def draw_landscape(rng: Rng, size: int) -> Picture:
    """Colour noise of natural statistics, brighter above a horizon."""
    shared = _clouds(rng, size, rng.uniform(0.9, 1.4))
    own = np.stack([_clouds(rng, size, 1.2) for _ in range(3)], 2)
    picture = 0.7 * shared[..., None] + 0.3 * own
    picture[: int(size * rng.uniform(0.2, 0.6))] *= rng.uniform(1.1, 1.6)
    return picture * _colour(rng) / 0.7


def draw_grey_clouds(rng: Rng, size: int) -> Picture:
    return _clouds(rng, size, rng.uniform(0.6, 1.8))


def draw_white_noise(rng: Rng, size: int) -> Picture:
    shape = (size, size, 3) if rng.random() < 0.5 else (size, size)
    return rng.normal(rng.uniform(0.2, 0.6), 0.2, shape)


def draw_constant(rng: Rng, size: int) -> Picture:
    return np.full((size, size, 3), _colour(rng))


def draw_text(rng: Rng, size: int) -> Picture:
    """A page of lines, dark on light or light on dark."""
    page = np.full((size, size), 255, np.uint8)
    scale = size / 256 * rng.uniform(0.35, 0.9)
    font = _FONTS[rng.integers(len(_FONTS))]
    for top in range(int(20 * scale) + 4, size, int(34 * scale) + 4):
        line = "".join(rng.choice(_LETTERS, 40))
        cv2.putText(page, line, (6, top), font, scale, 0, 1, cv2.LINE_AA)
    return (page if rng.random() < 0.5 else 255 - page) / 255


def draw_chart(rng: Rng, size: int) -> Picture:
    picture = np.ones((size, size, 3))
    base, left = int(0.9 * size), int(0.1 * size)
    cv2.line(picture, (left, base), (size, base), (0, 0, 0), 2)
    cv2.line(picture, (left, 0), (left, base), (0, 0, 0), 2)
    if rng.random() < 0.5:
        for x in np.linspace(left + 8, size - 24, int(rng.integers(3, 10))).astype(int):
            top = int(rng.uniform(0.1, 0.8) * size)
            cv2.rectangle(picture, (int(x), top), (int(x) + 14, base), _colour(rng), -1)
    else:
        for _ in range(int(rng.integers(1, 5))):
            x = np.linspace(left, size - 1, 40)
            y = base - np.abs(np.cumsum(rng.normal(0, size / 25, 40)))
            points = np.stack([x, y], 1).astype(np.int32)
            cv2.polylines(picture, [points], False, _colour(rng), 2, cv2.LINE_AA)
    return picture


def draw_shapes(rng: Rng, size: int) -> Picture:
    picture = np.full((size, size, 3), _colour(rng))
    for _ in range(int(rng.integers(3, 20))):
        centre, radius = _point(rng, size), int(rng.uniform(0.03, 0.3) * size)
        if rng.random() < 0.5:
            cv2.circle(picture, centre, radius, _colour(rng), -1, cv2.LINE_AA)
        else:
            cv2.rectangle(picture, centre, _point(rng, size), _colour(rng), -1)
    return picture


def draw_face(rng: Rng, size: int) -> Picture:
    """An oval with hair, eyes and a mouth before a wall, as a portrait has it."""
    picture = np.full((size, size, 3), _colour(rng)) * rng.uniform(0.5, 1)
    skin = np.array((0.9, 0.7, 0.55)) * rng.uniform(0.5, 1.1)
    middle = (int(size * rng.uniform(0.4, 0.6)), int(size * rng.uniform(0.4, 0.5)))
    wide, high = int(size * rng.uniform(0.15, 0.28)), int(size * rng.uniform(0.25, 0.36))
    below, shoulders = (middle[0], size), (int(1.9 * wide), size // 3)
    cv2.ellipse(picture, below, shoulders, 0, 0, 360, _colour(rng), -1)
    cv2.circle(picture, (middle[0], middle[1] - high // 3), int(1.2 * wide), _colour(rng), -1)
    cv2.ellipse(picture, middle, (wide, high), 0, 0, 360, tuple(skin.tolist()), -1, cv2.LINE_AA)
    for side in (-1, 1):
        eye = (middle[0] + side * wide // 2, middle[1] - high // 5)
        cv2.circle(picture, eye, max(2, wide // 6), (0.95, 0.95, 0.95), -1)
        cv2.circle(picture, eye, max(1, wide // 12), (0.1, 0.1, 0.1), -1)
    mouth = (middle[0], middle[1] + high // 2)
    cv2.ellipse(picture, mouth, (wide // 2, high // 9), 0, 0, 180, (0.6, 0.1, 0.1), 2)
    shade = 0.8 + 0.4 * _clouds(rng, size, 1.6)[..., None]
    return cv2.GaussianBlur(picture, (0, 0), size / 256) * shade


def draw_still_life(rng: Rng, size: int) -> Picture:
    """Shaded balls on a textured table."""
    picture = 0.5 * _clouds(rng, size, 1.3)[..., None] * _colour(rng) + 0.2
    y, x = np.mgrid[:size, :size]
    for _ in range(int(rng.integers(1, 6))):
        (cx, cy), radius = _point(rng, size), size * rng.uniform(0.08, 0.3)
        inside = np.hypot(x - cx, y - cy) < radius
        from_light = np.hypot(x - cx + radius / 3, y - cy + radius / 3)
        light = np.clip(1 - from_light / (1.5 * radius), 0, 1)
        picture[inside] = (light[..., None] * np.array(_colour(rng)) + 0.1)[inside]
    return picture + rng.normal(0, 0.02, picture.shape)


def draw_pattern(rng: Rng, size: int) -> Picture:
    """A chess board, stripes, or a square code."""
    cell = int(rng.integers(4, size // 6))
    y, x = np.mgrid[:size, :size] // cell
    kind = rng.integers(3)
    if kind == 0:
        picture: Picture = (x + y) % 2
    elif kind == 1:
        picture = 0.5 + 0.5 * np.sin((x * cell + rng.uniform(0, 1) * y * cell) / cell * 2)
    else:
        picture = rng.integers(0, 2, (size, size))[y, x]
    return picture


def draw_screenshot(rng: Rng, size: int) -> Picture:
    """Panels, a title bar and words."""
    picture = np.full((size, size, 3), rng.uniform(0.15, 0.98))
    for _ in range(int(rng.integers(2, 7))):
        corner, other = _point(rng, size), _point(rng, size)
        cv2.rectangle(picture, corner, other, (rng.uniform(0.2, 1),) * 3, -1)
        cv2.rectangle(picture, corner, other, (0.3, 0.3, 0.3), 1)
    picture[: size // 14] = _colour(rng)
    shown: Pixels = np.rint(255 * picture).astype(np.uint8)
    for _ in range(12):
        word = "".join(rng.choice(_LETTERS, 12))
        cv2.putText(shown, word, _point(rng, size), _FONTS[0], 0.4, (25, 25, 25), 1)
    return shown / 255


def draw_ultrasound(rng: Rng, size: int) -> Picture:
    """A fan of speckle."""
    y, x = np.mgrid[:size, :size] / size
    angle, depth = np.arctan2(x - 0.5, y + 0.05), np.hypot(x - 0.5, y + 0.05)
    fan = (np.abs(angle) < rng.uniform(0.5, 0.8)) & (depth > 0.15) & (depth < 0.98)
    speckle = rng.rayleigh(0.3, (size, size)) * (0.3 + _clouds(rng, size, 1.4))
    picture: Picture = speckle * fan * (1.1 - 0.7 * depth)
    return picture


def draw_chest(rng: Rng, size: int) -> Picture:
    """A radiograph of a chest: two dark lungs, ribs, a bright middle."""
    y, x = np.mgrid[:size, :size] / size - 0.5
    picture: Picture = 0.75 - 0.3 * np.abs(x) + 0.1 * _clouds(rng, size, 1.5)
    for side in (-1, 1):
        lung = ((x - side * 0.2) / 0.15) ** 2 + ((y - rng.uniform(-0.05, 0.05)) / 0.33) ** 2 < 1
        picture[lung] -= rng.uniform(0.3, 0.5)
    picture += 0.07 * np.sin(2 * np.pi * (9 * y + 3 * np.abs(x)))
    return cv2.GaussianBlur(picture, (0, 0), size / 100)


KINDS: dict[str, Callable[[Rng, int], Picture]] = {
    "chart": draw_chart,
    "chest": draw_chest,
    "constant": draw_constant,
    "ct head": draw_ct_head,
    "face": draw_face,
    "gradient": draw_gradient,
    "grey clouds": draw_grey_clouds,
    "inverted head": draw_inverted_head,
    "landscape": draw_landscape,
    "pattern": draw_pattern,
    "reversed contrast": draw_reversed_contrast,
    "screenshot": draw_screenshot,
    "shapes": draw_shapes,
    "still life": draw_still_life,
    "text": draw_text,
    "ultrasound": draw_ultrasound,
    "white noise": draw_white_noise,
}
