"""Who and what a written DICOM object belongs to: its UIDs, its patient, its equipment.

The same series, model, threshold, verdict and mask give the same UIDs and the same bytes, so that
a second attempt to store a result is the same object and no new one; what is written of another
one of these is another object.
"""

from __future__ import annotations

import hashlib
import io
from typing import Any

from lgg_runtime.errors import InputError
from lgg_runtime.extras import import_extra
from lgg_runtime.readers.dicom import DicomSource
from lgg_runtime.readers.dicom_files import keep_silent, load_pydicom
from lgg_runtime.writers.scan import SOFTWARE, ScanResult

SERIES_NUMBERS = {"seg": 9001, "sr": 9002, "sc": 9003, "seg fractional": 9004}
# Attributes of type 2 in the patient and study modules: there, if empty (PS3.3, C.7.1.1, C.7.2.1).
_MAY_BE_EMPTY = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime",
    "ReferringPhysicianName", "StudyID", "AccessionNumber",
)  # fmt: skip
_DATES = ("ContentDate", "AcquisitionDate", "SeriesDate", "StudyDate")
_TIMES = ("ContentTime", "AcquisitionTime", "SeriesTime", "StudyTime")


def load_highdicom() -> Any:
    """highdicom, kept silent: its lines may quote a header."""
    highdicom = import_extra("highdicom", "dicom")
    keep_silent("highdicom")
    return highdicom


def source_of(result: ScanResult) -> DicomSource:
    """Raises InputError for a volume that was not read from DICOM, or has no frame of reference."""
    source = result.volume.source
    if not isinstance(source, DicomSource):
        raise InputError("not read from DICOM, so no DICOM object can refer to it")
    if not source.frames[0].header.get("FrameOfReferenceUID"):
        raise InputError("no FrameOfReferenceUID, so a DICOM object would have no place")
    return source


def make_uid(result: ScanResult, what: str) -> str:
    """A UID below 2.25 (PS3.5, B.2) that depends on all that an object's bytes depend on: the
    images, the model, the threshold, the verdict and the mask.
    """
    source, threshold = source_of(result), result.segmentation.threshold
    made = f"{what} {result.algorithm} {threshold:g} {result.verdict}"
    digest = hashlib.sha256(made.encode())
    for frame in source.frames:
        digest.update(f"{frame.header.SOPInstanceUID} {frame.index} ".encode())
    digest.update(result.segmentation.mask.tobytes())
    number = int.from_bytes(digest.digest()[:16], "big")
    # The version and variant bits of a UUID, as a root below 2.25 asks for.
    number = number & ~(0xF << 76) & ~(0x3 << 62) | (0x5 << 76) | (0x2 << 62)
    return f"2.25.{number}"


def headers_to_copy(source: DicomSource) -> list[Any]:
    """Copies of the source's data sets with what later objects have to repeat, if empty."""
    load_pydicom()
    from pydicom import Dataset

    copies = []
    for header in source.headers:
        copy = Dataset(header)
        copy.file_meta = header.file_meta
        for keyword in _MAY_BE_EMPTY:
            if copy.get(keyword) is None:
                setattr(copy, keyword, "")
        copies.append(copy)
    return copies


def equipment(result: ScanResult) -> dict[str, Any]:
    """The manufacturer's arguments that highdicom's constructors share."""
    return {
        "manufacturer": SOFTWARE,
        "manufacturer_model_name": result.algorithm.name,
        "software_versions": result.algorithm.version,
        "device_serial_number": result.algorithm.digest[:16] or "none",
    }


def finish(data: Any, source: DicomSource) -> bytes:
    """The object as a file, with the images' date in place of the clock's."""
    header = source.frames[0].header
    for keyword, candidates, default in (
        ("ContentDate", _DATES, "19700101"),
        ("ContentTime", _TIMES, "000000"),
    ):
        known = [header.get(name) for name in candidates if header.get(name)]
        setattr(data, keyword, known[0] if known else default)
    for keyword in ("InstanceCreationDate", "InstanceCreationTime"):
        if keyword in data:
            delattr(data, keyword)
    for item in data.get("ContributingEquipmentSequence") or ():
        item.pop("ContributionDateTime", None)
    stream = io.BytesIO()
    data.save_as(stream, enforce_file_format=True)
    return stream.getvalue()
