"""From a volume's voxels to the model's axial slices and back, on arrays checkable by hand."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lgg_runtime.contract import TRAINED_PIXEL_MM
from lgg_runtime.errors import InputError
from lgg_runtime.grid import ModelGrid, plane_of
from lgg_runtime.volume import Volume

AXES = list(permutations(range(3)))
SIGNS = list(product((1, -1), repeat=3))
# Columns: where one step of slice, row and column leads, in mm leftwards, backwards, upwards.
AXIAL = np.array([[0, 0, 0.9], [0, 0.9, 0], [5.0, 0, 0]])


def place(directions: np.ndarray) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = directions
    return affine


def volume_of(values: np.ndarray, directions: np.ndarray | None) -> Volume:
    pixels = np.repeat(values[..., None], 3, axis=-1)
    if directions is None:
        return Volume(pixels)
    s, r, c = np.linalg.norm(directions, axis=0).tolist()
    return Volume(pixels, (), (s, r, c), place(directions))


def numbered(shape: tuple[int, int, int]) -> np.ndarray:
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


def test_a_volume_without_a_place_is_taken_as_it_is() -> None:
    volume = volume_of(numbered((2, 3, 4)), None)
    grid = ModelGrid.of(volume)
    assert grid.is_identity
    np.testing.assert_array_equal(grid.to_model(volume.pixels), volume.pixels)


def test_a_probability_at_the_threshold_is_tumour_on_another_grid_too() -> None:
    grid = ModelGrid.of(volume_of(numbered((2, 6, 8)), AXIAL * np.array([1, 0.5, 0.5])))
    assert not grid.is_identity
    found = np.full((2, *grid.size), 0.5, np.float32)
    mask, _ = grid.bring_back(np.ones(found.shape, bool), found, 0.5)
    assert mask.shape == (2, 6, 8) and mask.all()


@pytest.mark.parametrize(("degrees", "plane"), [(9, "axial"), (11, "oblique axial")])
def test_slices_are_oblique_beyond_ten_degrees(degrees: float, plane: str) -> None:
    angle = np.deg2rad(degrees)
    turn = np.array(
        [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
    )
    assert plane_of(place(turn @ AXIAL)) == plane


def test_a_tilt_of_45_degrees_turns_nothing_whichever_way_its_last_digit_is_rounded() -> None:
    cosine = np.sqrt(0.5)
    for sine in (np.nextafter(cosine, 0), cosine, np.nextafter(cosine, 1)):
        tilt = np.array([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]])
        assert ModelGrid.of(volume_of(numbered((2, 3, 4)), tilt @ AXIAL)).axes == (0, 1, 2)


@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize("signs", SIGNS)
def test_every_way_to_store_a_volume_shows_the_model_the_same(
    axes: tuple[int, int, int], signs: tuple[int, int, int]
) -> None:
    expected = numbered((2, 3, 4))
    directions = np.diag([0.9, 0.9, 0.9])[:, ::-1]
    against = tuple(axis for axis in range(3) if signs[axis] < 0)
    stored = np.flip(expected.transpose(axes), against)
    volume = volume_of(stored, directions[:, list(axes)] * np.array(signs))
    grid = ModelGrid.of(volume)
    model = grid.to_model(volume.pixels)
    np.testing.assert_array_equal(model[..., 0], expected)
    np.testing.assert_array_equal(grid.to_volume(model[..., 0]), stored)


def test_a_sagittal_volume_is_shown_nose_up_and_from_below() -> None:
    # Sagittal: slices run rightwards, rows downwards, columns backwards.
    directions = np.array([[-0.9, 0, 0], [0, 0, 0.9], [0, -0.9, 0]])
    values = np.zeros((2, 3, 4), np.float32)
    values[0, 0, 0] = 1  # leftmost, topmost, foremost
    grid = ModelGrid.of(volume_of(values, directions))
    model = grid.to_model(np.repeat(values[..., None], 3, -1))[..., 0]
    assert model.shape == (3, 4, 2)
    assert np.argwhere(model).tolist() == [[2, 0, 1]]  # top slice, first row, last column


def test_half_the_pixel_size_is_brought_to_the_trained_one() -> None:
    half = TRAINED_PIXEL_MM / 2
    directions = AXIAL * np.array([1, half / 0.9, half / 0.9])
    values = np.kron(np.array([[[0, 8], [16, 24]]]), np.ones((1, 2, 2))).astype(np.float32)
    grid = ModelGrid.of(volume_of(values, directions))
    model = grid.to_model(np.repeat(values[..., None], 3, -1))
    np.testing.assert_array_equal(model[..., 1], [[[0, 8], [16, 24]]])


@pytest.mark.parametrize("axis", [1, 2])
@pytest.mark.parametrize("at", range(8))
def test_a_line_of_one_pixel_is_not_lost_where_slices_shrink_to_a_quarter(
    axis: int, at: int
) -> None:
    quarter = TRAINED_PIXEL_MM / 4
    directions = AXIAL * np.array([1, quarter / 0.9, quarter / 0.9])
    values = np.zeros((1, 8, 8), np.float32)
    np.moveaxis(values, axis, 0)[at] = 100
    volume = volume_of(values, directions)
    model = np.moveaxis(ModelGrid.of(volume).to_model(volume.pixels)[..., 1], axis, 0)
    np.testing.assert_allclose(model[at // 4], 25)
    np.testing.assert_allclose(model[1 - at // 4], 0)


def test_the_scale_is_the_one_that_the_model_was_trained_on() -> None:
    volume = volume_of(numbered((2, 6, 4)), AXIAL)
    assert ModelGrid.of(volume, 0.9).is_identity
    assert ModelGrid.of(volume, 0.45).size == (12, 8)
    assert ModelGrid.of(volume, 1.8).size == (3, 2)


def test_pixels_of_unequal_sides_become_square() -> None:
    directions = AXIAL * np.array([1, 1, 2 * TRAINED_PIXEL_MM / 0.9])
    grid = ModelGrid.of(volume_of(numbered((2, 6, 5)), directions))
    assert grid.size == (6, 10)


@pytest.mark.parametrize(
    ("shape", "pixel_mm", "message"),
    [
        ((2, 9, 4), (50000, 100), "9 x 4 pixels of 50000 x 100 mm are 2 slices of 4500 x 4 of the "
         "model's 100 mm: expected at most 4096 a side and 134217728 voxels; correct its spacing"),
        ((33, 2, 1), (1e5, 204800), "2 x 1 pixels of 100000 x 204800 mm are 33 slices of 2000 x "
         "2048 of the"),
        ((2, 3, 4), (1e300, 1e300), "3 x 4 pixels of 1e+300 x 1e+300 mm are 2 slices of 3e+298 x "),
        ((2, 3, 4), (100, 3), "3 x 4 pixels of 100 x 3 mm: expected 3.1 mm or more; correct its "
         "spacing"),
    ],
)  # fmt: skip
def test_a_spacing_that_is_no_patients_is_refused_before_anything_is_resampled(
    shape: tuple[int, int, int], pixel_mm: tuple[float, float], message: str
) -> None:
    volume = Volume(np.zeros((*shape, 3), np.uint8), (), (5.0, *pixel_mm))
    with pytest.raises(InputError) as refused:
        ModelGrid.of(volume, 100)
    assert str(refused.value).startswith(message)


def test_slices_that_lie_further_apart_than_any_patients_are_refused() -> None:
    def place(between: float) -> ModelGrid:
        return ModelGrid.of(Volume(np.zeros((2, 3, 4, 3), np.uint8), (), (between, 1.0, 1.0)), 1)

    assert place(100).shape == (2, 3, 4)
    with pytest.raises(InputError, match=r"^slices 100\.5 mm apart: expected at most 100; correct"):
        place(100.5)


@pytest.mark.parametrize("pixel_mm", [3.2, 1000])
def test_a_spacing_that_is_just_possible_is_taken(pixel_mm: float) -> None:
    volume = Volume(np.zeros((2, 320, 320, 3), np.uint8), (), (5.0, pixel_mm, pixel_mm))
    assert ModelGrid.of(volume, 100).size[0] == round(3.2 * pixel_mm)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int16, np.int32, np.float32, np.float64])
def test_every_real_type_can_be_resampled(kind: type) -> None:
    directions = AXIAL * np.array([1, 2, 2])
    values = np.full((2, 6, 5), 7, kind)
    grid = ModelGrid.of(volume_of(values, directions))
    model = grid.to_model(np.repeat(values[..., None], 3, -1))
    assert model.shape == (2, 12, 10, 3)
    assert (model == 7).all()


@settings(deadline=None, max_examples=40)
@given(
    spacing=st.tuples(*[st.floats(0.5, 3.0)] * 3),
    axes=st.sampled_from(AXES),
    signs=st.sampled_from(SIGNS),
    middle=st.tuples(*[st.floats(0.35, 0.65)] * 3),
)
def test_a_lesion_comes_back_to_where_it_was(
    spacing: tuple[float, ...],
    axes: tuple[int, int, int],
    signs: tuple[int, int, int],
    middle: tuple[float, ...],
) -> None:
    shape = np.ceil(60 / np.array(spacing)).astype(int)
    place_mm = [np.arange(n) * mm for n, mm in zip(shape, spacing, strict=True)]
    z, y, x = np.meshgrid(*place_mm, indexing="ij")
    centre = np.array(middle) * 60
    apart = np.sqrt((z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2)
    ball = 1 / (1 + np.exp((apart - 14) / 1.5))
    directions = np.diag(spacing)[:, list(axes)] * np.array(signs)
    stored = np.ascontiguousarray(
        np.flip(ball.transpose(axes), [a for a in range(3) if signs[a] < 0])
    ).astype(np.float32)
    volume = volume_of(stored, directions)
    grid = ModelGrid.of(volume)
    probability = grid.to_model(volume.pixels)[..., 0]
    mask, back = grid.bring_back(probability >= 0.5, probability, 0.5)
    assert back.shape == mask.shape == stored.shape
    truth = stored >= 0.5
    distance = np.argwhere(mask).mean(0) - np.argwhere(truth).mean(0)
    assert np.abs(distance).max() < 0.25
    assert 2 * (mask & truth).sum() / (mask.sum() + truth.sum()) > 0.9


def test_an_empty_mask_comes_back_empty() -> None:
    grid = ModelGrid.of(volume_of(numbered((2, 6, 5)), AXIAL * 2))
    nothing = np.zeros((2, *grid.size), np.float32)
    mask, _ = grid.bring_back(nothing > 0, nothing, 0.5)
    assert mask.shape == (2, 6, 5)
    assert not mask.any()


def test_what_the_clean_up_dropped_does_not_come_back() -> None:
    grid = ModelGrid.of(volume_of(numbered((1, 8, 16)), AXIAL * np.array([1, 2, 2])))
    probability = np.zeros((1, *grid.size), np.float32)
    probability[0, 4:8, 4:8] = probability[0, 4:8, 20:24] = 1
    kept = probability > 0.5
    kept[..., 16:] = False
    mask, back = grid.bring_back(kept, probability, 0.5)
    assert mask[..., :8].any() and not mask[..., 8:].any()
    assert back[..., 8:].max() == 1


@pytest.mark.parametrize(
    ("directions", "plane"),
    [
        (AXIAL, "axial"),
        (AXIAL[:, [1, 0, 2]], "coronal"),
        (AXIAL[:, [2, 0, 1]], "sagittal"),
        (np.array([[0, 0, 1], [0.5, 0.9, 0], [0.9, -0.5, 0]]), "oblique axial"),
    ],
)
def test_a_plane_is_named(directions: np.ndarray, plane: str) -> None:
    assert plane_of(place(directions)) == plane


@pytest.mark.parametrize("signs", SIGNS)
def test_slices_that_are_turned_without_resampling_are_turned_back(
    signs: tuple[int, int, int],
) -> None:
    probability = np.linspace(0, 1, 24, dtype=np.float32).reshape(2, 3, 4)
    pixels = np.repeat(probability[..., None], 3, axis=-1)
    grid = ModelGrid.of(Volume(pixels, affine=place(AXIAL * signs)))
    assert grid.size == (3, 4), "not resampled"
    seen = grid.to_model(pixels)[..., 0]
    mask, back = grid.bring_back(seen >= 0.6, seen, 0.6)
    np.testing.assert_array_equal(back, probability)
    np.testing.assert_array_equal(mask, probability >= 0.6)


def test_too_many_columns_alone_are_refused() -> None:
    with pytest.raises(InputError, match="at most 4096 a side"):
        ModelGrid.of(Volume(np.zeros((1, 2, 700, 3), np.uint8), spacing_mm=(5.0, 0.9, 6.0)))


def test_slices_are_counted_and_spaced_on_the_axis_that_becomes_theirs() -> None:
    # Sagittal: its columns become rows or slices of the model.
    sagittal = np.array([[2.0, 0, 0], [0, 0.9, 0], [0, 0, 101.0]])
    with pytest.raises(InputError, match="slices 101 mm apart"):
        ModelGrid.of(Volume(np.zeros((4, 4, 4, 3), np.uint8), affine=place(sagittal)))


def test_turned_slices_are_resampled_by_the_spacing_of_their_own_axes() -> None:
    sagittal = place(np.diag([2.0, 1.0, 5.0]))
    grid = ModelGrid.of(Volume(np.zeros((3, 4, 6, 3), np.uint8), affine=sagittal), 1.0)
    assert (grid.axes, grid.size) == ((2, 1, 0), (4, 6))


@pytest.mark.parametrize(
    ("pixel_mm", "stays"), [(1.14, True), (1.16, False), (0.86, True), (0.84, False)]
)
def test_a_scale_within_fifteen_hundredths_is_left_as_it_is(pixel_mm: float, stays: bool) -> None:
    volume = Volume(np.zeros((1, 100, 100, 3), np.uint8), spacing_mm=(5.0, pixel_mm, pixel_mm))
    assert ModelGrid.of(volume, 1.0).is_identity is stays


def test_a_side_of_less_than_a_pixel_of_the_models_becomes_one() -> None:
    volume = Volume(np.zeros((2, 4, 100, 3), np.uint8), spacing_mm=(5.0, 0.1, 0.1))
    grid = ModelGrid.of(volume, 1.0)
    assert grid.to_model(volume.pixels).shape == (2, 1, 10, 3)


def test_an_edge_lies_where_the_interpolated_probability_reaches_the_threshold() -> None:
    grid = ModelGrid.of(Volume(np.zeros((1, 2, 4, 3), np.uint8), spacing_mm=(5.0, 0.5, 0.5)), 1.0)
    probability = np.array([[[0.9, 0.4]]], np.float32)
    mask, back = grid.bring_back(probability >= 0.5, probability, 0.5)
    np.testing.assert_allclose(back[0, 0], [0.9, 0.775, 0.525, 0.4])
    assert mask[0].tolist() == [[True, True, True, False]] * 2
