"""Crops: a function of their seed; the other side has the slice's values and moves with it."""

import numpy as np
import pytest

from lgg_runtime.volume import FLAIR
from lgg_train.augmentations import AUGMENTATIONS, Augmentation
from lgg_train.crops import CropMaker

PLAIN = AUGMENTATIONS["plain"]
STILL = Augmentation(
    scale=(1, 1), affine=0, distortion=0, intensity=0, bias=0, blur=0, noise=0, flair=0
)
SEEDS = range(20)


def draw_head():
    """A slice whose head's middle is column 20, brighter on the left, and a lesion there."""
    rng = np.random.default_rng(0)
    pixels = np.zeros((48, 64, 3), np.uint8)
    pixels[8:40, 10:31] = rng.integers(60, 120, (32, 21, 3))
    pixels[8:40, 10:20] += 60
    mask = np.zeros((48, 64), bool)
    mask[20:28, 12:18] = True
    return pixels, mask


@pytest.fixture
def exact(monkeypatch):
    """The other side about the very middle."""
    monkeypatch.setattr("lgg_train.symmetry._SHIFT_PIXELS", 0.0)
    monkeypatch.setattr("lgg_train.symmetry._TILT_DEGREES", 0.0)
    monkeypatch.setattr("lgg_train.symmetry._ASKEW_DEGREES", 0.0)


@pytest.mark.parametrize("middle", [None, 40])
def test_the_same_seed_gives_the_same_crop_whatever_came_before(middle):
    fresh, used = CropMaker(32, PLAIN), CropMaker(32, PLAIN)
    made = set()
    for seed in SEEDS:
        used.make(*draw_head(), middle, np.random.default_rng(1000 + seed))
        ours, theirs = (
            maker.make(*draw_head(), middle, np.random.default_rng(seed)) for maker in (fresh, used)
        )
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(one, other)
        made.add(ours.shown.tobytes())
    assert len(made) == len(SEEDS)


@pytest.mark.usefixtures("exact")
def test_the_other_side_is_the_slice_mirrored_about_the_head_s_middle():
    pixels, mask = draw_head()
    flips = set()
    for seed in SEEDS:
        crop = CropMaker(64, STILL).make(pixels, mask, 40, np.random.default_rng(seed)).complete
        assert crop.shape == (64, 64, 6)
        columns = np.flatnonzero(crop[..., :3].any((0, 2)))
        np.testing.assert_array_equal(
            crop[:, columns, 3:], crop[:, columns[::-1], :3], "moved as the slice is"
        )
        flips.add(bool(crop[..., 0].sum(0)[columns[0]] > crop[..., 0].sum(0)[columns[-1]]))
    assert flips == {True, False}


@pytest.mark.usefixtures("exact")
def test_the_other_side_has_the_values_that_the_slice_was_given():
    """A lesion made fainter on one side alone would show where it is."""
    chosen = AUGMENTATIONS["strong"]
    still = dict.fromkeys(("affine", "distortion", "noise", "blur", "flair"), 0.0)
    maker = CropMaker(64, Augmentation(**{**vars(chosen), **still}))
    for seed in SEEDS:
        crop = maker.make(*draw_head(), 40, np.random.default_rng(seed)).complete
        columns = np.flatnonzero(crop[..., 3:].any((0, 2)))
        np.testing.assert_array_equal(crop[:, columns, 3:], crop[:, columns[::-1], :3])


def test_the_middle_varies_by_a_little():
    pixels, mask = draw_head()
    starts = []
    for seed in range(200):
        crop = CropMaker(64, STILL).make(pixels, mask, 40, np.random.default_rng(seed)).complete
        ours, theirs = (
            np.flatnonzero(part.any((0, 2))).mean() for part in (crop[..., :3], crop[..., 3:])
        )
        starts.append(theirs - ours)
    assert 2 < np.std(starts) < 4, "twice 1.5 pixels"
    assert abs(np.mean(starts)) < 0.6


def test_flair_takes_the_same_places_on_both_sides():
    chosen = Augmentation(**{**vars(STILL), "flair": 1.0})
    replaced = set()
    for seed in SEEDS:
        made = CropMaker(64, chosen).make(*draw_head(), 40, np.random.default_rng(seed))
        places = [
            tuple(
                (made.shown[..., c] == made.shown[..., first + FLAIR]).all()
                for c in (first, first + 2)
            )
            for first in (0, 3)
        ]
        assert places[0] == places[1]
        replaced.add(places[0])
        np.testing.assert_array_equal(made.shown[..., FLAIR::3], made.complete[..., FLAIR::3])
    assert replaced == {(True, False), (False, True), (True, True)}
