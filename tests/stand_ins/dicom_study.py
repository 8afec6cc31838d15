"""A phantom study whose files may be spoilt, and a finding in it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lgg_runtime.errors import InputError
from lgg_runtime.readers.dicom_series import SeriesChoice
from lgg_train.phantom import PhantomSettings
from lgg_train.phantom_files import write_dicom
from lgg_train.phantom_scan import ScanSettings, make_scan

pytest.importorskip("pydicom")
pytest.importorskip("SimpleITK")

import pydicom

from lgg_runtime.readers.dicom import read_dicom
from lgg_runtime.writers.scan import ScanResult
from stand_ins.results import found_in

ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.4.1"
# The macros of a plane that may be shared or a frame's own (PS3.3, C.7.6.16.1).
PLANE_MACROS = {
    "PixelMeasuresSequence": ("PixelSpacing", "SliceThickness"),
    "PlaneOrientationSequence": ("ImageOrientationPatient",),
}
SMALL = PhantomSettings(patients=1, slices=6, size=32, seed=2)
FLAIR, T1, T1C = 3, 2, 4


def write_phantom(folder: Path) -> Path:
    write_dicom(folder, make_scan(0, SMALL, ScanSettings()), 0, ScanSettings())
    return folder


@cache
def _sort(phantom: Path) -> dict[int, list[str]]:
    """The names of each series' files by position."""
    found: dict[int, list[tuple[float, str]]] = {}
    for path in phantom.iterdir():
        header = pydicom.dcmread(path, stop_before_pixels=True)
        place = float(header.ImagePositionPatient[2])
        found.setdefault(int(header.SeriesNumber), []).append((place, path.name))
    return {series: [name for _, name in sorted(files)] for series, files in found.items()}


class Study:
    """A copy of the phantom whose files may be spoilt; each series' files are by position."""

    def __init__(self, phantom: Path, folder: Path):
        self.folder = folder
        shutil.copytree(phantom, folder)
        self.by_series = {
            series: [folder / name for name in names] for series, names in _sort(phantom).items()
        }
        self.flair = self.by_series[FLAIR]

    @property
    def files(self) -> list[Path]:
        return sorted(path for path in self.folder.iterdir() if path.is_file())

    def change(self, path: Path, **attributes: Any) -> None:
        """Set attributes; None takes one away."""
        data = pydicom.dcmread(path)
        for keyword, value in attributes.items():
            if value is None:
                delattr(data, keyword)
            else:
                setattr(data, keyword, value)
        data.save_as(path)

    def change_flair(self, **attributes: Any) -> None:
        for path in self.flair:
            self.change(path, **attributes)

    def enhance(
        self, *objects: Sequence[int], per_frame: Sequence[str] = (), **changes: Any
    ) -> list[Path]:
        """The FLAIR series as Enhanced MR objects `enhanced_N`, of the slices given for each.

        per_frame: which of PLANE_MACROS are no shared ones.
        """
        images = [pydicom.dcmread(path) for path in self.flair]
        self.drop(FLAIR)
        paths = []
        for number, places in enumerate(objects):
            frames = [images[place] for place in places]
            data = join_frames(frames, per_frame)
            data.SOPInstanceUID = f"{frames[0].SOPInstanceUID}.{number}"
            for keyword, value in changes.items():
                setattr(data, keyword, value)
            paths.append(self.folder / f"enhanced_{number}")
            data.save_as(paths[-1], enforce_file_format=True)
        return paths

    def drop(self, *series: int) -> None:
        for number in series:
            for path in self.by_series[number]:
                path.unlink()


def join_frames(images: Sequence[Any], per_frame: Sequence[str] = ()) -> Any:
    """Single-frame images as one Enhanced MR object; per_frame: which of PLANE_MACROS are no shared
    ones.
    """
    data = pydicom.Dataset(dict(images[0].items()))
    data.file_meta = pydicom.dataset.FileMetaDataset(dict(images[0].file_meta.items()))
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = ENHANCED_MR
    data.NumberOfFrames = len(images)
    data.PixelData = b"".join(image.PixelData for image in images)
    data.SharedFunctionalGroupsSequence = [pydicom.Dataset()]
    data.PerFrameFunctionalGroupsSequence = [pydicom.Dataset() for _ in images]
    for groups, image in zip(data.PerFrameFunctionalGroupsSequence, images, strict=True):
        groups.PlanePositionSequence = [_macro(image, ("ImagePositionPatient",))]
    for name, keywords in PLANE_MACROS.items():
        if name in per_frame:
            for groups, image in zip(data.PerFrameFunctionalGroupsSequence, images, strict=True):
                setattr(groups, name, [_macro(image, keywords)])
        else:
            setattr(data.SharedFunctionalGroupsSequence[0], name, [_macro(images[0], keywords)])
    for keyword in ("ImagePositionPatient", *(k for keys in PLANE_MACROS.values() for k in keys)):
        data.pop(keyword, None)
    return data


def _macro(image: Any, keywords: Sequence[str]) -> Any:
    macro = pydicom.Dataset()
    for keyword in keywords:
        if keyword in image:
            macro.add(image[keyword])
    return macro


def write_dicomdir(folder: Path, *names: list[str]) -> Path:
    """A DICOMDIR that lists files by the parts of their paths."""
    directory = pydicom.Dataset()
    directory.file_meta = pydicom.dataset.FileMetaDataset()
    directory.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    directory.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.1.3.10"
    directory.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4.5.6"
    records = []
    for parts in names:
        record = pydicom.Dataset()
        record.DirectoryRecordType, record.ReferencedFileID = "IMAGE", parts
        records.append(record)
    directory.DirectoryRecordSequence = records
    directory.save_as(folder / "DICOMDIR", enforce_file_format=True)
    return folder / "DICOMDIR"


def result_of(study: Study) -> ScanResult:
    """Something found at random in every slice."""
    volume = read_dicom(study.files)
    probability = np.random.default_rng(3).random(volume.pixels.shape[:3], np.float32)
    return found_in(volume, probability)


def reason(study: Study, choice: SeriesChoice | None = None) -> str:
    with pytest.raises(InputError) as refused:
        read_dicom(study.files, choice)
    text = str(refused.value)
    assert "\n" not in text
    assert_no_patient(text)
    return text


def assert_no_patient(text: str) -> None:
    for value in ("Drawn", "LGGPH", "ACC0", "1901", "2001", "2.25."):
        assert value not in text
