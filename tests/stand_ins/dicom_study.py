"""A phantom study whose files may be spoilt."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

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

SMALL = PhantomSettings(patients=1, slices=6, size=32, seed=2)
FLAIR, T1, T1C = 3, 2, 4


def write_phantom(folder: Path) -> Path:
    write_dicom(folder, make_scan(0, SMALL, ScanSettings()), 0, ScanSettings())
    return folder


class Study:
    """A copy of the phantom whose files may be spoilt; `flair` are its FLAIR files by position."""

    def __init__(self, phantom: Path, folder: Path):
        self.folder = folder
        shutil.copytree(phantom, folder)
        headers = [(pydicom.dcmread(path, stop_before_pixels=True), path) for path in self.files]
        self.by_series: dict[int, list[Path]] = {}
        for header, path in headers:
            self.by_series.setdefault(int(header.SeriesNumber), []).append(path)
        self.flair = sorted(
            self.by_series[FLAIR],
            key=lambda path: float(pydicom.dcmread(path).ImagePositionPatient[2]),
        )

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

    def drop(self, *series: int) -> None:
        for number in series:
            for path in self.by_series[number]:
                path.unlink()


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
