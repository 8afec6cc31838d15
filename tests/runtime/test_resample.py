"""Resampling against a linear function, which linear interpolation reproduces exactly."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("SimpleITK")

import SimpleITK

from lgg_runtime.readers.resample import Lattice, coverage, is_same, resample

COARSE = np.array([[0, 0, 2.0, -4], [0, 2.0, 0, -6], [5.0, 0, 0, -8], [0, 0, 0, 1]])


def turned(degrees: float) -> np.ndarray:
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return np.array([[c, -s, 0, 1.0], [s, c, 0, 0.5], [0, 0, 1, 0], [0, 0, 0, 1]])


def slope(lattice: Lattice) -> np.ndarray:
    """x + 10 y + 100 z of each voxel."""
    voxels = np.stack(np.indices(lattice.shape), axis=-1).reshape(-1, 3)
    world = voxels @ lattice.affine[:3, :3].T + lattice.affine[:3, 3]
    return (world @ np.array([1, 10, 100])).reshape(lattice.shape)


def test_a_linear_function_is_the_same_on_a_turned_grid() -> None:
    source = Lattice(COARSE, (6, 12, 14))
    target = Lattice(turned(20) @ COARSE, (5, 4, 5))
    inner = Lattice(target.affine.copy(), target.shape)
    inner.affine[:3, 3] = (1.0, 2.0, -6.0)
    np.testing.assert_allclose(
        resample(slope(source), source, inner, "dicom"), slope(inner), rtol=1e-4, atol=1e-2
    )


def test_outside_the_source_it_is_zero() -> None:
    source = Lattice(COARSE, (2, 2, 2))
    far = COARSE.copy()
    far[:3, 3] += 1000
    moved = resample(np.ones((2, 2, 2)), source, Lattice(far, (2, 3, 4)), "dicom")
    assert moved.shape == (2, 3, 4)
    assert not moved.any()


def test_coverage_is_the_share_of_the_target_inside_the_source() -> None:
    target = Lattice(COARSE, (9, 9, 9))
    assert coverage(target, target) == 1
    half = Lattice(COARSE, (4, 9, 9))
    assert coverage(half, target) == pytest.approx(4 / 9)


def test_a_grid_is_the_same_within_a_twentieth_of_a_voxel() -> None:
    one = Lattice(COARSE, (2, 3, 4))
    near, away = COARSE.copy(), COARSE.copy()
    near[0, 3] += 0.05
    away[0, 3] += 0.5
    assert is_same(one, Lattice(near, (2, 3, 4)))
    assert not is_same(one, Lattice(away, (2, 3, 4)))
    assert not is_same(one, Lattice(COARSE, (2, 3, 5)))


@pytest.mark.parametrize(
    ("told", "kind"),
    [
        ("itkImportImageContainer.hxx:179:\nFailed to allocate memory for image.", MemoryError),
        ("ITK ERROR: Bad direction, determinant is 0.", RuntimeError),
    ],
)
def test_memory_that_does_not_suffice_is_told_from_simpleitks_other_errors(
    monkeypatch: pytest.MonkeyPatch, told: str, kind: type[Exception]
) -> None:
    def fail(*_arguments: object) -> None:
        raise RuntimeError(told)

    monkeypatch.setattr(SimpleITK.ResampleImageFilter, "Execute", fail)
    grid = Lattice(COARSE, (2, 2, 2))
    with pytest.raises(kind):
        resample(np.ones((2, 2, 2)), grid, grid, "dicom")
