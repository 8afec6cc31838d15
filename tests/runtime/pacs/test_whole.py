"""A result's file: whole, cut anywhere, gone."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("highdicom")

from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from lgg_runtime.pacs.whole import why_lost


def test_a_file_is_whole_to_its_last_byte_alone(tmp_path: Path) -> None:
    path = tmp_path / "seg.dcm"
    data = Dataset()
    data.SOPInstanceUID, data.Rows = "1.2.3", 4
    data.PixelData = bytes(range(64))
    data["PixelData"].VR = "OB"
    data.file_meta = FileMetaDataset()
    data.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.66.4"
    data.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.save_as(path, enforce_file_format=True)
    whole = path.read_bytes()
    assert why_lost(path) == ""
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert why_lost(path) in ("its file was cut", "its file is damaged"), length
    path.unlink()
    assert why_lost(path) == "its file is gone"
