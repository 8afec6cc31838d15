"""The UIDs of an encoded data set, found without making anything of the rest."""

from __future__ import annotations

import struct
import tracemalloc
from typing import Any

import pytest

pytest.importorskip("pydicom")

from pydicom import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from lgg_runtime.pacs.arrival import Refusal, check_arrival
from lgg_runtime.readers import dicom_encoding
from lgg_runtime.readers.dicom_encoding import (
    MOST_NESTED,
    CostlyHeaderError,
    read_first_values,
    read_values,
)

CLASS, INSTANCE, STUDY = 0x00080016, 0x00080018, 0x0020000D
UIDS = {CLASS: "1.2.840.10008.5.1.4.1.1.4", INSTANCE: "1.2.3.4", STUDY: "1.2.3.1"}
SYNTAXES = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian)


def make_image() -> Any:
    """With sequences before and after what is wanted, in which the same attributes stand."""
    image, item, inner = Dataset(), Dataset(), Dataset()
    inner.StudyInstanceUID = item.SOPInstanceUID = "9.9"
    item.PurposeOfReferenceCodeSequence = [inner, Dataset()]
    image.SOPClassUID, image.SOPInstanceUID, image.StudyInstanceUID = UIDS.values()
    image.ReferencedImageSequence = [item, Dataset()]
    block = image.private_block(0x0009, "NOBODY KNOWS THIS", create=True)
    block.add_new(0x01, "SQ", [item])
    block.add_new(0x02, "UN", b"\xfe\xff\x00\xe0")
    image.RequestAttributesSequence = []
    image.PixelData = struct.pack("<HHL", 0x0020, 0x000D, 4) + b"5.5\0"
    image["PixelData"].VR = "OW"
    return image


def encode(image: Any, syntax: str) -> bytes:
    stream = DicomBytesIO()
    image.save_as(
        stream,
        implicit_vr=syntax == ImplicitVRLittleEndian,
        little_endian=syntax != ExplicitVRBigEndian,
    )
    return bytes(stream.getvalue())


def leave_lengths_open(data: Any) -> None:
    for element in data:
        if element.VR == "SQ":
            element.is_undefined_length = True
            for item in element.value:
                item.is_undefined_length_sequence_item = True
                leave_lengths_open(item)


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda uid: uid.name)
@pytest.mark.parametrize("are_known", [True, False], ids=["lengths", "delimiters"])
def test_the_values_are_those_of_the_top_level(syntax: str, are_known: bool) -> None:
    image = make_image()
    if not are_known:
        leave_lengths_open(image)
    assert read_values(encode(image, syntax), syntax, UIDS) == UIDS


def test_a_sequence_of_unknown_vr_is_implicit_inside() -> None:
    item = Dataset()
    item.StudyInstanceUID = "9.9"
    inside = encode(item, ImplicitVRLittleEndian)
    value = struct.pack("<HHL", 0xFFFE, 0xE000, len(inside)) + inside
    ends = struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
    head = struct.pack("<HH2sHL", 0x0009, 0x1001, b"UN", 0, 0xFFFFFFFF)
    rest = encode(make_image(), ExplicitVRLittleEndian)
    assert read_values(head + value + ends + rest, ExplicitVRLittleEndian, UIDS) == UIDS


@pytest.mark.parametrize(
    "vr", ["OB", "OD", "OF", "OL", "OV", "OW", "SV", "UC", "UN", "UR", "UT", "UV"]
)
def test_a_value_whose_length_takes_four_bytes_is_passed_over_as_a_whole(vr: str) -> None:
    head = struct.pack("<HH2sHL", 0x0009, 0x1001, vr.encode(), 0, 8)
    body = head + bytes(8) + encode(make_image(), ExplicitVRLittleEndian)
    assert read_values(body, ExplicitVRLittleEndian, UIDS) == UIDS


