"""One image in two encodings is one; another attribute, or another pixel, makes it another."""

from __future__ import annotations

import struct
import subprocess
import sys
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pydicom")

from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from lgg_runtime.errors import InputError
from lgg_runtime.readers import same_pixels as pixels
from lgg_runtime.readers.same_image import is_same_image

MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"
NATIVE = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian)
COMPRESSED = (RLELossless, JPEGLSLossless, JPEG2000Lossless)
UNKNOWN = "NOBODY KNOWS THIS"  # to pydicom's dictionary, as creator of private elements


def make_image() -> Any:
    """Two frames of 32 x 40, with attributes of every kind that encodings treat differently."""
    image = Dataset()
    image.SpecificCharacterSet = "ISO_IR 100"
    image.SOPClassUID, image.SOPInstanceUID = MR_IMAGE, "1.2.3"
    image.PatientName = "Drawn^Bär"
    image.Rows, image.Columns, image.NumberOfFrames = 32, 40, 2
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.BitsAllocated, image.BitsStored, image.HighBit = 16, 12, 11
    image.PixelRepresentation = 0
    image.SmallestImagePixelValue = 3  # US or SS
    image.EchoTime, image.AcquisitionMatrix = "90.50", [0, 40, 32, 0]
    image.ProcedureCodeSequence = [make_code()]
    image.PixelData = np.arange(2560, dtype="<u2").tobytes()
    image["PixelData"].VR = "OW"
    return image


def make_code() -> Any:
    code = Dataset()
    code.CodeValue, code.CodeMeaning = "1", "a code"
    code.PurposeOfReferenceCodeSequence = [Dataset()]
    return code


def add_private(image: Any) -> None:
    """Elements whose value representation implicit VR does not tell."""
    block = image.private_block(0x0029, UNKNOWN, create=True)
    block.add_new(0x01, "LO", "odd")
    block.add_new(0x02, "FD", 0.5)
    block.add_new(0x03, "LO", "")
    block.add_new(0x04, "SQ", [make_code()])


def encode(image: Any, syntax: str = ExplicitVRLittleEndian) -> bytes:
    copy = deepcopy(image)
    copy.file_meta = FileMetaDataset()
    copy.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    if syntax in COMPRESSED:
        copy.compress(syntax, generate_instance_uid=False)
    elif syntax == ExplicitVRBigEndian and "PixelData" in image:
        copy.PixelData = np.frombuffer(image.PixelData, "<u2").astype(">u2").tobytes()
    copy.file_meta.TransferSyntaxUID = syntax
    stream = DicomBytesIO()
    copy.save_as(stream, enforce_file_format=True)
    return bytes(stream.getvalue())


@pytest.fixture
def is_same(tmp_path: Path) -> Callable[[bytes, bytes], bool]:
    def compare(kept: bytes, came: bytes) -> bool:
        found = []
        for first, second in ((kept, came), (came, kept)):
            (tmp_path / "kept.dcm").write_bytes(first)
            found.append(is_same_image(tmp_path / "kept.dcm", second))
        assert found[0] == found[1]
        return found[0]

    return compare


IsSame = Callable[[bytes, bytes], bool]


@pytest.mark.parametrize("syntax", (*NATIVE, *COMPRESSED), ids=lambda uid: uid.name)
def test_a_transfer_syntax_is_no_content(is_same: IsSame, syntax: str) -> None:
    assert is_same(encode(make_image()), encode(make_image(), syntax))


@pytest.mark.parametrize("syntax", COMPRESSED, ids=lambda uid: uid.name)
def test_compressed_pixels_are_compared_as_they_decode(is_same: IsSame, syntax: str) -> None:
    other = make_image()
    other.PixelData = bytes(2) + np.arange(1, 2560, dtype="<u2").tobytes()
    assert is_same(encode(make_image(), syntax), encode(other, ImplicitVRLittleEndian))
    other.PixelData = np.arange(1, 2561, dtype="<u2").tobytes()
    assert not is_same(encode(make_image(), syntax), encode(other, ImplicitVRLittleEndian))


@pytest.mark.parametrize("syntax", (ExplicitVRLittleEndian, ExplicitVRBigEndian))
def test_private_elements_are_the_same_where_implicit_vr_hides_what_they_are(
    is_same: IsSame, syntax: str
) -> None:
    image = make_image()
    add_private(image)
    explicit, implicit = encode(image, syntax), encode(image, ImplicitVRLittleEndian)
    assert is_same(explicit, implicit)
    image[0x0029, 0x1004].value[0].CodeMeaning = "another"
    assert not is_same(encode(image, syntax), implicit)
    image = make_image()
    add_private(image)
    image[0x0029, 0x1001].value = "even"
    assert not is_same(encode(image, syntax), implicit)


