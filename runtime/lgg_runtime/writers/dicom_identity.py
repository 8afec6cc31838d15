"""What a written DICOM object is: its UIDs, its date, its equipment.

The same series, model, threshold, verdict and mask give the same UIDs and the same bytes, so that
an archive that gets a result twice holds one object. Where one of them differs, so do the UIDs.
"""

from __future__ import annotations

import hashlib
import io
import re
from dataclasses import dataclass
from typing import Any

from lgg_runtime.errors import InputError
from lgg_runtime.extras import import_extra, keep_silent
from lgg_runtime.readers.dicom import DicomSource
from lgg_runtime.writers.dicom_patient import copy_patient_and_study, encode, keep_encoding
from lgg_runtime.writers.dicom_reference import bare_image
from lgg_runtime.writers.scan import SOFTWARE, ScanResult

SERIES_NUMBERS = {"seg": 9001, "sr": 9002, "sc": 9003, "seg fractional": 9004}
_DATES = ("ContentDate", "AcquisitionDate", "SeriesDate", "StudyDate")
_TIMES = ("ContentTime", "AcquisitionTime", "SeriesTime", "StudyTime")
# Values of DA and TM (PS3.5, 6.2).
_DATE = re.compile(r"\d{4}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])")
_TIME = re.compile(r"([01]\d|2[0-3])([0-5]\d([0-5]\d(\.\d{1,6})?)?)?")


def load_highdicom() -> Any:
    """highdicom, kept silent: its lines may quote a header."""
    highdicom = import_extra("highdicom", "dicom")
    keep_silent("highdicom")
    return highdicom


def source_of(result: ScanResult) -> DicomSource:
    """The DICOM frames that the result's volume was read from.

    Raises InputError for a volume that was not read from DICOM, or has no frame of reference.
    """
    source = result.volume.source
    if not isinstance(source, DicomSource):
        raise InputError("not read from DICOM, so no DICOM object can refer to it")
    if not source.frames[0].header.get("FrameOfReferenceUID"):
        raise InputError("no FrameOfReferenceUID, so a DICOM object would have no place")
    return source


@dataclass(frozen=True)
class Identity:
    """A digest of all that a result's objects depend on."""

    digest: bytes

    @classmethod
    def of(cls, result: ScanResult) -> Identity:
        """Of the images, what is copied of their headers, the model, threshold, verdict, caution
        and mask.

        Raises as `source_of` does.
        """
        source, threshold = source_of(result), result.segmentation.threshold
        said = f"{result.algorithm} {threshold} {result.verdict}{result.caution}"
        digest = hashlib.sha256(said.encode())
        digest.update(encode(_copied(source)) + encode(bare_image(source.frames[0].header)))
        for frame in source.frames:
            place = f"{frame.position} {frame.orientation} {frame.spacing}"
            digest.update(f"{frame.header.SOPInstanceUID} {frame.index} {place} ".encode())
        digest.update(result.segmentation.mask.tobytes())
        return cls(digest.digest())

    def uid(self, what: str) -> str:
        """A UID below 2.25, of a UUID (PS3.5, B.2), for the part that `what` names."""
        from uuid import UUID  # every run loads this module, and few write DICOM

        digest = hashlib.sha256(self.digest + what.encode()).digest()
        return f"2.25.{UUID(bytes=digest[:16], version=5).int}"


def equipment(result: ScanResult) -> dict[str, Any]:
    """The manufacturer's arguments that highdicom's constructors share."""
    return {
        "manufacturer": SOFTWARE,
        "manufacturer_model_name": result.algorithm.name,
        "software_versions": result.algorithm.version,
        "device_serial_number": result.algorithm.digest[:16] or "none",
    }


def finish(data: Any, source: DicomSource) -> bytes:
    """The bytes of the object's file, with the images' patient, study and date, not today's."""
    from pydicom.filewriter import correct_ambiguous_vr

    correct_ambiguous_vr(data, True)  # which pydicom leaves out of what keeps its encoding
    data.update(_copied(source))
    keep_encoding(data, source.frames[0].header)
    for keyword in ("InstanceCreationDate", "InstanceCreationTime"):
        data.pop(keyword, None)
    for item in data.get("ContributingEquipmentSequence") or ():
        item.pop("ContributionDateTime", None)
    stream = io.BytesIO()
    data.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def _copied(source: DicomSource) -> Any:
    """What every object repeats of the first image: patient, study, date and time."""
    header = source.frames[0].header
    copied = copy_patient_and_study(header)
    for keyword, candidates, form, default in (
        ("ContentDate", _DATES, _DATE, "19700101"),
        ("ContentTime", _TIMES, _TIME, "000000"),
    ):
        known = (str(header.get(name, "")) for name in candidates)
        setattr(copied, keyword, next((value for value in known if form.fullmatch(value)), default))
    return copied
