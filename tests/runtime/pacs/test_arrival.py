"""What an object's header has to say for the object to be taken."""

from __future__ import annotations

import pytest

pytest.importorskip("pydicom")

from pydicom import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.uid import ExplicitVRLittleEndian

from lgg_runtime.pacs.arrival import Arrival, Refusal, check_arrival, is_uid

CLASS, INSTANCE, STUDY = "1.2.840.10008.5.1.4.1.1.4", "1.2.3.4", "1.2.3.1"
LONGEST = "1." + 62 * "2"
NESTED = 40 * (b"\x08\x00\x40\x11SQ\x00\x00\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff")


def encode(class_uid: str = CLASS, instance: str = INSTANCE, study: str = STUDY) -> bytes:
    image, stream = Dataset(), DicomBytesIO()
    image.SOPClassUID, image.SOPInstanceUID, image.StudyInstanceUID = class_uid, instance, study
    image.save_as(stream, implicit_vr=False, little_endian=True)
    return bytes(stream.getvalue())


def check(body: bytes, instance: str = INSTANCE) -> Arrival:
    return check_arrival(instance, CLASS, ExplicitVRLittleEndian, b"file", body)


def test_an_object_that_is_what_its_command_announced_is_taken() -> None:
    body = encode()
    assert check(body) == Arrival(STUDY, INSTANCE, b"file", body)


@pytest.mark.parametrize(
    ("instance", "body", "status", "why"),
    [
        ("no UID", encode(), 0x0117, "its SOP Instance UID is no UID"),
        (INSTANCE, encode(instance="1.2.3.5"), 0xA900, "its SOP Instance UID is not the command's"),
        (INSTANCE, encode("1.2.840.10008.5.1.4.1.1.2"), 0xA900, "its SOP Class UID is not the"),
        (INSTANCE, encode(study=""), 0xA900, "its Study Instance UID is no UID"),
        (INSTANCE, b"", 0xA900, "its SOP Instance UID is not the command's"),
        (
            INSTANCE,
            b"\x40\x00\x30\xa7SQ\x00\x00\xff\xff\xff\xff",
            0xC000,
            "is cut short or damaged",
        ),
        (
            INSTANCE,
            encode() + b"\x08\x00\x05\x00OB\x00\x00",
            0xC000,
            "is cut short or damaged",
        ),
        (INSTANCE, NESTED, 0xC000, "its sequences are nested deeper than 32"),
    ],
)
def test_another_object_than_its_command_announced_is_refused(
    instance: str, body: bytes, status: int, why: str
) -> None:
    with pytest.raises(Refusal, match=why) as refused:
        check(body, instance)
    assert refused.value.status == status


@pytest.mark.parametrize(
    ("value", "is_one"),
    [(LONGEST, True), (LONGEST + "2", False), ("1", False), ("1.", False), ("1..2", False),
     ("1.2\n", False), ("", False), ("1.02", True)],
)  # fmt: skip
def test_a_uid_is_numbers_with_dots_between_of_at_most_64_characters(
    value: str, is_one: bool
) -> None:
    assert is_uid(value) is is_one
