"""A sequence on FLAIR's grid: taken as it is, resampled, or not even read."""

from __future__ import annotations

import numpy as np
import pytest

from lgg_runtime.readers.resample import Lattice
from lgg_runtime.readers.sequences import NoFitError, Target, fit, name_slices, note_view

AXIAL = np.array([[0, 0, 1.0, 0], [0, 1.0, 0, 0], [3.0, 0, 0, 0], [0, 0, 0, 1]])
PIXELS = np.arange(120, dtype=np.int16).reshape(4, 5, 6)
GRID = Lattice(AXIAL, (4, 5, 6))
FLAIR = Target(PIXELS, GRID)


def flair_of(slices: int) -> Target:
    """FLAIR whose every voxel is of the head."""
    return Target(np.ones((slices, 5, 6)), Lattice(AXIAL, (slices, 5, 6)))


def test_a_sequence_on_flairs_grid_is_taken_as_it_is() -> None:
    fitted, is_resampled = fit(lambda: PIXELS, "T1", GRID, FLAIR, "dicom")
    assert fitted is PIXELS
    assert not is_resampled


def test_a_sequence_on_another_grid_is_resampled() -> None:
    pytest.importorskip("SimpleITK")
    around = AXIAL.copy()
    around[:3, 3] = (-1, -1, -3)
    source = Lattice(around, (6, 7, 8))
    fitted, is_resampled = fit(lambda: np.pad(PIXELS, 1), "T1", source, FLAIR, "dicom")
    np.testing.assert_array_equal(fitted, PIXELS)
    assert is_resampled


def test_a_sequence_that_covers_too_little_is_not_read() -> None:
    away = AXIAL.copy()
    away[0, 3] = 100

    def read() -> np.ndarray:
        raise AssertionError("read")

    with pytest.raises(NoFitError, match=r"^T1 covers 0% of the head in FLAIR$"):
        fit(read, "T1", Lattice(away, GRID.shape), FLAIR, "dicom")
    # 89.5 %, which is not to read as the 90 % that are enough.
    with pytest.raises(NoFitError, match=r"^T1 covers 89% of the head in FLAIR$"):
        fit(read, "T1", Lattice(AXIAL, (179, 5, 6)), flair_of(200), "dicom")


def test_air_need_not_be_covered() -> None:
    """A sagittal T1 of the whole head holds three quarters of a square FLAIR, whose rest is air."""
    pytest.importorskip("SimpleITK")
    pixels = np.zeros((4, 5, 6))
    pixels[:, :, 1:5] = 100
    head = AXIAL.copy()
    head[0, 3] = 1
    narrow, narrower = Lattice(head, (4, 5, 4)), Lattice(head, (4, 5, 3))
    ones = np.ones(narrow.shape)
    fitted, _ = fit(lambda: ones, "T1", narrow, Target(pixels, GRID), "dicom")
    np.testing.assert_array_equal(fitted, pixels / 100)
    with pytest.raises(NoFitError, match=r"^T1 covers 75% of the head in FLAIR$"):
        fit(lambda: ones, "T1", narrower, Target(pixels, GRID), "dicom")


def test_without_a_signal_all_of_flair_has_to_be_covered() -> None:
    dark = Target(np.zeros((4, 5, 6)), GRID)
    with pytest.raises(NoFitError, match=r"^T1 covers 50% of the head in FLAIR$"):
        fit(lambda: PIXELS, "T1", Lattice(AXIAL, (2, 5, 6)), dark, "dicom")


def test_nine_tenths_of_the_head_are_enough() -> None:
    pytest.importorskip("SimpleITK")
    grid = Lattice(AXIAL, (9, 5, 6))
    _, is_resampled = fit(lambda: np.ones(grid.shape), "T1", grid, flair_of(10), "dicom")
    assert is_resampled


def test_only_slices_that_are_not_axial_are_noted() -> None:
    assert note_view("FLAIR is", AXIAL) == []
    coronal = AXIAL[:, [1, 0, 2, 3]] * [1, -1, 1, 1]
    (note,) = note_view("FLAIR is", coronal)
    assert note == "FLAIR is coronal, segmented in axial reformats; unvalidated"


@pytest.mark.parametrize(
    ("leads", "sides"),
    [
        ("LPS", None),
        ("LPI", None),
        ("RAS", ("left", "back")),
        ("LAS", ("right", "back")),
        ("RPS", ("left", "front")),
        ("PIR", None),
        ("PSR", ("front", "feet")),
        ("AIL", ("back", "head")),
        ("LIP", None),
        ("RIA", ("left", "head")),
        ("PLS", ("front", "right")),
    ],
)
def test_pictures_that_radiology_shows_otherwise_are_noted(
    leads: str, sides: tuple[str, str] | None
) -> None:
    """leads: where columns, rows and slices lead, in the letters of LPS and their opposites."""
    affine = np.eye(4)
    for axis, letter in zip((2, 1, 0), leads, strict=True):
        affine[:3, axis] = [(letter == to) - (letter == away) for to, away in ("LR", "PA", "SI")]
    notes = [note for note in note_view("slices are", affine) if "pictures" in note]
    expected = "pictures as stored: the patient's {} on the left, {} at the top"
    assert notes == ([expected.format(*sides)] if sides else [])


def test_slices_are_named_from_one() -> None:
    assert name_slices(2) == ("slice_001", "slice_002")
