"""A host written from docs/contract.md alone, with the constants that stand there, finds what the
runtime finds: the page tells all that a host in another language needs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from lgg_runtime.cleanup import CleanupSettings
from lgg_runtime.crop import CropSettings
from lgg_runtime.first_look import LEAST_SIGN, SPECKS
from lgg_runtime.grid import SCALE_TOLERANCE
from lgg_runtime.intensity import NORMAL_P10_P90, IntensitySettings
from lgg_runtime.loading import LoadSettings
from lgg_runtime.segmenter import Segmenter
from lgg_runtime.volume import Volume

PAGE = (Path(__file__).parents[2] / "docs" / "contract.md").read_text(encoding="utf-8")
WORDS = " ".join(PAGE.partition("## What a host does")[2].partition("## The golden")[0].split())


def constant(sentence: str) -> float:
    """The number that stands in a sentence of the page, at `{}`."""
    before, after = map(re.escape, sentence.split("{}"))
    (found,) = re.findall(rf"{before}([\d.]+){after}", WORDS)
    return float(found)


BRIGHT = constant("bright level is its {}th percentile (`bright_percentile`")
HEAD = constant("any channel exceeds {} (`head_fraction`) of its bright level")
NORMAL = constant("`s = max((p90 - p10) / {}, 0.05 * bright)`")
SMALLEST = constant("(p90 - p10) / 2.5631031310892007, {} * bright)`")
CENTRE = constant("`round(g v + ({} - g m))`")
SCALE = constant("`g = {} / s`")
EIGHTH = 1 / 8
MARGIN = int(constant("of any of them and {} pixels (`margin`) beyond"))
STEP = int(constant("grows to the next multiple of {} (`step`)"))
SIGN = constant("its probability is at least {}, in float32, is a sign")
SPECK = constant("components of which below {} of the largest one's voxels")
TOLERANCE = constant("where `|mm / pixel_mm - 1| <= {}`")


class Host:
    """The steps of the page; run: padded slices to probabilities."""

    def __init__(self, contract: dict[str, Any], run: Callable[[Any], Any]) -> None:
        self.contract, self.run = contract, run
        self.threshold = np.float32(contract["threshold"])

    def segment(self, volume: np.ndarray, affine: np.ndarray | None, crop: bool, look: bool) -> Any:
        """Mask and probability. affine: (slice, row, column) to LPS mm."""
        if affine is None:
            return self.steps(volume, crop, look)
        lengths = np.linalg.norm(affine[:3, :3], axis=0)
        cosines = (affine[:3, :3] / lengths)[[2, 1, 0]]  # up, back, left by the volume's axes
        order = max(permutations(range(3)), key=lambda o: abs(cosines[range(3), o]).sum())
        turn = tuple(slice(None, None, -1 if cosines[i, o] < 0 else 1) for i, o in enumerate(order))
        turned = volume.transpose(*order, 3)[turn]
        own = turned.shape[1:3]
        scale = [lengths[o] / self.contract["pixel_mm"] for o in order[1:]]
        sides = [
            n if abs(s - 1) <= TOLERANCE else max(1, round(n * s))
            for n, s in zip(own, scale, strict=True)
        ]
        mask, probability = self.steps(resize(turned, sides), crop, look)
        zeroed = np.where((probability >= self.threshold) & ~mask, np.float32(0), probability)
        zeroed, probability = (
            resize(values, own)[turn].transpose(np.argsort(order))
            for values in (zeroed, probability)
        )
        return zeroed >= self.threshold, probability

    def steps(self, volume: np.ndarray, crop: bool, look: bool) -> tuple[np.ndarray, np.ndarray]:
        head, slices = normalise(volume)
        box, runs = (slice(None), slice(None)), np.ones(len(head), bool)
        if crop:
            box, runs = find_box(head)
        due = runs
        if look:
            sign = keep(self.fill(slices, box, runs) >= np.float32(SIGN), SPECK, 0)
            due = runs & sign.any(axis=(1, 2))
        found, done = np.zeros(head.shape, np.float32), np.zeros(len(head), bool)
        while due.any():
            found += self.fill(slices, box, due)
            done |= due
            holds = np.pad((found >= self.threshold).any(axis=(1, 2)), 1)
            due = (holds[:-2] | holds[2:]) & runs & ~done
        cleanup = self.contract["cleanup"]
        mask = keep(
            found >= self.threshold, cleanup["smallest_fraction"], cleanup["smallest_voxels"]
        )
        return mask, found

    def fill(self, slices: np.ndarray, box: tuple[slice, slice], which: np.ndarray) -> np.ndarray:
        out = np.zeros(slices.shape[:3], np.float32)
        part = slices[:, *box]
        height, width = part.shape[1:3]
        multiple = self.contract["size_multiple"]
        edges = ((0, 0), (0, -height % multiple), (0, -width % multiple), (0, 0))
        padded = np.pad(part, edges)
        for index in np.flatnonzero(which):
            out[index, *box] = self.run(padded[index : index + 1])[0][:height, :width]
        return out


def resize(values: np.ndarray, sides: Any) -> np.ndarray:
    """Axes 1 and 2, one after the other."""
    for axis, k in enumerate(sides, 1):
        n = values.shape[axis]
        if k == n:
            continue
        at = np.arange(k)[:, None]
        if k < n:
            begins, ends = np.arange(n), np.arange(1, n + 1)
            over = np.minimum((at + 1) * n / k, ends) - np.maximum(at * n / k, begins)
            weights = over.clip(0) * k / n
        else:
            places = ((at + 0.5) * n / k - 0.5).clip(0, n - 1)
            weights = (1 - abs(places - np.arange(n))).clip(0)
        moved = np.moveaxis(np.tensordot(weights, values.astype(float), (1, axis)), 0, axis)
        is_small = values.dtype in (np.uint8, np.int16, np.uint16)
        values = moved.round().astype(values.dtype) if is_small else moved.astype(np.float32)
    return values


def normalise(volume: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Head and 8-bit slices."""
    channels = np.moveaxis(volume, -1, 0)
    bright = [
        np.percentile(c, BRIGHT) if np.percentile(c, BRIGHT) > 0 else c.max() for c in channels
    ]
    head = np.any([c > HEAD * float(b) for c, b in zip(channels, bright, strict=True)], axis=0)
    out = np.zeros(volume.shape, np.uint8)
    for index, values in enumerate(channels):
        if values.max() > 0:
            low, median, high = np.percentile(values[head], (10, 50, 90))
            gain = SCALE / max((high - low) / NORMAL, SMALLEST * float(bright[index]))
            mapped = float(gain) * values + float(CENTRE - gain * median)
            out[..., index] = mapped.round().clip(0, 255)
    return head, out


