"""The images that a written DICOM object refers to.

highdicom reads one multi-frame object whose macros are shared, or single-frame images of exactly
one orientation, and it checks values that are not its own. It gets bare images instead, of a
volume's slices; patient, study, and the objects and frames referred to are set in what it made.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lgg_runtime.readers.dicom import DicomSource
from lgg_runtime.readers.dicom_files import load_pydicom
from lgg_runtime.readers.dicom_frames import MR_IMAGE, Frame
from lgg_runtime.writers.dicom_patient import MAY_BE_EMPTY

# Once lossy, what is derived from it is lossy too (PS3.3, C.7.6.1.1.5).
LOSSY = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")
_KEPT = (
    "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID",
    "FrameOfReferenceUID", "PositionReferenceIndicator", "Rows", "Columns",
    *LOSSY,
    # The scanner, for ContributingEquipmentSequence (PS3.3, C.12.1).
    "Manufacturer", "ManufacturerModelName", "SoftwareVersions", "DeviceSerialNumber",
    "InstitutionName", "InstitutionalDepartmentName", "InstitutionAddress", "StationName",
)  # fmt: skip


def bare_image(header: Any) -> Any:
    """A data set of what highdicom needs of an image, without its place, pixels and patient."""
    image = load_pydicom().Dataset()
    for keyword in MAY_BE_EMPTY:
        setattr(image, keyword, "")
    for keyword in _KEPT:
        if value := header.get(keyword):
            setattr(image, keyword, value)
    return image


def bare_slices(source: DicomSource, between_mm: float) -> list[Any]:
    """One single-frame image for each slice; its SOPInstanceUID is the slice's index.

    between_mm: from slice to slice, by their positions. All have the first one's orientation.
    """
    first, slices = source.frames[0], []
    headers = [frame.header for frame in source.frames]
    lossy = next((h for h in headers if h.get("LossyImageCompression") == "01"), first.header)
    for place, frame in enumerate(source.frames):
        image = bare_image(frame.header)
        image.SOPClassUID, image.SOPInstanceUID = MR_IMAGE, str(place)
        image.ImagePositionPatient = frame.get("ImagePositionPatient")
        image.ImageOrientationPatient = first.get("ImageOrientationPatient")
        image.PixelSpacing = first.get("PixelSpacing")
        image.SliceThickness = image.SpacingBetweenSlices = between_mm
        for keyword in LOSSY:
            if value := lossy.get(keyword):
                setattr(image, keyword, value)
        slices.append(image)
    return slices


def refer_to_source(data: Any, source: DicomSource) -> None:
    """In an image made from `bare_slices`, refer to the objects and frames that they stand for."""
    for groups in data.PerFrameFunctionalGroupsSequence:
        for image in groups.DerivationImageSequence[0].SourceImageSequence:
            image.update(_image([source.frames[int(image.ReferencedSOPInstanceUID)]]))
    by_file: dict[Path, list[Frame]] = {}
    for frame in source.frames:
        by_file.setdefault(frame.path, []).append(frame)
    data.SourceImageSequence = [_image(frames) for frames in by_file.values()]
    (series,) = data.ReferencedSeriesSequence
    series.ReferencedInstanceSequence = [_instance(frames[0]) for frames in by_file.values()]


def _instance(frame: Frame) -> Any:
    """An item of the SOP Instance Reference macro (PS3.3, 10.8)."""
    from pydicom import Dataset

    item = Dataset()
    item.ReferencedSOPClassUID = frame.header.SOPClassUID
    item.ReferencedSOPInstanceUID = frame.header.SOPInstanceUID
    return item


def _image(frames: Sequence[Frame]) -> Any:
    """An item of the Image SOP Instance Reference macro (PS3.3, 10.3), to frames of one object.

    They are numbered where the object has others.
    """
    item = _instance(frames[0])
    if int(frames[0].header.get("NumberOfFrames") or 1) > len(frames):
        item.ReferencedFrameNumber = sorted(frame.index + 1 for frame in frames)
    return item
