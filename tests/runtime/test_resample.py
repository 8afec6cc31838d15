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


@pytest.mark.parametrize(("least", "outside"), [(3, 0), (-7, -7)])
def test_outside_the_source_it_is_zero_or_the_sources_least(least: int, outside: int) -> None:
    source = Lattice(COARSE, (2, 2, 2))
    far = COARSE.copy()
    far[:3, 3] += 1000
    moved = resample(
        least + np.arange(8).reshape(2, 2, 2), source, Lattice(far, (2, 3, 4)), "nifti"
    )
    assert moved.shape == (2, 3, 4)
    assert (moved == outside).all()


def test_coverage_is_the_share_of_the_target_inside_the_source() -> None:
    target = Lattice(COARSE, (9, 9, 9))
    assert coverage(target, target, np.ones(target.shape, bool)) == 1
    half = Lattice(COARSE, (4, 9, 9))
    assert coverage(half, target, np.ones(target.shape, bool)) == pytest.approx(4 / 9)


def test_coverage_is_of_the_voxels_that_count() -> None:
    target = Lattice(COARSE, (9, 9, 9))
    head = np.zeros(target.shape, bool)
    head[2:6, 3:7, 3:7] = True
    assert coverage(Lattice(COARSE, (4, 9, 9)), target, head) == 0.5
    assert coverage(Lattice(COARSE, (6, 9, 9)), target, head) == 1


def placed(
    shape: tuple[int, int, int], centre: tuple[float, float, float] = (0, 0, 0), degrees: float = 0
) -> Lattice:
    """Slices 5 mm apart, pixels of 15/16 mm, about a centre; tilted about the rows' direction."""
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    affine = np.eye(4)
    affine[:3, :3] = np.array([[0, 0, 1], [-s, c, 0], [c, s, 0]]) * (5, 15 / 16, 15 / 16)
    affine[:3, 3] = centre - affine[:3, :3] @ (np.array(shape) - 1) / 2
    return Lattice(affine, shape)


@pytest.mark.parametrize(
    ("t1", "share"),
    [
        (placed((27, 256, 256), (0, 0, -2.5)), 27 / 28),
        (placed((28, 250, 250)), (250 / 256) ** 2),
        (placed((28, 256, 256), (1, 1, 0)), (255 / 256) ** 2),
        (placed((28, 256, 256), degrees=5), 0.9556),  # counted voxel by voxel, as below
    ],
)
def test_coverage_is_a_count_of_voxels(t1: Lattice, share: float) -> None:
    flair = placed((28, 256, 256))
    assert coverage(t1, flair, np.ones(flair.shape, bool)) == pytest.approx(share, abs=1e-4)
    every = np.indices(flair.shape).reshape(3, -1).T @ flair.affine[:3, :3].T + flair.affine[:3, 3]
    voxels = np.linalg.solve(t1.affine[:3, :3], (every - t1.affine[:3, 3]).T).T
    found = np.abs(voxels - (np.array(t1.shape) - 1) / 2) <= np.array(t1.shape) / 2 + 0.05
    assert coverage(t1, flair, np.ones(flair.shape, bool)) == pytest.approx(
        found.all(axis=1).mean(), abs=1e-6
    )


def test_a_grid_is_the_same_within_a_twentieth_of_a_voxel() -> None:
    one = Lattice(COARSE, (2, 3, 4))
    near, away = COARSE.copy(), COARSE.copy()
    near[0, 3] += 0.05
    away[0, 3] += 0.5
    assert is_same(one, Lattice(near, (2, 3, 4)))
    assert not is_same(one, Lattice(away, (2, 3, 4)))
    assert not is_same(one, Lattice(COARSE, (2, 3, 5)))
    finer = COARSE @ np.diag([1 / 2, 1 / 2, 1 / 3, 1])
    assert not is_same(one, Lattice(finer, (3, 5, 10))), "its corners are the same"


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
