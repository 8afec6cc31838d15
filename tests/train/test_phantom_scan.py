"""Phantoms as scans: the same head in the same place, whatever the slices' plane."""

from __future__ import annotations

import errno
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lgg_runtime.errors import OutputConflictError, ResourceError
from lgg_train.phantom import PhantomSettings, make_phantom
from lgg_train.phantom_files import write_scans
from lgg_train.phantom_scan import PLANES, ScanSettings, make_scan, place_scan

SMALL = PhantomSettings(patients=2, slices=6, size=32, seed=8)


def centroid(settings: ScanSettings) -> np.ndarray:
    return np.array(make_scan(0, SMALL, settings).truth()["centroid_lps_mm"])


def test_an_axial_scan_is_the_phantom_with_a_place() -> None:
    pixels, mask = make_phantom(0, SMALL)
    scan = make_scan(0, SMALL, ScanSettings())
    np.testing.assert_array_equal(scan.pixels, pixels)
    np.testing.assert_array_equal(scan.mask, mask)
    assert scan.spacing_mm == pytest.approx((188 * 0.9 / 6, 7.2, 7.2))
    middle = scan.affine @ [2.5, 15.5, 15.5, 1]
    np.testing.assert_allclose(middle, [0, 0, 0, 1], atol=1e-9)
    # The last slice is uppermost, the last row hindmost, the last column leftmost.
    np.testing.assert_allclose(scan.affine @ [5, 31, 31, 1], [111.6, 111.6, 70.5, 1])


@pytest.mark.parametrize("plane", [plane for plane in PLANES if plane != "oblique"])
def test_the_lesion_is_in_one_place_in_every_plane(plane: str) -> None:
    np.testing.assert_allclose(centroid(ScanSettings(plane)), centroid(ScanSettings()), atol=1e-9)


def test_an_oblique_scan_turns_the_world_about_its_middle() -> None:
    turned, straight = centroid(ScanSettings("oblique")), centroid(ScanSettings())
    assert np.linalg.norm(turned) == pytest.approx(np.linalg.norm(straight))
    assert np.linalg.norm(turned - straight) > 1


@pytest.mark.parametrize("plane", PLANES)
def test_slices_run_along_the_normal_of_their_rows_and_columns(plane: str) -> None:
    affine = make_scan(0, SMALL, ScanSettings(plane)).affine[:3, :3]
    step, down, along = (affine / np.linalg.norm(affine, axis=0)).T
    np.testing.assert_allclose(np.cross(along, down), step, atol=1e-9)


def test_anisotropic_columns_are_twice_as_wide() -> None:
    scan = make_scan(0, SMALL, ScanSettings(anisotropic=True))
    assert scan.pixels.shape == (6, 32, 16, 3)
    assert scan.spacing_mm[2] == pytest.approx(2 * scan.spacing_mm[1])


def test_no_lesion_has_no_centroid() -> None:
    pixels, mask = make_phantom(0, SMALL)
    truth = place_scan(pixels, mask & False, ScanSettings()).truth()
    assert (truth["centroid_lps_mm"], truth["voxels"], truth["volume_ml"]) == (None, 0, 0)


def test_dicom_studies_stand_beside_their_truth(tmp_path: Path) -> None:
    pydicom = pytest.importorskip("pydicom")
    folders = write_scans(tmp_path, "dicom", SMALL, ScanSettings(gap=True))
    assert [folder.name for folder in folders] == ["study_0001", "study_0002"]
    for folder in folders:
        headers = [pydicom.dcmread(path, stop_before_pixels=True) for path in folder.iterdir()]
        by_series = dict.fromkeys((1, 2, 3, 4), 0)
        for header in headers:
            by_series[int(header.SeriesNumber)] += 1
        assert by_series == {1: 3, 2: 5, 3: 5, 4: 5}
        flair = sorted(int(h.InstanceNumber) for h in headers if h.SeriesNumber == 3)
        assert flair == [1, 2, 3, 5, 6], "an inner slice is left out"
        assert len({header.SOPInstanceUID for header in headers}) == len(headers)
        truth = json.loads((tmp_path / "truth" / f"{folder.name}.json").read_text())
        assert truth["shape"] == [6, 32, 32]


def test_dicom_studies_never_mix_with_others(tmp_path: Path) -> None:
    pytest.importorskip("pydicom")
    write_scans(tmp_path, "dicom", SMALL, ScanSettings())
    write_scans(tmp_path, "dicom", SMALL, ScanSettings())
    with pytest.raises(OutputConflictError, match="study_0001: holds IM0018, which is not"):
        write_scans(tmp_path, "dicom", SMALL, ScanSettings(gap=True))


@pytest.mark.parametrize("form", ["dicom", "nifti"])
def test_studies_that_were_not_asked_for_are_told_before_any_is_written(
    tmp_path: Path, form: str
) -> None:
    pytest.importorskip({"dicom": "pydicom", "nifti": "nibabel"}[form])
    for _ in range(2):
        write_scans(tmp_path, form, SMALL, ScanSettings())
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    fewer = replace(SMALL, patients=1, seed=SMALL.seed + 1)
    with pytest.raises(OutputConflictError, match=f"{form}: holds study_0002, which is not"):
        write_scans(tmp_path, form, fewer, ScanSettings())
    shutil.rmtree(tmp_path / form)
    with pytest.raises(OutputConflictError, match=r"truth: holds study_0002\.json, which is not"):
        write_scans(tmp_path, form, fewer, ScanSettings())
    assert all(path.read_bytes() == held for path, held in before.items() if path.exists())


def test_a_nifti_study_s_folder_holds_its_three_files_alone(tmp_path: Path) -> None:
    pytest.importorskip("nibabel")
    (tmp_path / "nifti" / "study_0001").mkdir(parents=True)
    (tmp_path / "nifti" / "study_0001" / "other_flair.nii.gz").touch()
    with pytest.raises(OutputConflictError, match=r"study_0001: holds other_flair\.nii\.gz"):
        write_scans(tmp_path, "nifti", SMALL, ScanSettings())


@pytest.mark.parametrize("form", ["dicom", "nifti"])
def test_a_scan_that_cannot_be_written_is_named_and_leaves_no_part(
    tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip({"dicom": "pydicom", "nifti": "nibabel"}[form])

    def refuse(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(ResourceError, match=r"^\w+[\w.]*: the disk is full; free some space$"):
        write_scans(tmp_path, form, SMALL, ScanSettings())
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_reversed_files_are_numbered_from_the_top(tmp_path: Path) -> None:
    pydicom = pytest.importorskip("pydicom")
    (folder, *_) = write_scans(tmp_path, "dicom", SMALL, ScanSettings(reversed=True))
    flair = [
        header
        for path in folder.iterdir()
        if (header := pydicom.dcmread(path, stop_before_pixels=True)).SeriesNumber == 3
    ]
    ordered = sorted(flair, key=lambda header: header.InstanceNumber)
    heights = [header.ImagePositionPatient[2] for header in ordered]
    assert heights == sorted(heights, reverse=True)


def test_nifti_is_one_file_a_sequence(tmp_path: Path) -> None:
    pytest.importorskip("nibabel")
    (folder, *_) = write_scans(tmp_path, "nifti", SMALL, ScanSettings())
    assert sorted(path.name for path in folder.iterdir()) == [
        f"study_0001_{role}.nii.gz" for role in ("flair", "t1", "t1c")
    ]
