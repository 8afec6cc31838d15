"""Whether an object that a peer sends can be taken, judged by its header before it is kept."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import Any

from lgg_runtime.errors import InputError, LggError
from lgg_runtime.readers.dicom_files import load_pydicom

# PS3.7, annex C, and PS3.4, table B.2-1.
SUCCESS = 0x0000
DUPLICATE_INSTANCE = 0x0111
INVALID_INSTANCE = 0x0117
OUT_OF_RESOURCES = 0xA700
MISMATCH = 0xA900
CANNOT_UNDERSTAND = 0xC000

MOST_NESTED = 32
_UID = re.compile(r"[0-9]+(?:\.[0-9]+)+")


class Refusal(InputError):
    """An object that is not taken; status: what the peer is told; the message: why."""

    def __init__(self, status: int, why: str):
        super().__init__(why)
        self.status = status


@dataclass(frozen=True)
class Arrival:
    """An object as it came. file: in the format of PS3.10; body: its data set alone."""

    study_uid: str
    instance_uid: str
    file: bytes
    body: bytes


def is_uid(value: str) -> bool:
    """Whether a text is two numbers or more with dots between, of at most 64 characters.

    PS3.5, 9.1; but numbers that begin with 0 are let pass.
    """
    return len(value) <= 64 and bool(_UID.fullmatch(value))


def check_arrival(instance_uid: str, class_uid: str, file: bytes, body: bytes) -> Arrival:
    """Compare an object with what its command announced.

    Raises Refusal: 0x0117 for what is no UID, 0xC000 for a header that cannot be read or is
    nested too deeply, 0xA900 for one that is another object's or has no study.
    """
    if not is_uid(instance_uid):
        raise Refusal(INVALID_INSTANCE, "its SOP Instance UID is no UID")
    header = _read(file)
    if str(header.get("SOPInstanceUID", "")) != instance_uid:
        raise Refusal(MISMATCH, "its SOP Instance UID is not the command's")
    if str(header.get("SOPClassUID", "")) != class_uid:
        raise Refusal(MISMATCH, "its SOP Class UID is not the command's")
    study_uid = str(header.get("StudyInstanceUID", ""))
    if not is_uid(study_uid):
        raise Refusal(MISMATCH, "its Study Instance UID is no UID")
    return Arrival(study_uid, instance_uid, file, body)


def _read(file: bytes) -> Any:
    pydicom = load_pydicom()
    try:
        header = pydicom.dcmread(io.BytesIO(file), stop_before_pixels=True)
        _refuse_nesting(header)
        for keyword in ("SOPInstanceUID", "SOPClassUID", "StudyInstanceUID"):
            header.get(keyword)
    except RecursionError as error:
        raise Refusal(CANNOT_UNDERSTAND, "its sequences are nested too deeply") from error
    except LggError:
        raise
    except Exception as error:
        # Damaged bytes lead pydicom to any error; its own share no base.
        raise Refusal(CANNOT_UNDERSTAND, "its header is cut short or damaged") from error
    return header


def _refuse_nesting(header: Any) -> None:
    """Raise Refusal where sequences are nested too deeply.

    pydicom parses a sequence of known length when it is asked for: here, level by level.
    """
    from pydicom.datadict import dictionary_VR

    level = [header]
    for _ in range(MOST_NESTED + 1):
        below = []
        for data in level:
            for tag in data.keys():  # noqa: SIM118  iterating over the values would convert them
                kind = data.get_item(tag).VR
                if kind in (None, "UN"):
                    try:
                        kind = dictionary_VR(tag)
                    except KeyError:
                        continue
                if kind == "SQ":
                    below += list(data[tag].value or ())
        if not below:
            return
        level = below
    raise Refusal(CANNOT_UNDERSTAND, f"its sequences are nested deeper than {MOST_NESTED}")