def test_no_value_is_the_same_in_every_syntax_where_bytes_and_text_are_not_to_be_compared(
    tmp_path: Path,
) -> None:
    """Of an empty text, pydicom gives bytes in explicit VR and text in implicit VR."""
    image = make_image()
    image.StudyDescription = image.ReferringPhysicianName = ""
    add_private(image)
    files = []
    for syntax in NATIVE:
        files.append(tmp_path / syntax)
        files[-1].write_bytes(encode(image, syntax))
    compare = (
        "import itertools, pathlib, sys\n"
        f"from {is_same_image.__module__} import is_same_image\n"
        "for kept, came in itertools.permutations(map(pathlib.Path, sys.argv[1:]), 2):\n"
        "    assert is_same_image(kept, came.read_bytes())"
    )
    command = [sys.executable, "-bb", "-c", compare, *map(str, files)]
    assert subprocess.run(command, check=False, capture_output=True, text=True).stderr == ""


def test_what_an_encoder_says_it_did_counts_within_one_syntax_alone(is_same: IsSame) -> None:
    told = make_image()
    told.DerivationDescription = "Lossless JPEG compression, selection value 1"
    assert is_same(encode(make_image()), encode(told, JPEG2000Lossless))
    assert not is_same(encode(make_image()), encode(told))


def test_bits_above_the_stored_ones_are_no_content(is_same: IsSame) -> None:
    """An overlay there, or the sign, is lost by codecs that take as many bits as are stored."""
    signed, bare, over = make_image(), make_image(), make_image()
    stored = np.arange(2560, dtype="<i2") - 1000
    signed.PixelRepresentation = bare.PixelRepresentation = 1
    signed.PixelData = stored.tobytes()
    bare.PixelData = (stored & 0x0FFF).tobytes()
    assert is_same(encode(signed), encode(bare, ImplicitVRLittleEndian))
    over.PixelData = (np.arange(2560, dtype="<u2") | 0x8000).tobytes()
    assert is_same(encode(make_image()), encode(over, ImplicitVRLittleEndian))
    over.BitsStored, over.HighBit = 16, 15  # some encoders of JPEG-LS take all, and pydicom too
    packed, stream = dcmread(DicomBytesIO(encode(over, JPEGLSLossless))), DicomBytesIO()
    packed.BitsStored, packed.HighBit = 12, 11
    packed.save_as(stream, enforce_file_format=True)
    assert is_same(encode(make_image()), bytes(stream.getvalue()))


@pytest.mark.parametrize("syntax", NATIVE, ids=lambda uid: uid.name)
def test_no_number_is_no_difference(is_same: IsSame, syntax: str) -> None:
    image = make_image()
    block = image.private_block(0x0029, UNKNOWN, create=True)
    block.add_new(0x01, "FD", [float("nan"), 0.5])
    block.add_new(0x02, "FL", float("nan"))
    block.add_new(0x03, "SQ", [])
    image.RealWorldValueLUTData = float("nan")
    image.ProcedureCodeSequence[0].RealWorldValueLUTData = float("nan")
    assert is_same(encode(image), encode(image, syntax))
    other = encode(image, syntax)
    block[0x01].value = [float("nan"), 0.25]
    assert not is_same(encode(image), other)


@pytest.mark.parametrize("syntax", (ExplicitVRLittleEndian, ImplicitVRLittleEndian))
def test_the_order_of_bytes_in_overlays_and_tables_is_no_content(
    is_same: IsSame, syntax: str
) -> None:
    little, big = make_image(), make_image()
    numbers = np.arange(8, dtype="<u8")
    for place, (vr, size) in enumerate({"OW": 2, "OL": 4, "OD": 8}.items()):
        blocks = (image.private_block(0x0029, UNKNOWN, create=True) for image in (little, big))
        for one, order in zip(blocks, "<>", strict=True):
            one.add_new(place, vr, numbers.astype(f"{order}u{size}").tobytes())
    little.add_new(0x60003000, "OW", bytes(range(8)))
    big.add_new(0x60003000, "OW", bytes((1, 0, 3, 2, 5, 4, 7, 6)))
    assert is_same(encode(little, syntax), encode(big, ExplicitVRBigEndian))
    assert not is_same(encode(little, syntax), encode(little, ExplicitVRBigEndian))


def test_padding_is_no_difference(is_same: IsSame) -> None:
    padded = make_image()
    padded.ProcedureCodeSequence[0].add_new(0xFFFCFFFC, "OB", bytes(8))
    assert is_same(encode(make_image()), encode(padded))


def test_lengths_are_no_content(is_same: IsSame) -> None:
    """Neither retired group lengths nor whether a sequence and its items have a known length."""
    image = make_image()
    known = encode(image)
    image["ProcedureCodeSequence"].is_undefined_length = True
    image.ProcedureCodeSequence[0].is_undefined_length_sequence_item = True
    unknown = encode(image)
    first = b"\x08\x00\x05\x00CS"
    length = b"\x08\x00\x00\x00UL\x04\x00\x10\x00\x00\x00"
    assert unknown != known and known.count(first) == 1
    assert is_same(known, unknown)
    assert is_same(known, known.replace(first, length + first))


