"""What is a volume, and the numbers of a segmentation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lgg_runtime.errors import InputError
from lgg_runtime.grid import ModelGrid
from lgg_runtime.volume import CHANNELS, FLAIR, Segmentation, Volume


def test_flair_is_the_second_of_three_channels() -> None:
    assert CHANNELS[FLAIR] == "FLAIR"
    assert (FLAIR, len(CHANNELS)) == (1, 3)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int16, np.float32, np.float64])
def test_a_volume_is_slices_of_three_channels_of_real_numbers(kind: type) -> None:
    assert len(Volume(np.zeros((5, 2, 7, 3), kind))) == 5


@pytest.mark.parametrize(
    "shape", [(2, 3, 3), (1, 2, 3, 4), (1, 2, 3, 1), (0, 2, 3, 3), (1, 0, 3, 3), (1, 1, 2, 3, 3)]
)
def test_another_shape_is_refused_and_told(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"expected \(slices, rows, columns, 3\)") as refused:
        Volume(np.zeros(shape, np.uint8))
    assert str(shape) in str(refused.value)


@pytest.mark.parametrize("scale", [1e-310, 1e-40, 1e40, -1e-40])
def test_values_that_float32_cannot_hold_are_refused(scale: float) -> None:
    with pytest.raises(InputError, match="whose largest is from 1e-30 to 1e\\+30, found"):
        Volume(np.full((1, 2, 2, 3), scale))
    assert len(Volume(np.full((1, 2, 2, 3), scale / scale * 1e-20))) == 1


@pytest.mark.parametrize("channel", range(3))
def test_a_channel_that_float32_cannot_hold_is_refused_beside_others(channel: int) -> None:
    pixels = np.ones((1, 2, 2, 3))
    pixels[..., channel] = 1e-40
    with pytest.raises(InputError, match="whose largest is from 1e-30 to 1e\\+30, found 1e-40"):
        Volume(pixels)
    pixels[..., channel] = 0
    assert len(Volume(pixels)) == 1


@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_what_a_mask_hides_is_not_computed_with(kind: type) -> None:
    with pytest.raises(InputError, match="expected an array without a mask; fill it"):
        Volume(np.ma.masked_array(np.ones((1, 2, 2, 3), kind), mask=False))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_no_finite_number_is_refused(value: float) -> None:
    pixels = np.zeros((1, 2, 2, 3), np.float32)
    pixels[0, 1, 1, 2] = value
    with pytest.raises(InputError, match="finite"):
        Volume(pixels)


@pytest.mark.parametrize(
    "spacing",
    [
        (1, 1),
        (0, 1, 1),
        (-5, 1, 1),
        (np.nan, 1, 1),
        (1, np.inf, 1),
        5.0,
        (1, "a", 1),
        (1, (1, 1), 1),
        np.array(1.0),
        np.ones((3, 1)),
        (1, 1, 10**400),
    ],
)
def test_a_spacing_that_is_no_three_lengths_is_refused(spacing: object) -> None:
    with pytest.raises(InputError, match="spacing of three lengths"):
        Volume(np.zeros((1, 2, 2, 3), np.uint8), spacing_mm=spacing)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "affine",
    [
        np.zeros((4, 4)),
        np.full((4, 4), np.nan),
        np.diag([5, 0, 1, 1.0]),
        np.diag([5, np.inf, 1, 1.0]),
        np.array([[0, 0, 1, 0], [0, 1, 0, 0], [5, 0, 0, 0], [-9, -8, -7, 1.0]]),  # transposed
        np.diag([5, 1, 1, 0.0]),
        np.diag([5, 1, 1, 2.0]),
        np.diag([1e200, 1e200, 1e200, 1]),
        np.array([[1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 1.0]]),  # in one plane
        np.eye(3),
        np.eye(4, dtype=object),
        np.eye(4).tolist(),
    ],
)
def test_an_affine_that_places_nothing_is_refused(affine: Any) -> None:
    with pytest.raises(InputError, match="axes have a length"):
        Volume(np.zeros((1, 2, 2, 3), np.uint8), affine=affine)


@pytest.mark.parametrize(("degrees", "spans"), [(0.04, False), (0.1, True), (45, True)])
def test_axes_may_lean_but_not_into_one_plane(degrees: float, spans: bool) -> None:
    affine, lean = np.eye(4), np.radians(degrees)
    affine[:3, 0] = 0, np.cos(lean), np.sin(lean)
    affine[:3, 2] = 1, 0, 0
    if spans:
        assert len(Volume(np.zeros((2, 1, 1, 3), np.uint8), affine=affine)) == 2
        return
    with pytest.raises(InputError, match="span a volume"):
        Volume(np.zeros((2, 1, 1, 3), np.uint8), affine=affine)


@pytest.mark.parametrize("pixels", [None, "volume.nii", [[[[0, 0, 0]]]]])
def test_what_is_no_array_is_refused(pixels: Any) -> None:
    with pytest.raises(InputError, match="expected an array, found"):
        Volume(pixels)


def test_two_values_are_compared_as_objects() -> None:
    one, other = (Volume(np.zeros((1, 2, 2, 3), np.uint8)) for _ in range(2))
    assert one == one and one != other  # noqa: PLR0124


def test_a_volume_and_a_result_are_shown_in_one_line_each() -> None:
    """As the last line of a notebook's cell shows them: not thousands of numbers."""
    volume = Volume(np.zeros((5, 40, 30, 3), np.int16), spacing_mm=(6, 0.5, 0.5))
    assert repr(volume) == "Volume(shape=(5, 40, 30, 3), dtype=int16, spacing_mm=(6.0, 0.5, 0.5))"
    mask = np.zeros((5, 40, 30), bool)
    assert repr(Segmentation(mask, mask.astype(np.float32), 0.5)) == (
        "Segmentation(shape=(5, 40, 30), tumour_present=False, volume_ml=None, doubts=(), "
        "dropped_fraction=0)"
    )