def test_a_uid_is_read_without_its_padding_be_it_a_space() -> None:
    body = encode(make_image(), ExplicitVRLittleEndian)
    padded = UIDS[STUDY].encode() + b"\0"
    assert body.count(padded) == 1
    spaced = body.replace(padded, padded[:-1] + b" ")
    assert read_values(spaced, ExplicitVRLittleEndian, UIDS) == UIDS


def test_a_data_set_that_belies_its_syntax_is_read_as_it_is() -> None:
    body = encode(make_image(), ImplicitVRLittleEndian)
    assert read_values(body, ExplicitVRLittleEndian, UIDS) == UIDS


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda uid: uid.name)
def test_sequences_nest_as_deeply_as_is_allowed_and_no_deeper(syntax: str) -> None:
    image = make_image()  # two levels by itself
    for _ in range(MOST_NESTED - 1):
        outer = make_image()
        outer.RequestAttributesSequence = [image]
        image = outer
    with pytest.raises(CostlyHeaderError, match="nested deeper than 32"):
        read_values(encode(image, syntax), syntax, UIDS)
    inner = image.RequestAttributesSequence[0]
    assert read_values(encode(inner, syntax), syntax, UIDS) == UIDS


def empty_items(count: int) -> bytes:
    item = struct.pack("<HHL", 0xFFFE, 0xE000, 0)
    return struct.pack("<HH2sHL", 0x0040, 0xA730, b"SQ", 0, 8 * count) + count * item


def empty_elements(count: int) -> bytes:
    return b"".join(struct.pack("<HH2sH", 0x0041, n, b"LO", 0) for n in range(count))


@pytest.mark.parametrize("fill", [empty_items, empty_elements])
def test_the_header_of_an_object_costs_no_memory(fill: Any) -> None:
    image = make_image()
    del image.PixelData
    body = encode(image, ExplicitVRLittleEndian) + fill(20_000)
    check = (UIDS[INSTANCE], UIDS[CLASS], ExplicitVRLittleEndian, b"", body)
    check_arrival(*check)  # loads what it needs
    tracemalloc.start()
    try:
        assert check_arrival(*check).study_uid == UIDS[STUDY]
        assert tracemalloc.get_traced_memory()[1] < 20_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("fill", [empty_items, empty_elements])
def test_a_header_of_too_many_parts_cannot_be_understood(
    fill: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = make_image()
    del image.PixelData
    body = encode(image, ExplicitVRLittleEndian) + fill(1000)
    monkeypatch.setattr(dicom_encoding, "MOST_PARTS", 1000)
    with pytest.raises(Refusal, match="more than 1000 elements and items") as refused:
        check_arrival(UIDS[INSTANCE], UIDS[CLASS], ExplicitVRLittleEndian, b"", body)
    assert refused.value.status == 0xC000


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda uid: uid.name)
def test_a_data_set_that_is_cut_anywhere_is_read_or_refused(syntax: str) -> None:
    image = make_image()
    leave_lengths_open(image)
    whole = encode(image, syntax)
    for length in range(len(whole)):
        try:
            found = read_values(whole[:length], syntax, UIDS)
        except (ValueError, struct.error):
            continue
        assert all(UIDS[tag].startswith(value) for tag, value in found.items())


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda uid: uid.name)
def test_a_uid_that_is_cut_is_none(syntax: str) -> None:
    data = Dataset()
    data.StudyInstanceUID = "1.2.3.456"
    body = encode(data, syntax)
    assert read_first_values(body, syntax, [STUDY]) == {STUDY: "1.2.3.456"}
    for end in range(len(body)):
        assert read_first_values(body[:end], syntax, [STUDY]) == {}


def test_a_sequence_without_its_end_is_refused() -> None:
    head = struct.pack("<HH2sHL", 0x0040, 0xA730, b"SQ", 0, 0xFFFFFFFF)
    item = struct.pack("<HHL", 0xFFFE, 0xE000, 0)
    for body in (head, head + item, head + item[:4], head + item[:4] + b"\xff\xff\xff\xff"):
        with pytest.raises((ValueError, struct.error)):
            read_values(body, ExplicitVRLittleEndian, UIDS)
