"""Frames of series by their attributes, without files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lgg_runtime.readers.dicom_frames import Frame

pydicom = pytest.importorskip("pydicom")
AXIAL = (1.0, 0, 0, 0, 1.0, 0)
FLAIR = {"EchoTime": 120, "InversionTime": 2500, "RepetitionTime": 9000}
T1 = {"EchoTime": 12, "RepetitionTime": 500}


def header_of(**attributes: Any) -> Any:
    header = pydicom.Dataset()
    header.Rows, header.Columns = 8, 8
    for keyword, value in attributes.items():
        setattr(header, keyword, value)
    return header


def frame_of(
    height: float = 0.0, orientation: tuple[float, ...] = AXIAL, **attributes: Any
) -> Frame:
    normal = (0.0, 0.0, height) if orientation == AXIAL else (-height, 0.0, 0.0)
    return Frame(Path("f"), header_of(**attributes), 0, normal, orientation, (1.0, 1.0))
