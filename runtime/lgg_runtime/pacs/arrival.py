"""Whether an object that a peer sends can be taken, judged by its header before it is kept."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import Any

from lgg_runtime.errors import InputError, ResourceError
from lgg_runtime.readers.dicom_encoding import CostlyHeaderError, read_first_values, read_values

# PS3.7, annex C, and PS3.4, table B.2-1.
SUCCESS = 0x0000
DUPLICATE_INSTANCE = 0x0111
INVALID_INSTANCE = 0x0117
OUT_OF_RESOURCES = 0xA700
MISMATCH = 0xA900
CANNOT_UNDERSTAND = 0xC000

# Those that the reader decodes, but deflated: its size is not known beforehand.
TRANSFER_SYNTAXES = (
    "1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.5",
    "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51",
    "1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70",
    "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81",
    "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91",
)  # fmt: skip

_CLASS, _INSTANCE, _STUDY = 0x00080016, 0x00080018, 0x0020000D
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


@dataclass(frozen=True)
class Begun:
    """An object of which a part came. study_uid: None where that part does not tell it."""

    study_uid: str | None
    instance_uid: str
    byte_count: int

    @property
    def end(self) -> str:
        """How it ended, for the log."""
        untold = (
            "" if self.study_uid else ", before its Study Instance UID: no study is held for it"
        )
        return f"broke off after {self.byte_count} bytes{untold}"


def is_uid(value: str) -> bool:
    """Whether a text is two numbers or more with dots between, of at most 64 characters.

    PS3.5, 9.1; but numbers that begin with 0 are let pass.
    """
    return len(value) <= 64 and bool(_UID.fullmatch(value))


def has_no_room(status: int) -> bool:
    """Whether a peer's status is one of those that say Out of Resources: PS3.4, table B.2-1."""
    return status >> 8 == OUT_OF_RESOURCES >> 8


def body_of(request: Any) -> bytes:
    """The data set of a request to store, as it is encoded."""
    return request.DataSet.getvalue() if request.DataSet else b""


def study_of(body: bytes, syntax: str) -> str | None:
    """The Study Instance UID of an object that is refused; None where it cannot be told."""
    found = read_first_values(body, syntax, (_STUDY,)).get(_STUDY, "")
    return found if is_uid(found) else None


def status_of(error: Exception) -> tuple[int, str]:
    """What a peer is told of an object that was not kept for an error, and why, for the log."""
    if isinstance(error, Refusal):
        return error.status, str(error)
    if isinstance(error, ResourceError):
        return OUT_OF_RESOURCES, str(error)
    return CANNOT_UNDERSTAND, type(error).__name__


def begun_object(association: Any) -> Begun | None:
    """The object that a peer has begun and that is not whole; None where there is none."""
    message = association.dimse.message
    instance_uid = message and message.command_set.get("AffectedSOPInstanceUID")
    for context in association.accepted_contexts if instance_uid else ():
        if context.context_id == message.context_id:  # which is known once the command is whole
            body = message.data_set.getvalue()
            study_uid = study_of(body, str(context.transfer_syntax[0]))
            return Begun(study_uid, str(instance_uid), len(body))
    return None


def check_arrival(
    instance_uid: str, class_uid: str, syntax: str, file: bytes, body: bytes
) -> Arrival:
    """Compare an object with what its command announced; syntax: its transfer syntax.

    Raises Refusal: 0x0117 for what is no UID, 0xC000 for a header that cannot be read, is nested
    too deeply or has too many parts, 0xA900 for one that is another object's or has no study.
    """
    if not is_uid(instance_uid):
        raise Refusal(INVALID_INSTANCE, "its SOP Instance UID is no UID")
    try:
        header = read_values(body, syntax, (_INSTANCE, _CLASS, _STUDY))
    except CostlyHeaderError as error:
        raise Refusal(CANNOT_UNDERSTAND, str(error)) from error
    except (ValueError, struct.error) as error:
        raise Refusal(CANNOT_UNDERSTAND, "its header is cut short or damaged") from error
    if header.get(_INSTANCE) != instance_uid:
        raise Refusal(MISMATCH, "its SOP Instance UID is not the command's")
    if header.get(_CLASS) != class_uid:
        raise Refusal(MISMATCH, "its SOP Class UID is not the command's")
    study_uid = header.get(_STUDY, "")
    if not is_uid(study_uid):
        raise Refusal(MISMATCH, "its Study Instance UID is no UID")
    return Arrival(study_uid, instance_uid, file, body)