def find_box(head: np.ndarray) -> tuple[tuple[slice, slice], np.ndarray]:
    lines = [head.sum(axis=a) >= max(1, EIGHTH * head.shape[a]) for a in (2, 1)]
    runs = lines[0].any(axis=1) & lines[1].any(axis=1)
    sides = []
    for line in lines:
        n, places = line.shape[1], np.flatnonzero(line[runs].any(axis=0))
        start, stop = max(places[0] - MARGIN, 0), min(places[-1] + 1 + MARGIN, n)
        side = min(-(-(stop - start) // STEP) * STEP, n)
        start = min(max(start - (side - (stop - start)) // 2, 0), n - side)
        sides.append(slice(start, start + side))
    return (sides[0], sides[1]), runs


def keep(mask: np.ndarray, fraction: float, voxels: int) -> np.ndarray:
    neighbours = np.zeros((3, 3, 3), bool)
    neighbours[1] = neighbours[:, 1, 1] = True
    labels, _ = ndimage.label(mask, neighbours)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    stays = (sizes >= max(voxels, 1)) & (sizes / max(sizes.max(), 1) >= fraction)
    return np.asarray(stays[labels])


def draw(shape: tuple[int, int, int], kind: type) -> np.ndarray:
    """A head with a bright and a smaller bright lesion, noise over all, in 3 channels."""
    random = np.random.default_rng(shape[1])
    s, y, x = (axis / (n - 1) * 2 - 1 for axis, n in zip(np.indices(shape), shape, strict=True))
    head = (s / 0.95) ** 2 + (y / 0.6) ** 2 + (x / 0.5) ** 2 < 1
    lesion = (s - 0.1) ** 2 / 4 + (y - 0.2) ** 2 + (x + 0.1) ** 2 < 0.03
    other = (s + 0.2) ** 2 / 4 + (y + 0.3) ** 2 + (x - 0.1) ** 2 < 0.01
    base = 60.0 * head + 90 * (lesion | other)
    channels = [base * factor + random.random(shape) * 7 for factor in (0.8, 1.0, 1.3)]
    factor = 1 if kind is np.uint8 else 5.3
    return (np.stack(channels, axis=-1) * factor).astype(kind)


def place(spacing: tuple[float, float, float], degrees: tuple[float, ...] = ()) -> np.ndarray:
    affine = np.diag([*spacing, 1.0])[[2, 1, 0, 3]]  # axial: slices up, rows back, columns left
    if degrees:
        affine[:3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix() @ affine[:3]
    return affine


SAGITTAL = place((1.25, 1.25, 1.25))[[1, 2, 0, 3]] * np.array([[1], [1], [-1], [1]])
CASES = {
    "pictures": ((9, 150, 171), np.uint8, None),
    "8 bits that grow": ((9, 60, 71), np.uint8, place((5, 1.3, 1.25))),
    "oblique 16 bits that shrink": ((9, 125, 131), np.int16, place((5, 0.6, 0.7), (17, -9, 23))),
    "one side shrinks, one grows": ((9, 125, 60), np.uint16, place((5, 0.6, 1.3))),
    "floats": ((9, 140, 150), np.float32, place((5, 0.46875, 0.46875), (-5, 12, 31))),
    "32 bits within the tolerance": ((9, 75, 90), np.int32, place((5, 1.07, 0.8))),
    "sagittal": ((60, 69, 66), np.int16, SAGITTAL),
}


def test_the_page_names_the_constants_of_the_code() -> None:
    assert "at least an eighth (`line_fraction`) of its pixels, and at least one" in WORDS
    assert IntensitySettings(CENTRE, SCALE, HEAD, BRIGHT, SMALLEST) == IntensitySettings()
    assert CropSettings(EIGHTH, MARGIN, STEP) == CropSettings()
    assert (SIGN, CleanupSettings(SPECK)) == (LEAST_SIGN, SPECKS)
    assert (NORMAL_P10_P90, SCALE_TOLERANCE) == (NORMAL, TOLERANCE)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, write_artifact: Callable[..., Path]) -> Path:
    """It drops the smaller one of two components."""
    path = tmp_path_factory.mktemp("page") / "model.onnx"
    return write_artifact(path, cleanup=CleanupSettings(smallest_fraction=0.8, smallest_voxels=4))


@pytest.mark.parametrize("look", [False, True], ids=["whole", "first look"])
@pytest.mark.parametrize("crop", [False, True], ids=["frames", "box"])
@pytest.mark.parametrize("case", CASES)
def test_a_host_by_the_page_finds_what_the_runtime_finds(
    model: Path, case: str, crop: bool, look: bool
) -> None:
    import onnxruntime

    shape, kind, affine = CASES[case]
    pixels = draw(shape, kind)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    contract = json.loads(session.get_modelmeta().custom_metadata_map["lgg_contract"])
    host = Host(contract, lambda slices: session.run(None, {"slices": slices})[0])
    settings = LoadSettings(threads=1, crop=crop, first_look=model if look else None)

    found = Segmenter.load(model, settings).segment(Volume(pixels, affine=affine))

    mask, probability = host.segment(pixels, affine, crop, look)
    assert found.mask.any() and found.dropped_fraction > 0
    np.testing.assert_array_equal(mask, found.mask)
    np.testing.assert_allclose(probability, found.probability, atol=1e-5)
