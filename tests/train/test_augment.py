"""Augmentation: a function of the seed; the mask moves with the image; sequences vary apart."""

from collections import Counter
from types import SimpleNamespace

import albumentations as A
import cv2
import numpy as np
import pytest

from lgg_runtime.volume import FLAIR
from lgg_train.augment import (
    ROTATION_DEGREES,
    BiasField,
    LesionContrast,
    ReplaceByFlair,
    SequenceIntensity,
    build_augmentation,
    build_geometry,
    build_intensities,
    build_replacement,
)
from lgg_train.augmentations import AUGMENTATIONS
from lgg_train.cli import train

SEEDS = range(20)
PLAIN = AUGMENTATIONS["plain"]


def make_picture(shape=(64, 64)):
    """A textured slice, and an L that looks different after every flip."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
    mask = np.zeros(shape, np.uint8)
    mask[12:44, 18:28] = 1
    mask[34:44, 18:50] = 1
    return image, mask


def apply_seeded(pipeline, seed, image, mask):
    pipeline.set_random_seed(seed)
    made = pipeline(image=image, mask=mask)
    return made["image"], made["mask"]


def keep_only(pipeline, *kinds):
    """Switch off what is of no other kind than these, and let these always act."""
    for transform in pipeline.transforms:
        if not isinstance(transform, A.PadIfNeeded | A.OneOf):
            transform.p = 1.0 if isinstance(transform, kinds) else 0.0
    return pipeline


def test_the_same_seed_gives_the_same_crop_whatever_came_before():
    image, mask = make_picture()
    fresh, used = build_augmentation(32, PLAIN), build_augmentation(32, PLAIN)
    for seed in SEEDS:
        apply_seeded(used, 1000 + seed, image, mask)
        used(image=image, mask=mask)
        for ours, theirs in zip(
            apply_seeded(fresh, seed, image, mask),
            apply_seeded(used, seed, image, mask),
            strict=True,
        ):
            np.testing.assert_array_equal(ours, theirs)


def test_other_seeds_give_other_crops():
    image, mask = make_picture()
    pipeline = build_augmentation(32, PLAIN)
    made = {apply_seeded(pipeline, seed, image, mask)[0].tobytes() for seed in SEEDS}
    assert len(made) == len(SEEDS)


@pytest.mark.parametrize("shape", [(64, 64), (40, 56), (20, 80)])
@pytest.mark.parametrize("crop", [16, 32, 96])
def test_crops_have_the_asked_size_from_slices_of_any_size(shape, crop):
    pipeline = build_augmentation(crop, PLAIN)
    image, mask = np.full((*shape, 3), 90, np.uint8), np.ones(shape, np.uint8)
    for seed in range(4):
        picture, moved = apply_seeded(pipeline, seed, image, mask)
        assert (picture.shape, picture.dtype) == ((crop, crop, 3), np.uint8)
        assert (moved.shape, moved.dtype) == ((crop, crop), np.uint8)


def test_the_mask_stays_binary():
    image, mask = make_picture()
    pipeline = build_augmentation(48, PLAIN)
    for seed in SEEDS:
        assert set(np.unique(apply_seeded(pipeline, seed, image, mask)[1])) <= {0, 1}


@pytest.mark.parametrize("warp", [A.Affine, A.GridDistortion])
def test_the_mask_moves_with_the_image(warp):
    _, mask = make_picture()
    image = np.repeat(mask[..., None] * np.uint8(255), 3, axis=2)
    geometry = (A.HorizontalFlip, A.VerticalFlip, warp)
    pipeline = keep_only(build_augmentation(56, PLAIN), *geometry)
    cross = np.ones((3, 3), np.uint8)
    for seed in SEEDS:
        picture, moved = apply_seeded(pipeline, seed, image, mask)
        seen = (picture[..., FLAIR] > 127).astype(np.uint8)
        # Images are interpolated and masks are not: they may differ on the border pixel.
        assert (cv2.erode(moved, cross, borderValue=0) <= seen).all()
        assert (seen <= cv2.dilate(moved, cross)).all()
        assert moved.sum() > 200


@pytest.mark.parametrize("warp", [A.Affine, A.GridDistortion])
def test_each_warp_moves_pixels_by_itself_and_each_time_otherwise(warp):
    image, mask = make_picture()
    pipeline = keep_only(build_augmentation(64, PLAIN), warp)
    made = {apply_seeded(pipeline, seed, image, mask)[1].tobytes() for seed in SEEDS}
    assert len(made) == len(SEEDS)


def test_a_crop_of_a_slice_with_tumour_mostly_holds_tumour():
    mask = np.zeros((128, 128), np.uint8)
    mask[60:66, 60:66] = 1
    image = np.zeros((128, 128, 3), np.uint8)
    pipeline = build_augmentation(16, PLAIN)
    held = sum(apply_seeded(pipeline, seed, image, mask)[1].any() for seed in range(60))
    assert 25 <= held <= 45, "half of the crops are drawn to hold tumour, the others anywhere"


def test_beyond_a_slice_that_is_smaller_than_the_crop_all_is_black():
    image, mask = np.full((40, 56, 3), 90, np.uint8), np.ones((40, 56), np.uint8)
    picture, moved = apply_seeded(keep_only(build_augmentation(96, PLAIN)), 0, image, mask)
    assert (np.count_nonzero(picture), np.count_nonzero(moved)) == (3 * 40 * 56, 40 * 56)


def test_slices_turn_by_up_to_35_degrees():
    assert ROTATION_DEGREES == 35
    mask = np.zeros((128, 128), np.uint8)
    mask[62:66, 20:108] = 1
    pipeline = keep_only(build_augmentation(128, PLAIN), A.Affine)
    angles = []
    for seed in range(40):
        _, moved = apply_seeded(pipeline, seed, np.zeros((128, 128, 3), np.uint8), mask)
        m = cv2.moments(moved, binaryImage=True)
        angles.append(np.degrees(0.5 * np.arctan2(2 * m["mu11"], m["mu20"] - m["mu02"])))
    assert max(map(abs, angles)) <= 36
    assert max(angles) > 25
    assert min(angles) < -25


@pytest.mark.parametrize(("both", "fewest", "most"), [(3, 45, 75), (4, 52, 82)])
def test_replace_by_flair_puts_flair_in_place_of_one_or_both_others(both, fewest, most):
    image, _ = make_picture((16, 16))
    before = image.copy()
    pipeline = A.Compose([ReplaceByFlair(both, p=1)])
    replaced = Counter()
    for seed in range(100):
        pipeline.set_random_seed(seed)
        made = pipeline(image=image)["image"]
        np.testing.assert_array_equal(made[..., FLAIR], image[..., FLAIR])
        channels = tuple(c for c in (0, 2) if (made[..., c] != image[..., c]).any())
        for c in channels:
            np.testing.assert_array_equal(made[..., c], image[..., FLAIR])
        replaced[channels] += 1
    assert set(replaced) == {(0,), (2,), (0, 2)}
    assert fewest <= replaced[0, 2] <= most, "both in three of five, or in four of six"
    np.testing.assert_array_equal(image, before)


def test_intensity_varies_each_sequence_on_its_own():
    ramp = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, axis=2)
    pipeline = A.Compose([SequenceIntensity(brightness=0.12, contrast=0.25, gamma=0.5, p=1)])
    for seed in SEEDS:
        pipeline.set_random_seed(seed)
        curves = pipeline(image=ramp)["image"].reshape(256, 3).astype(int)
        assert (np.diff(curves, axis=0) >= 0).all(), "brighter stays brighter"
        for first, second in ((0, 1), (0, 2), (1, 2)):
            assert (curves[:, first] != curves[:, second]).any()


def test_one_sequence_s_pixels_do_not_change_another_s():
    image, _ = make_picture((16, 16))
    other = image.copy()
    other[..., 0] = 7
    pipeline = A.Compose([SequenceIntensity(brightness=0.12, contrast=0.25, gamma=0.5, p=1)])
    made = []
    for picture in (image, other):
        pipeline.set_random_seed(3)
        made.append(pipeline(image=picture)["image"])
    np.testing.assert_array_equal(made[0][..., 1:], made[1][..., 1:])


def test_intensity_of_no_strength_changes_nothing():
    image, _ = make_picture()
    pipeline = A.Compose([SequenceIntensity(brightness=0, contrast=0, gamma=0, p=1)])
    np.testing.assert_array_equal(pipeline(image=image)["image"], image)


@pytest.mark.parametrize(
    ("part", "strength", "drawn"),
    [
        # Of 128: gamma draws an exponent between 1/2 and 2.
        ("gamma", 1.0, lambda value: np.log2(np.log(value) / np.log(128 / 255))),
        ("contrast", 0.25, lambda value: (value / (128 / 255) - 1) / 0.25),
        ("brightness", 0.12, lambda value: (value - 128 / 255) / 0.12),
    ],
)
def test_each_part_of_intensity_follows_its_formula_over_its_range(part, strength, drawn):
    image = np.full((4, 4, 3), 128, np.uint8)
    strengths = dict.fromkeys(("brightness", "contrast", "gamma"), 0.0) | {part: strength}
    pipeline = A.Compose([SequenceIntensity(**strengths, p=1)])
    draws = []
    for seed in SEEDS:
        pipeline.set_random_seed(seed)
        draws.append(drawn(pipeline(image=image)["image"][0, 0] / 255))
    assert np.abs(draws).max() < 1.02, "half a grey level more"
    assert np.min(draws) < -0.8
    assert np.max(draws) > 0.8


def test_brightness_contrast_and_gamma_are_draws_of_their_own_for_each_sequence():
    """By hand for a grey of 51, a fifth: gamma first, then contrast, then brightness."""
    transform = SequenceIntensity(brightness=0.1, contrast=0.5, gamma=1.0, p=1)
    draws = np.array([(-1, 0, 0), (0, -1, 0), (1, 1, -1)])  # a row for each sequence
    transform.random_generator = SimpleNamespace(uniform=lambda low, high, shape: draws)
    made = transform(image=np.full((2, 2, 3), 51, np.uint8))["image"][0, 0]
    expected = 0.2**0.5, 0.2 * 0.5, 0.2**2 * 1.5 - 0.1
    np.testing.assert_array_equal(made, np.clip(np.rint(255 * np.array(expected)), 0, 255))


def test_a_bias_field_is_smooth_bounded_and_differs_between_sequences():
    image = np.full((64, 64, 3), 128, np.uint8)
    image[:8] = 0
    pipeline = A.Compose([BiasField(strength=0.3, p=1)])
    for seed in SEEDS:
        pipeline.set_random_seed(seed)
        made = pipeline(image=image)["image"].astype(int)
        assert (made[:8] == 0).all(), "no gain makes nothing bright"
        gain = made[8:] / 128
        # cubic interpolation overshoots the grid's values a little
        assert (np.abs(gain - 1) < 0.4).all()
        assert (np.abs(np.diff(gain, axis=0)) < 0.04).all()
        assert np.ptp(gain[..., 0]) > 0.05
        assert (gain[..., 0] != gain[..., 1]).any()


def test_the_command_s_help_tells_of_every_declared_set():
    (option,) = (p for p in train.params if p.name == "augmentation")
    assert option.default == "plain"
    assert all(f"{name}:" in option.help for name in AUGMENTATIONS if name != "plain")


@pytest.mark.parametrize(
    ("name", "share"), [("mild", 0.0), ("plain", 0.30), ("flair", 0.40), ("strong", 0.40)]
)
def test_a_declared_set_has_flair_alone_in_its_share_of_the_crops(name, share):
    image, mask = make_picture()
    pipeline = build_replacement(AUGMENTATIONS[name])
    alone = 0
    for seed in range(400):
        made = apply_seeded(pipeline, seed, image, mask)[0]
        alone += all((made[..., c] == made[..., FLAIR]).all() for c in (0, 2))
    assert alone / 400 == pytest.approx(share, abs=0.06)


def test_lesion_contrast_changes_the_lesion_alone_and_keeps_its_mask():
    image, mask = np.full((64, 64, 3), 100, np.uint8), np.zeros((64, 64), np.uint8)
    mask[20:44, 20:44] = 1
    pipeline = A.Compose([LesionContrast(0.3, p=1)])
    inside = []
    for seed in SEEDS:
        made, moved = apply_seeded(pipeline, seed, image, mask)
        np.testing.assert_array_equal(moved, mask)
        far = cv2.dilate(mask, np.ones((31, 31), np.uint8)) == 0
        assert (made[far] == 100).all()
        inside.append(made[32, 32])
    assert np.min(inside) >= 70
    assert np.max(inside) <= 130
    assert np.ptp(inside, axis=0).min() > 30, "darker and brighter, in every sequence"
    assert len({tuple(v) for v in inside if len(set(v.tolist())) > 1}) > 10


def test_lesion_contrast_leaves_a_slice_without_lesion():
    image, mask = make_picture()
    made, _ = apply_seeded(A.Compose([LesionContrast(0.3, p=1)]), 0, image, np.zeros_like(mask))
    np.testing.assert_array_equal(made, image)


def test_each_part_of_a_declared_set_acts_in_its_share_of_the_crops():
    chosen = AUGMENTATIONS["strong"]
    acts = [(type(t).__name__, t.p) for t in build_augmentation(32, chosen).transforms]
    assert acts == [
        ("HorizontalFlip", 0.5), ("VerticalFlip", 0.5), ("Affine", chosen.affine),
        ("PadIfNeeded", 1), ("GridDistortion", chosen.distortion), ("OneOf", 1),
        ("LesionContrast", 0.5), ("SequenceIntensity", chosen.intensity),
        ("BiasField", chosen.bias), ("GaussianBlur", chosen.blur), ("GaussNoise", chosen.noise),
    ]  # fmt: skip
    plain = [type(t).__name__ for t in build_augmentation(32, AUGMENTATIONS["plain"]).transforms]
    assert plain == [name for name, _ in acts if name != "LesionContrast"]


def test_with_the_other_side_the_same_parts_act_values_first():
    chosen = AUGMENTATIONS["strong"]
    whole, values, moves = (
        [(type(t).__name__, t.p) for t in pipeline.transforms]
        for pipeline in (
            build_augmentation(32, chosen), build_intensities(chosen), build_geometry(32, chosen)
        )
    )  # fmt: skip
    assert (moves[0], values[0]) == (("HorizontalFlip", 0.5), ("LesionContrast", 0.5))
    assert whole == [*moves, *values]


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_each_part_of_a_declared_set_acts_with_its_strength(name):
    chosen = AUGMENTATIONS[name]
    parts = {type(t).__name__: t for t in build_augmentation(32, chosen).transforms}
    affine, intensity = parts["Affine"], parts["SequenceIntensity"]
    bend, shift = (-chosen.shear_degrees, chosen.shear_degrees), (-0.05, 0.05)
    assert affine.scale == {"x": chosen.scale, "y": chosen.scale}
    assert affine.shear == {"x": bend, "y": bend}
    assert affine.translate_percent == {"x": shift, "y": shift}
    assert intensity.brightness == chosen.brightness
    assert intensity.contrast == chosen.contrast
    assert intensity.gamma == chosen.gamma
    assert parts["BiasField"].strength == chosen.bias
    assert parts["GaussNoise"].std_range[1] == chosen.noise_limit
    if chosen.lesion:
        assert parts["LesionContrast"].strength == chosen.lesion
    (replacement,) = build_replacement(chosen).transforms
    assert replacement.both == chosen.flair_both
