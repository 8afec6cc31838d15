"""One plane of a DICOM image and where it lies: of a file with one frame, or of one with many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lgg_runtime.errors import InputError, naming
from lgg_runtime.readers.dicom_files import damage
from lgg_runtime.redact import without_uids
from lgg_runtime.volume import MAX_SIDE

MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"
ENHANCED_MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4.1"
LEGACY_ENHANCED_MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4.4"
_MANY_FRAMES = frozenset({ENHANCED_MR_IMAGE, LEGACY_ENHANCED_MR_IMAGE})
SOP_CLASSES = frozenset({MR_IMAGE}) | _MANY_FRAMES
MAX_FRAMES = 4096

# The functional group that holds an attribute of a frame (PS3.3, C.7.6.16.2 and C.8.13.5). Other
# groups, private ones too, may hold the same attribute of something else.
_PLANE_MACROS = {
    "ImageOrientationPatient": "PlaneOrientationSequence",
    "ImagePositionPatient": "PlanePositionSequence",
    "PixelSpacing": "PixelMeasuresSequence",
    "RescaleIntercept": "PixelValueTransformationSequence",
    "RescaleSlope": "PixelValueTransformationSequence",
}
_MACROS = _PLANE_MACROS | {
    "EffectiveEchoTime": "MREchoSequence",
    "FrameType": "MRImageFrameTypeSequence",
    "InversionTimes": "MRModifierSequence",
    "RepetitionTime": "MRTimingAndRelatedParametersSequence",
}
# Where a legacy converted image keeps what the classic ones said beside that.
_CONVERTED = (
    "UnassignedPerFrameConvertedAttributesSequence",
    "UnassignedSharedConvertedAttributesSequence",
)

Floats = tuple[float, ...]
Vector = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Frame:
    """A plane of pixels.

    header: the data set of its file, without pixels; index: among the file's frames, from 0.
    position: of the centre of the first pixel, in mm, LPS. orientation: direction cosines along
    a row (towards the next column), then along a column. spacing: mm between rows and columns.
    """

    path: Path
    header: Any = field(repr=False)  # the patient's data
    index: int
    position: Floats
    orientation: Floats
    spacing: Floats

    @property
    def size(self) -> tuple[int, int]:
        return int(self.header.Rows), int(self.header.Columns)

    @property
    def normal(self) -> Vector:
        """Row direction x column direction (PS3.3, C.7.6.2.1.1), the way slices are counted."""
        return np.cross(self.orientation[:3], self.orientation[3:])

    @property
    def name(self) -> str:
        return without_uids(self.path.name)

    def get(self, *keywords: str) -> Any:
        """The first of these attributes that is there and has a value, else None.

        Raises InputError, `NAME: reason`, for a value that is not of the attribute's kind.
        """
        with naming(self.name):
            return find_attribute(self.header, self.index, keywords)

    def texts(self, *keywords: str) -> list[str]:
        """The values, none, one or many, of an attribute of text that `get` finds."""
        value = self.get(*keywords) or ()
        return [value] if isinstance(value, str) else list(value)


def find_attribute(header: Any, index: int, keywords: Sequence[str]) -> Any:
    """The first value of these attributes that is there, else None.

    Looked for in the attribute's own functional group, the frame's and then the shared one, in the
    data set, then among what was converted from classic images.

    Raises InputError, the reason alone, for a value that is not of the attribute's kind.
    """
    groups = []
    if per_frame := header.get("PerFrameFunctionalGroupsSequence"):
        groups += [per_frame[index]]
    groups += list(header.get("SharedFunctionalGroupsSequence") or [])[:1]
    placed = [keyword for keyword in keywords if keyword in _MACROS]
    found = chain(
        (_in_group(group, _MACROS[keyword], keyword) for group in groups for keyword in placed),
        (_convert(header, keyword) for keyword in keywords),
        (
            _in_group(group, name, keyword)
            for group in groups
            for name in _CONVERTED
            for keyword in keywords
            if keyword not in _PLANE_MACROS
        ),
    )
    return next((value for value in found if value not in (None, "", [])), None)


def _in_group(group: Any, name: str, keyword: str) -> Any:
    macro = _convert(group, name)
    return _convert(macro[0], keyword) if macro else None


def _convert(data: Any, keyword: str) -> Any:
    """The value of an attribute, which pydicom converts from its bytes only now."""
    try:
        return data.get(keyword)
    except damage() as error:
        raise InputError(f"{keyword} is not of its kind; export the study again") from error


def read_frames(path: Path, header: Any) -> list[Frame]:
    """The frames of an MR image with their place.

    Raises InputError, `NAME: reason`, for impossible sizes and bits, and for a frame without
    position, orientation or spacing.
    """
    with naming(without_uids(path.name)):
        _check_layout(header)
        count = _integer(header, "NumberOfFrames", 1)
        if str(header.get("SOPClassUID")) in _MANY_FRAMES:
            found = len(header.get("PerFrameFunctionalGroupsSequence") or [])
            if not 0 < count <= MAX_FRAMES or found != count:
                raise InputError(f"claims {count} frames and describes {found}; refused")
        elif count != 1:
            raise InputError(
                f"claims {count} frames as MR Image, which holds one; export it as Enhanced MR"
            )
        return [_place(path, header, index) for index in range(count)]


def _place(path: Path, header: Any, index: int) -> Frame:
    values = {
        "ImagePositionPatient": 3,
        "ImageOrientationPatient": 6,
        "PixelSpacing": 2,
    }
    given = []
    for keyword, length in values.items():
        floats = _floats(find_attribute(header, index, (keyword,)))
        if floats is None or len(floats) != length or not np.isfinite(floats).all():
            raise InputError(f"no usable {keyword}; without it there is no volume")
        given.append(floats)
    position, orientation, spacing = given
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    if not np.allclose(lengths, 1, atol=1e-2) or abs(row @ column) > 1e-2:
        raise InputError("ImageOrientationPatient is no pair of perpendicular directions")
    if min(spacing) <= 0:
        raise InputError(f"PixelSpacing {spacing} is not positive")
    return Frame(path, header, index, position, orientation, spacing)


def _floats(value: Any) -> Floats | None:
    try:
        return None if value is None else tuple(float(part) for part in value)
    except (TypeError, ValueError):
        return None


def _check_layout(header: Any) -> None:
    rows, columns = (_integer(header, keyword) for keyword in ("Rows", "Columns"))
    if not (0 < rows <= MAX_SIDE and 0 < columns <= MAX_SIDE):
        raise InputError(f"claims {rows} x {columns} pixels; at most {MAX_SIDE} a side")
    allocated, stored = (_integer(header, keyword) for keyword in ("BitsAllocated", "BitsStored"))
    if allocated not in (8, 16, 32) or not 0 < stored <= allocated:
        raise InputError(f"{stored} bits stored of {allocated} allocated; refused")
    # PS3.5, 8.1.1; older objects have them elsewhere in the word.
    if (high := _integer(header, "HighBit", stored - 1)) != stored - 1:
        raise InputError(f"HighBit {high} for {stored} bits stored; export the study again")
    samples = _integer(header, "SamplesPerPixel")
    colour = header.get("PhotometricInterpretation")
    if samples != 1 or colour not in ("MONOCHROME1", "MONOCHROME2"):
        raise InputError(f"expected grey pixels, found {samples} samples of another kind")


def _integer(header: Any, keyword: str, default: Any = None) -> int:
    try:
        value = header.get(keyword)
        return int(default if value is None else value)
    except damage() as error:
        raise InputError(f"no usable {keyword}") from error
