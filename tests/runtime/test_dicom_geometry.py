"""Frames to a grid: order by position, spacing from positions, refusals by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lgg_runtime.errors import InputError
from lgg_runtime.readers.dicom_frames import Frame
from lgg_runtime.readers.dicom_geometry import count_continuing, sort_frames, span_grid


class Header:
    Rows, Columns = 4, 6


def frames_at(
    positions: list[tuple[float, float, float]],
    orientation: tuple[float, ...] = (1, 0, 0, 0, 1, 0),
    spacing: tuple[float, float] = (0.5, 0.75),
) -> list[Frame]:
    return [Frame(Path("f"), Header(), 0, p, orientation, spacing) for p in positions]


def along_z(*heights: float) -> list[Frame]:
    return frames_at([(10.0, 20.0, z) for z in heights])


def test_slices_are_sorted_by_their_position_on_the_normal() -> None:
    frames = sort_frames(along_z(5, -5, 0, 10))
    assert [frame.position[2] for frame in frames] == [-5, 0, 5, 10]


def test_sagittal_slices_run_against_x_as_their_normal_does() -> None:
    frames = frames_at([(x, 0.0, 0.0) for x in (-2, 2, 0)], (0, 1, 0, 0, 0, -1))
    assert [frame.position[0] for frame in sort_frames(frames)] == [2, 0, -2]


def test_a_step_along_rows_is_the_first_spacing_and_along_columns_the_second() -> None:
    grid = span_grid(along_z(0, 3, 6))
    assert grid.spacing_mm == (3.0, 0.5, 0.75)
    assert grid.lattice.shape == (3, 4, 6)
    corner = grid.lattice.affine @ np.array([2, 3, 5, 1])
    np.testing.assert_allclose(corner[:3], [10 + 5 * 0.75, 20 + 3 * 0.5, 6])


def test_the_spacing_of_oblique_slices_is_measured_on_their_normal() -> None:
    c, s = np.cos(0.3), np.sin(0.3)
    normal = np.array([0, -s, c])
    positions = [tuple((k * 4.0 * normal).tolist()) for k in range(3)]
    grid = span_grid(frames_at(positions, (1, 0, 0, 0, float(c), float(s))))
    assert grid.spacing_mm[0] == pytest.approx(4)
    np.testing.assert_allclose(grid.lattice.affine[:3, 0], 4 * normal)


def test_a_gap_of_two_slices_is_refused_with_its_place() -> None:
    with pytest.raises(InputError) as refused:
        span_grid(along_z(0, 5, 10, 25, 30))
    assert str(refused.value) == (
        "a gap: between slices 3 and 4 of 5 lie 15.00 mm, elsewhere 5.00 mm; 2 missing"
    )


def test_positions_rounded_to_hundredths_are_regular() -> None:
    grid = span_grid(along_z(*(round(k * 4.7135, 2) for k in range(20))))
    assert grid.spacing_mm[0] == pytest.approx(4.7135, abs=1e-3)


@pytest.mark.parametrize(
    ("degrees", "height", "is_next"),
    [
        (0, 15, True), (0, -5, True), (0, 13, True), (0, 19, False), (0, 25, False),
        (0, 10, False), (0, 7, False), (8, 15, True), (12, 15, False), (180, 15, True),
    ],
)  # fmt: skip
def test_a_plane_that_is_hardly_turned_continues_a_stack_a_step_away(
    degrees: float, height: float, is_next: bool
) -> None:
    """Turned about its middle row, which is 0.75 mm from its first one."""
    stack = along_z(0, 5, 10)
    c, s = float(np.cos(np.radians(degrees))), float(np.sin(np.radians(degrees)))
    middle = np.array([10, 20.75, height])
    corner = middle - 0.75 * np.array([0, c, s])
    plane = frames_at([(corner[0], corner[1], corner[2])], (1, 0, 0, 0, c, s))
    assert count_continuing([stack, plane])[0] == is_next


@pytest.mark.parametrize("heights", [(0, 0, 0), (0,)])
def test_nothing_continues_slices_at_one_position(heights: tuple[float, ...]) -> None:
    assert count_continuing([along_z(*heights), along_z(5)])[0] == 0


def test_slices_of_another_size_continue_nothing() -> None:
    (plane,) = along_z(15)
    plane.header.Rows = 5
    assert count_continuing([along_z(0, 5, 10), along_z(15)])[0] == 1
    assert count_continuing([along_z(0, 5, 10), [plane]])[0] == 0


def test_slices_beside_their_line_are_refused() -> None:
    shifted = frames_at([(0.0, 0.0, 0.0), (1.0, 0.0, 5.0), (0.0, 0.0, 10.0)])
    sheared = frames_at([(float(k), 0.0, 5.0 * k) for k in range(3)])
    for frames in (shifted, sheared):
        with pytest.raises(InputError, match=r"^slices are shifted against one another; resample"):
            span_grid(frames)


@pytest.mark.parametrize(("lean", "is_taken"), [(0.0095, True), (0.0115, False)])
def test_a_lean_of_the_stack_adds_up_to_a_quarter_of_a_pixel(lean: float, is_taken: bool) -> None:
    frames = frames_at([(lean * k, 0.0, 5.0 * k) for k in range(20)])
    if is_taken:
        assert span_grid(frames).lattice.affine[0, 0] == pytest.approx(lean)
        return
    with pytest.raises(InputError, match="shifted against one another"):
        span_grid(frames)


def test_steps_may_differ_by_a_fiftieth_and_positions_be_shared_within_a_hundredth() -> None:
    assert span_grid(along_z(0, 5, 10.1, 15)).spacing_mm[0] == pytest.approx(5)
    with pytest.raises(InputError, match="irregular spacing"):
        span_grid(along_z(0, 5, 10.15, 15))
    with pytest.raises(InputError, match="share a position"):
        span_grid(along_z(0, 5, 5.009, 10))
    with pytest.raises(InputError, match="irregular spacing"):
        span_grid(along_z(0, 5, 5.05, 10))


@pytest.mark.parametrize(("more", "is_taken"), [(0.08, True), (0.09, False)])
def test_small_differences_of_steps_add_up_to_a_quarter_of_one(more: float, is_taken: bool) -> None:
    """15 steps are longer than 5 mm and 15 shorter, so that the middle lies aside by 15 of them."""
    steps = [5 + more] * 15 + [5.0] + [5 - more] * 15
    frames = along_z(*np.cumsum([0.0, *steps]).tolist())
    if is_taken:
        assert span_grid(frames).spacing_mm[0] == pytest.approx(5)
        return
    with pytest.raises(InputError) as refused:
        span_grid(frames)
    assert str(refused.value) == (
        "irregular spacing: slice 16 of 32 lies 1.35 mm from its place among equal steps of about "
        "5.00 mm"
    )


@pytest.mark.parametrize(("aside", "is_taken"), [(0.19, True), (0.21, False)])
def test_a_slice_may_lie_a_quarter_of_a_pixel_beside_the_line(aside: float, is_taken: bool) -> None:
    frames = frames_at([(0.0, 0.0, 0.0), (aside, 0.0, 5.0), (0.0, 0.0, 10.0)])
    if is_taken:
        assert span_grid(frames).lattice.shape == (3, 4, 6)
        return
    with pytest.raises(InputError, match="shifted against one another"):
        span_grid(frames)


@pytest.mark.parametrize(("factor", "is_taken"), [(1.0009, True), (1.0015, False)])
def test_pixel_spacings_may_differ_by_a_thousandth(factor: float, is_taken: bool) -> None:
    (other,) = frames_at([(10.0, 20.0, 10.0)], spacing=(0.5, 0.75 * factor))
    frames = [*along_z(0, 5), other]
    if is_taken:
        assert span_grid(frames).spacing_mm == (5.0, 0.5, 0.75)
        return
    with pytest.raises(InputError, match="slices differ in PixelSpacing"):
        span_grid(frames)
