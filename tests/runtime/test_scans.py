"""Which DICOM files are one study: also a damaged one, one that cannot be opened, and none."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

pytest.importorskip("pydicom")
pytest.importorskip("SimpleITK")

import pydicom

from lgg_runtime.readers.dicom_files import DICOMDIR
from lgg_runtime.readers.scans import FoundScans, find_scans
from stand_ins.dicom_study import T1, Study


@pytest.fixture
def damaged(study: Study) -> Path:
    """A file that is DICOM by its prefix alone."""
    path = study.folder / "damaged"
    path.write_bytes(bytes(128) + b"DICM" + b"\xff" * 40)
    return path


@pytest.fixture
def closed(study: Study, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that cannot be opened; tests may run as root, whom nothing keeps out."""
    real = os.open

    def refuse(path: Path, flags: int, *more: int) -> int:
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied")
        return real(path, flags, *more)

    path = study.folder / "closed"
    path.touch()
    monkeypatch.setattr(os, "open", refuse)
    return path


@pytest.fixture
def others(study: Study) -> list[Path]:
    """The T1 files, made those of another study in the same folder."""
    for path in study.by_series[T1]:
        study.change(path, StudyInstanceUID="1.2.3.4.5.6.7.8")
    return study.by_series[T1]


def find(study: Study) -> FoundScans:
    return find_scans(study.files, study.folder.parent)


def members(found: FoundScans) -> list[set[Path]]:
    return [set(one.files) for one in found.studies]


def test_what_may_be_a_slice_of_the_one_study_beside_it_is_counted_to_that(
    study: Study, damaged: Path, closed: Path
) -> None:
    found = find(study)
    assert members(found) == [set(study.files)]
    assert {damaged, closed} < set(study.files)
    assert (found.skipped, found.unreadable) == (0, {})


def test_beside_two_studies_it_stands_alone(
    study: Study, damaged: Path, closed: Path, others: list[Path]
) -> None:
    found = find(study)
    own = set(study.files) - {*others, damaged, closed}
    assert sorted(members(found), key=len) == [{damaged}, set(others), own]
    assert len({one.name for one in found.studies}) == 3
    assert found.skipped == 0
    assert found.unreadable == {closed: "closed: cannot be opened: Permission denied"}


def test_files_of_one_study_are_one_wherever_they_lie_and_have_an_order(study: Study) -> None:
    away = study.folder / "a"
    away.mkdir()
    moved = Path(shutil.move(study.by_series[T1][0], away))
    paths = [*study.files, moved]
    found = find_scans(paths[::-1], study.folder.parent)
    (one,) = found.studies
    assert one.files == tuple(sorted(paths))
    assert (one.name, one.folder) == (study.folder.name, Path(study.folder.name))


def test_a_directory_of_files_and_what_is_no_dicom_are_skipped(study: Study) -> None:
    files = set(study.files)
    listed = pydicom.dcmread(study.files[0])
    listed.file_meta.MediaStorageSOPClassUID = DICOMDIR
    listed.save_as(study.folder / "DICOMDIR")
    (study.folder / "notes").write_text("of a person")
    found = find(study)
    assert (members(found), found.skipped) == ([files], 2)


def test_t2_and_labels_in_nifti_beside_a_study_are_skipped(study: Study) -> None:
    folder = study.folder
    names = ["seg.nii.gz", f"{folder.name}_t2.nii", f"{folder.name}_label.nii", "tumour_label.nii"]
    beside = [*(folder / name for name in names), folder.with_name(f"{folder.name}_seg.nii")]
    alone = folder.with_name("other_seg.nii")
    found = find_scans([*study.files, *beside, alone], folder.parent)
    assert members(found) == [set(study.files), {alone}]
    assert found.skipped == len(beside)


def test_a_scan_in_nifti_beside_a_study_is_one_of_its_own(study: Study) -> None:
    scan = [study.folder / name for name in ("p_flair.nii", "p_seg.nii")]
    found = find_scans([*study.files, *scan], study.folder.parent)
    assert members(found) == [set(study.files), {scan[0]}]
    assert found.skipped == 1
