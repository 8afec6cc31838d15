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
    """8 x 8 pixels; others than axial ones are stacked rightwards, at heights of 0 to 20."""
    is_axial = orientation == AXIAL
    place = (0.0, 0.0, height) if is_axial else (10.0 - height, 0.0, 20.0)
    spacing = (1.0 if is_axial else 3.0, 1.0)
    return Frame(Path("f"), header_of(**attributes), 0, place, orientation, spacing)