@pytest.mark.parametrize("kind", [bool, np.complex64, "U1", object])
def test_values_that_are_no_real_numbers_are_refused(kind: object) -> None:
    with pytest.raises(InputError, match="expected real numbers"):
        Volume(np.zeros((1, 2, 2, 3), kind))


def test_names_are_one_a_slice() -> None:
    pixels = np.zeros((2, 1, 1, 3), np.uint8)
    assert Volume(pixels, ("a", "b")).names == ("a", "b")
    with pytest.raises(InputError, match="2 slices but 1 names"):
        Volume(pixels, ("a",))


def test_names_that_are_no_tuple_are_refused() -> None:
    with pytest.raises(InputError, match="expected a tuple of names, found 5"):
        Volume(np.zeros((2, 1, 1, 3), np.uint8), names=5)  # type: ignore[arg-type]


def test_a_spacing_that_contradicts_the_affine_is_refused() -> None:
    pixels, affine = np.zeros((2, 1, 1, 3), np.uint8), np.diag([5, 0.94, -0.94, 1.0])
    assert len(Volume(pixels, spacing_mm=(5.0, 0.9402, 0.9398), affine=affine)) == 2
    with pytest.raises(InputError, match=r"spacing \(0.94, 0.94, 5\) is not .* \(5, 0.94, 0.94\)"):
        Volume(pixels, spacing_mm=(0.94, 0.94, 5), affine=affine)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.longdouble, np.int64, np.uint8])
def test_a_spacing_of_another_real_type_is_kept_as_floats(kind: type) -> None:
    given = np.array([50, 15, 16]).astype(kind)
    for spacing in (given, list(given), tuple(given)):
        volume = Volume(np.zeros((20, 256, 256, 3), np.uint8), spacing_mm=spacing)  # type: ignore[arg-type]
        assert volume.spacing_mm == (50, 15, 16)
        assert {type(length) for length in volume.spacing_mm} == {float}
        with pytest.raises(InputError, match=r"20 slices of 4096 x 4369\.1 of .* at most 4096"):
            ModelGrid.of(volume)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.longdouble, np.int64, np.uint8])
def test_an_affine_of_another_real_type_is_kept_as_float64(kind: type) -> None:
    affine = np.diag([5, 1, 2, 1]).astype(kind)
    volume = Volume(np.zeros((2, 1, 1, 3), np.uint8), affine=affine)
    assert volume.affine is not None
    assert volume.affine.dtype == np.float64
    np.testing.assert_array_equal(volume.affine, affine)
    assert volume.spacing_mm == (5, 1, 2)


def test_an_affine_alone_tells_the_spacing() -> None:
    affine = np.array([[0, 0.6, -0.4, 7], [0, 0.8, 0.3, 8], [3, 0, 0, 9], [0, 0, 0, 1.0]])
    volume = Volume(np.zeros((2, 1, 1, 3), np.uint8), affine=affine)
    assert volume.spacing_mm == pytest.approx((3, 1, 0.5))


def test_areas_and_volumes_follow_the_spacing() -> None:
    mask = np.zeros((3, 2, 4), bool)
    mask[0, 0, :3] = mask[2, 1, 1] = True
    found = Segmentation(mask, mask.astype(np.float32), 0.5, spacing_mm=(5.0, 0.5, 2.0))
    assert found.tumour_present
    assert found.pixel_area_mm2 == 1.0
    assert found.volume_ml == pytest.approx(4 * 5.0 / 1000)


def test_without_a_spacing_there_are_no_millimetres() -> None:
    found = Segmentation(np.zeros((1, 2, 2), bool), np.zeros((1, 2, 2), np.float32), 0.5)
    assert not found.tumour_present
    assert found.pixel_area_mm2 is None
    assert found.volume_ml is None


@pytest.mark.parametrize(("length", "is_same"), [(0.948, True), (0.952, False)])
def test_a_spacing_may_differ_from_the_affines_by_a_hundredth(length: float, is_same: bool) -> None:
    pixels, affine = np.zeros((2, 1, 1, 3), np.uint8), np.diag([5.0, 0.94, 0.94, 1.0])
    if is_same:
        assert len(Volume(pixels, spacing_mm=(5.0, length, 0.94), affine=affine)) == 2
        return
    with pytest.raises(InputError, match="is not that of its affine"):
        Volume(pixels, spacing_mm=(5.0, length, 0.94), affine=affine)