def change_name(image: Any) -> None:
    image.PatientName = "Drawn^By Code"


def change_number(image: Any) -> None:
    image.SmallestImagePixelValue = 4


def change_an_item(image: Any) -> None:
    image.ProcedureCodeSequence[0].CodeMeaning = "another"


def add_an_item(image: Any) -> None:
    image.ProcedureCodeSequence.append(make_code())


def remove_an_attribute(image: Any) -> None:
    del image.EchoTime


def change_a_pixel(image: Any) -> None:
    image.PixelData = image.PixelData[:-2] + b"\x01\x00"


def turn_the_frames(image: Any) -> None:
    image.Rows, image.Columns = image.Columns, image.Rows


def remove_the_pixels(image: Any) -> None:
    del image.PixelData


@pytest.mark.parametrize(
    "change",
    [
        change_name,
        change_number,
        change_an_item,
        add_an_item,
        remove_an_attribute,
        add_private,
        change_a_pixel,
        turn_the_frames,
        remove_the_pixels,
    ],
)
@pytest.mark.parametrize("syntax", NATIVE, ids=lambda uid: uid.name)
def test_other_content_is_another_image(
    is_same: IsSame, change: Callable[[Any], None], syntax: str
) -> None:
    image = make_image()
    change(image)
    assert not is_same(encode(make_image()), encode(image, syntax))


@pytest.mark.parametrize("frozen", [True, False])
def test_a_program_without_an_interpreter_is_not_started_to_compare(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, frozen: bool
) -> None:
    kept, program, begun = tmp_path / "kept.dcm", tmp_path / "program", tmp_path / "begun"
    kept.write_bytes(encode(make_image()))
    program.write_text(f"#!/bin/sh\ntouch '{begun}'\n")
    program.chmod(0o700)
    monkeypatch.setattr(sys, "frozen", frozen, raising=False)
    monkeypatch.setattr(sys, "executable", str(program) if frozen else "")
    with pytest.raises(
        InputError, match=r"^kept\.dcm: .* no.* in this program; remove one of them"
    ):
        is_same_image(kept, encode(make_image(), RLELossless))
    assert not begun.exists()
    assert is_same_image(kept, encode(make_image(), ImplicitVRLittleEndian))


def test_a_codestream_that_claims_to_be_huge_is_not_believed(
    is_same: IsSame, tmp_path: Path
) -> None:
    whole = encode(make_image(), JPEG2000Lossless)
    claimed = whole.replace(struct.pack(">II", 40, 32), struct.pack(">II", 30_000, 30_000))
    assert claimed != whole
    for name, content in (("kept", whole), ("came", claimed)):
        (tmp_path / name).write_bytes(content)
    code = f"""
import sys
from pathlib import Path
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage
from {pixels.__name__} import have_same_compressed_pixels
kept, came = map(Path, sys.argv[1:])
before = getrusage(RUSAGE_SELF).ru_maxrss
print(have_same_compressed_pixels(kept, came.read_bytes()))
print(getrusage(RUSAGE_SELF).ru_maxrss - before, getrusage(RUSAGE_CHILDREN).ru_maxrss)
"""
    words = [sys.executable, "-c", code, str(tmp_path / "kept"), str(tmp_path / "came")]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    same, grown, decoder = done.stdout.split()
    assert same == "False"
    assert int(grown) < 100 << 10  # KiB
    assert int(decoder) < pixels.MOST_BYTES >> 10
    assert is_same(whole, whole)


def test_the_decoding_process_holds_no_opencv_in_its_memory() -> None:
    code = f"import sys, {pixels.__name__}; print('cv2' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_no_code_of_the_current_folder_runs(
    is_same: IsSame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("numpy", "lgg_runtime"):
        (tmp_path / f"{name}.py").write_text("open('ran', 'w').close()\nraise SystemExit(1)\n")
    monkeypatch.chdir(tmp_path)
    assert is_same(encode(make_image(), RLELossless), encode(make_image()))
    assert not (tmp_path / "ran").exists()


def test_a_decoder_that_does_not_end_is_ended(
    is_same: IsSame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pixels, "MOST_SECONDS", 0.001)
    assert not is_same(encode(make_image()), encode(make_image(), RLELossless))


@pytest.mark.parametrize("cut", [0, 100, 200, -3])
def test_what_cannot_be_decoded_is_not_the_same(is_same: IsSame, cut: int) -> None:
    whole = encode(make_image())
    assert not is_same(whole, whole[:cut])
    assert dcmread(DicomBytesIO(whole)).Rows == 32
