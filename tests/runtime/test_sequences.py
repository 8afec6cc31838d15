"""A sequence on FLAIR's grid: taken as it is, resampled, or not even read."""

from __future__ import annotations

import numpy as np
import pytest

from lgg_runtime.readers.resample import Lattice
from lgg_runtime.readers.sequences import NoFitError, fit, name_slices, note_plane

AXIAL = np.array([[0, 0, 1.0, 0], [0, 1.0, 0, 0], [3.0, 0, 0, 0], [0, 0, 0, 1]])
FLAIR = Lattice(AXIAL, (4, 5, 6))
PIXELS = np.arange(120, dtype=np.int16).reshape(4, 5, 6)


def test_a_sequence_on_flairs_grid_is_taken_as_it_is() -> None:
    fitted, is_resampled = fit(lambda: PIXELS, "T1", FLAIR, FLAIR, "dicom")
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

    with pytest.raises(NoFitError, match=r"^T1 covers 0% of FLAIR$"):
        fit(read, "T1", Lattice(away, FLAIR.shape), FLAIR, "dicom")
    # 89.5 %, which is not to read as the 90 % that are enough.
    with pytest.raises(NoFitError, match=r"^T1 covers 89% of FLAIR$"):
        fit(read, "T1", Lattice(AXIAL, (179, 5, 6)), Lattice(AXIAL, (200, 5, 6)), "dicom")


def test_nine_tenths_of_flair_are_enough() -> None:
    pytest.importorskip("SimpleITK")
    grid = Lattice(AXIAL, (9, 5, 6))
    _, is_resampled = fit(
        lambda: np.ones(grid.shape), "T1", grid, Lattice(AXIAL, (10, 5, 6)), "dicom"
    )
    assert is_resampled


def test_only_slices_that_are_not_axial_are_noted() -> None:
    assert note_plane("FLAIR is", AXIAL) == []
    sagittal = AXIAL[:, [2, 0, 1, 3]]
    (note,) = note_plane("FLAIR is", sagittal)
    assert note == "FLAIR is sagittal, segmented in axial reformats; unvalidated"


def test_slices_are_named_from_one() -> None:
    assert name_slices(2) == ("slice_001", "slice_002")
