"""Rows about DICOM studies."""

from __future__ import annotations

import builtins
import os
import shutil
from typing import Any

import numpy as np

from catalogue.dicom_study import (
    DEFLATED,
    Spoil,
    Study,
    claim_large_picture,
    itemise,
    lengthen_runs,
    multiply_packets,
    nest,
    put_study,
    widen_rows,
)
from catalogue.keepings import DONE, NOTHING_MADE, OTHERS_DONE, RECORDED, SKIPPED
from catalogue.row import INFER, Keeping, Outcome, Row, Scene, Section
from lgg_runtime.readers.dicom_files import MAX_INFLATED_BYTES

DROPPED = "3 localizer or derived frames dropped"
USED = "FLAIR is series 3 (FLAIR, axial, 6 x 32 x 32), 28.20 mm apart"
T1 = "pre-contrast T1 is series 2 (pre-contrast T1, axial, 6 x 32 x 32)"
T1C = "post-contrast T1 is series 4 (post-contrast T1, axial, 6 x 32 x 32)"
PLAIN = (DROPPED, USED, T1, T1C)
CUT = "its DICOM header is cut short or damaged"
PIXELS = "its pixels are cut short, damaged or changed"
FIRST = "study: flair_1: "


def refused(name: str, what: str, spoil: Spoil, reason: str) -> Row:
    """A study that is refused as a whole while the slice beside it is done."""
    return Row(name, what, lambda scene: put_study(scene, spoil), 3, reason, OTHERS_DONE)


def without(name: str, what: str, reason: str, **attributes: Any) -> Row:
    """The first FLAIR file with attributes changed."""
    return refused(
        name, what, lambda study: study.change(study.flair[0], **attributes), FIRST + reason
    )


def done(name: str, what: str, spoil: Spoil, *notes: str) -> Row:
    return Row(name, what, lambda scene: put_study(scene, spoil), 0, "", DONE, notes)


def asked(name: str, what: str, spoil: Spoil, reason: str, *options: str) -> Row:
    """A DICOM study alone with options of DICOM; it is recorded as failed."""

    def make(scene: Scene) -> None:
        shutil.rmtree(scene.source)
        put_study(scene, spoil)

    return Row(name, what, make, 4, reason, RECORDED, command=(*INFER, *options))


def _whole(_study: Study) -> None:
    pass


def _cut_to(length: int) -> Spoil:
    return lambda study: study.flair[0].write_bytes(study.flair[0].read_bytes()[:length])


def _replace(old: bytes, new: bytes) -> Spoil:
    """Other bytes in the first FLAIR file, where the old ones stand once."""

    def replace(study: Study) -> None:
        data = study.flair[0].read_bytes()
        assert data.count(old) == 1, data.count(old)
        study.flair[0].write_bytes(data.replace(old, new))

    return replace


def _corrupt_fragment(study: Study) -> None:
    study.compress(study.flair[0])
    data = study.read(study.flair[0])
    data.PixelData = data.PixelData[:40] + b"\xff" * 20
    data.save_as(study.flair[0])


def _turn_white_to_low(study: Study) -> None:
    for path in study.flair:
        stored = np.frombuffer(study.read(path).PixelData, "<u2")
        inverted = (4095 - stored).tobytes()
        study.change(path, PhotometricInterpretation="MONOCHROME1", PixelData=inverted)


def _no_codec(scene: Scene) -> None:
    """RLE on a machine without a decoder for it."""
    import pydicom

    study = put_study(scene, lambda study: study.compress(*study.flair))
    assert study.flair
    decoder = pydicom.pixels.get_decoder(pydicom.uid.RLELossless)
    scene.patch.setattr(decoder, "_available", {})


def _move(study: Study, name: str, x: float) -> None:
    for path in study.of(name):
        place = study.read(path).ImagePositionPatient
        study.change(path, ImagePositionPatient=[place[0] + x, place[1], place[2]])


def _second_flair(study: Study, number: int = 7) -> None:
    for path in study.flair:
        uid = f"{study.read(path).SeriesInstanceUID}.7"
        study.add(f"z{path.name}", path, SeriesInstanceUID=uid, SeriesNumber=number)


def _add_notes(study: Study) -> None:
    (study.folder / "note").write_text("the patient moved in the last sequence\n")
    (study.folder / ".DS_Store").write_bytes(b"\0\0\0\1Bud1" + bytes(6140))


def _other_objects(study: Study) -> None:
    data = study.read(study.flair[0])
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.11.1"
    data.SOPInstanceUID += ".1"
    data.save_as(study.folder / "state")


def _deflated(study: Study) -> None:
    data = study.read(study.flair[0])
    data.file_meta.TransferSyntaxUID = DEFLATED
    data.PixelData = bytes(MAX_INFLATED_BYTES)
    data.save_as(study.flair[0])


def _grow(study: Study) -> None:
    """1 GiB and more, none of which is stored."""
    os.truncate(study.flair[0], (1 << 30) + 2)


def _unreadable(scene: Scene) -> None:
    """Tests may run as root, whom no permission keeps out."""
    put_study(scene, _whole)
    real, real_too = os.open, builtins.open

    def check(path: Any) -> None:
        if str(path).endswith("flair_1"):
            raise PermissionError(13, "Permission denied")

    def refuse(path: Any, flags: int, *more: int) -> int:
        check(path)
        return real(path, flags, *more)

    def refuse_too(path: Any, *more: Any, **options: Any) -> Any:
        check(path)
        return real_too(path, *more, **options)

    scene.patch.setattr(os, "open", refuse)
    scene.patch.setattr(builtins, "open", refuse_too)


def _directory(name: str, *parts: str) -> Row:
    """A DICOMDIR given as INPUT."""

    def make(scene: Scene) -> None:
        put_study(scene, lambda study: study.write_directory(list(parts)))

    what, says = {
        "dicomdir outside": ("A DICOMDIR that points outside its folder.",
                             "DICOMDIR: points outside its folder; refused"),
        "dicomdir of nothing": ("A DICOMDIR that lists a file which is not there.",
                                "gone: cannot be opened: No such file or directory"),
    }[name]  # fmt: skip
    command = ("lgg-infer", "in/study/DICOMDIR", "-o", "out")
    return Row(name, what, make, 4, f"lgg-infer: {says}", NOTHING_MADE, command=command)


def _nothing_outside(outcome: Outcome, row: Row) -> None:
    DONE.check(outcome, row)
    assert {path.name for path in outcome.scene.root.iterdir()} == {"in", "out", "model.onnx"}


def _both_counted(outcome: Outcome, row: Row) -> None:
    DONE.check(outcome, row)
    assert outcome.run["counts"]["skipped_files"] == 2


OUTSIDE = Keeping("Done; a UID is a name and never a path: no file appears elsewhere.",
                  _nothing_outside)  # fmt: skip
COUNTED = Keeping("The study is done; `run.json` counts both files.", _both_counted)
PLACE = "; without it there is no volume"
SHARED = "share a position with another; choose one echo, repetition or reconstruction"

HEADERS = (
    without("no pixels", "No pixels.", "has no pixels", PixelData=None),
    without("no position", "No position.", f"no usable ImagePositionPatient{PLACE}",
            ImagePositionPatient=None),
    without("no orientation", "No orientation.", f"no usable ImageOrientationPatient{PLACE}",
            ImageOrientationPatient=None),
    without("no spacing", "No pixel spacing.", f"no usable PixelSpacing{PLACE}",
            PixelSpacing=None),
    without("zero spacing", "A pixel spacing of zero.",
            "PixelSpacing (0.0, 1.0) is not positive", PixelSpacing=[0, 1]),
    refused("huge spacing", "A pixel spacing of 700 mm.",
            lambda study: study.change(*study.flair, PixelSpacing=[700, 700]),
            "study: 32 x 32 pixels of 700 x 700 mm are 6 slices of 23893 x 23893 of the model's "
            "0.9375 mm: expected at most 4096 a side and 134217728 voxels; correct its spacing"),
    refused("tiny spacing", "A pixel spacing of a micrometre.",
            lambda study: study.change(*study.flair, PixelSpacing=[0.001, 0.001]),
            "study: 32 x 32 pixels of 0.001 x 0.001 mm: expected 0.029 mm or more; correct its "
            "spacing"),
    without("no directions", "An orientation that is none.",
            "ImageOrientationPatient is no pair of perpendicular directions",
            ImageOrientationPatient=[1, 0, 0, 1, 0, 0]),
    without("bits", "BitsStored above BitsAllocated.", "17 bits stored of 16 allocated; refused",
            BitsStored=17),
    without("high bit", "HighBit not the last of BitsStored.",
            "HighBit 15 for 12 bits stored; export the study again", HighBit=15),
    refused("high bit of text", "HighBit that is text.",
            _replace(b"\x28\x00\x02\x01US\x02\x00\x0b\x00", b"\x28\x00\x02\x01LO\x02\x00ab"),
            FIRST + "no usable HighBit"),
    without("rows", "A header of 5000 rows.", "claims 5000 x 32 pixels; at most 4096 a side",
            Rows=5000),
    without("no columns", "No Columns.", "no usable Columns", Columns=None),
    without("colour", "Colour pixels.", "expected grey pixels, found 3 samples of another kind",
            SamplesPerPixel=3),
    without("slope 0", "RescaleSlope 0.", "RescaleSlope 0 makes all values equal",
            RescaleSlope=0),
    refused("slope of text", "RescaleSlope that is no number.",
            _replace(b"DS\x06\x000.125 ", b"DS\x06\x00abcdef"),
            FIRST + "RescaleSlope is no number"),
    refused("spacing of text", "A pixel spacing that is no number.",
            _replace(b"\x28\x00\x30\x00DS\x18\x007.", b"\x28\x00\x30\x00DS\x18\x00a."),
            FIRST + f"no usable PixelSpacing{PLACE}"),
    refused("half a number", "Columns of three bytes.",
            _replace(b"\x28\x00\x11\x00US\x02\x00\x20\x00",
                     b"\x28\x00\x11\x00US\x03\x00\x20\x00\x00"),
            FIRST + "no usable Columns"),
    without("few pixels", "Fewer pixels than the header says.", PIXELS, PixelData=b"\0" * 64),
    without("many pixels", "More pixels than the header says.",
            "holds 4096 bytes of pixels, its header says 2048; refused", PixelData=b"\0" * 4096),
    without("frames of one", "An MR Image object that claims 2000 frames.",
            "claims 2000 frames as MR Image, which holds one; export it as Enhanced MR",
            NumberOfFrames=2000),
    refused("large picture", "300 bytes of JPEG 2000 that claim 60,000 x 60,000 pixels.",
            claim_large_picture,
            FIRST + "its compressed picture claims 60000 x 60000 x 1 samples, its header 32 x 32; "
            "refused"),
    refused("many packets", "100 bytes of JPEG 2000 for which a decoder would take gigabytes.",
            multiply_packets,
            FIRST + "its compressed picture has more than 262144 packets; refused"),
    refused("long runs", "Compressed runs for many more pixels than there are.", lengthen_runs,
            FIRST + "its compressed pixels are more than its header says; refused"),
    refused("wide rows", "Rows as a 32-bit value.", widen_rows,
            FIRST + "claims 33554432 x 32 pixels; at most 4096 a side"),
    refused("cut header", "A file cut in its header.", _cut_to(300), FIRST + CUT),
    without("no identifier", "A file without SeriesInstanceUID.", SeriesInstanceUID=None,
            reason="no SeriesInstanceUID; export the study again, with new UIDs if de-identified"),
    refused("cut pixels", "A file cut in its pixels.", _cut_to(-100), FIRST + PIXELS),
    refused("corrupt fragment", "A corrupt fragment of compressed pixels.", _corrupt_fragment,
            FIRST + PIXELS),
    refused("nested", "300 nested sequences.", nest,
            FIRST + "sequences are nested too deeply; refused"),
    refused("many items", "A sequence of a million empty items.", itemise,
            FIRST + "its header has more than 1000000 elements and items; refused"),
    refused("deflated", "A deflated data set above 256 MiB, which may be a bomb.", _deflated,
            FIRST + "inflates to more than 256 MiB; convert it, e.g. with dcmconv"),
    refused("above 1 GiB", "A file above 1 GiB.", _grow,
            FIRST + "above 1024 MiB; split the series"),
    refused("many frames", "An enhanced object that claims 2,147,483,647 frames.",
            lambda study: study.enhance(NumberOfFrames=2**31 - 1),
            "study: enhanced: claims 2147483647 frames and describes 6; refused"),
    Row("no codec", "Compressed pixels without their codec.", _no_codec, 3,
        FIRST + "RLE Lossless needs a codec; pip install 'lgg-edge[dicom]' "
        "(pylibjpeg, pyjpegls, python-gdcm)", OTHERS_DONE),
    refused("unknown syntax", "A transfer syntax that nobody knows.",
            _replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.9\0"),
            FIRST + "its transfer syntax cannot be decoded"),
    Row("unreadable", "A file of a study that may not be read.", _unreadable, 3,
        FIRST + "cannot be read: Permission denied", OTHERS_DONE),
)  # fmt: skip

STUDIES = (
    refused("gap", "A gap between slices.", lambda study: study.flair[2].unlink(),
            "study: series 3: a gap: between slices 2 and 3 of 5 lie 56.40 mm, elsewhere "
            "28.20 mm; 1 missing"),
    refused("irregular", "Slices at irregular distances.",
            lambda study: study.change(study.flair[5], ImagePositionPatient=[-111, -111, 90]),
            "study: series 3: irregular spacing: between slices 5 and 6 of 6 lie 47.70 mm, "
            "elsewhere 28.20 mm"),
    refused("two patients", "Images of two patients in one study, by their PatientID.",
            lambda study: study.change(*study.flair[::2], PatientID="another"),
            "study: its images are of 2 patients, by their PatientID; export each patient's study "
            "by itself, or correct it"),
    refused("T1 of another", "A T1 series of another patient than FLAIR's.",
            lambda study: study.change(*study.of("t1"), PatientID="another"),
            "study: its images are of 2 patients, by their PatientID; export each patient's study "
            "by itself, or correct it"),
    refused("torn", "The last slices in another frame of reference.",
            lambda study: study.change(*study.flair[4:], FrameOfReferenceUID="1.2.3.4.5"),
            "study: series 3: 2 slices continue it in another orientation or frame of reference; "
            "choose another series"),
    refused("other pixels", "A slice of another pixel spacing.",
            lambda study: study.change(study.flair[3], PixelSpacing=[3.6, 3.6]),
            "study: series 3: slices differ in PixelSpacing: (7.2, 7.2) and (3.6, 3.6) mm; "
            "resample them onto one grid"),
    refused("duplicate", "Two slices at one position.",
            lambda study: study.add("again", study.flair[0]),
            f"study: series 3: 1 of 7 slices {SHARED}"),
    refused("one slice", "A study of one slice.",
            lambda study: [path.unlink() for path in study.flair[1:]],
            "study: series 3: one slice alone; a volume needs two positions at least"),
    refused("same UID", "One UID with two contents.",
            lambda study: study.add("other", study.flair[0], EchoTime=121,
                                    SOPInstanceUID=study.read(study.flair[0]).SOPInstanceUID),
            "study: other: another file has its SOPInstanceUID and other content"),
    refused("no FLAIR", "No FLAIR.", lambda study: study.drop("flair"),
            "study: no FLAIR among series 2 (pre-contrast T1, axial, 6 x 32 x 32), series 4 "
            "(post-contrast T1, axial, 6 x 32 x 32); choose it with --flair NUMBER"),
    refused("two FLAIR", "Two series that may be FLAIR.", _second_flair,
            "study: 2 series may be FLAIR: series 3 (FLAIR, axial, 6 x 32 x 32), series 7 (FLAIR, "
            "axial, 6 x 32 x 32); choose one with --flair NUMBER"),
    refused("no MR", "No MR image in it.",
            lambda study: (_other_objects(study), study.drop("flair", "t1", "t1c", "localizer")),
            "study: no MR image in it"),
    asked("no such series", "A series chosen that is not there.", _whole,
          "study: --flair: no such series; there are series 2 (pre-contrast T1, axial, 6 x 32 x "
          "32), series 3 (FLAIR, axial, 6 x 32 x 32), series 4 (post-contrast T1, axial, 6 x 32 "
          "x 32)", "--flair", "9"),
    asked("series number twice", "A series chosen by a number that two series have.",
          lambda study: _second_flair(study, 3),
          "study: --flair: 2 stacks of that series: series 3 (FLAIR, axial, 6 x 32 x 32), series 3 "
          "(FLAIR, axial, 6 x 32 x 32)", "--flair", "3"),
    asked("no such UID", "A series chosen by a UID that is not there.", _whole,
          "study: no MR image in it of the series chosen", "--series-uid", "1.2.3.4.5"),
    asked("another frame", "A T1 chosen that is in another frame of reference.",
          lambda study: study.change(*study.of("t1"), FrameOfReferenceUID="1.2.3.4.5"),
          "study: --t1: series 2 (pre-contrast T1, axial, 6 x 32 x 32) is not in FLAIR's frame "
          "of reference", "--t1", "2"),
    asked("no frame of reference", "A SEG asked for images without a frame of reference.",
          lambda study: study.change(*study.flair, FrameOfReferenceUID=None),
          "study: no FrameOfReferenceUID, so a DICOM object would have no place",
          "-ot", "dicom-seg"),
    Row("SR alone", "A report asked for without the SEG that it refers to.",
        lambda scene: (shutil.rmtree(scene.source), put_study(scene, _whole)), 2,
        "lgg-infer: --output-type dicom-sr: refers to a SEG; add --output-type dicom-seg",
        NOTHING_MADE, command=(*INFER, "-ot", "dicom-sr")),
    Row("series of pictures", "A series chosen where the input is no DICOM alone.",
        lambda scene: None, 2,
        "lgg-infer: --series-uid, --flair, --t1 and --t1c: for DICOM input alone", NOTHING_MADE,
        command=(*INFER, "--flair", "3")),
    _directory("dicomdir outside", "..", "secret"),
    _directory("dicomdir of nothing", "gone"),
)  # fmt: skip

READ = (
    done("same bytes", "One UID twice with equal bytes: counted once.",
         lambda study: shutil.copy(study.flair[0], study.folder / "copy"),
         "1 identical copy", *PLAIN),
    done("localizer", "A localizer inside the series: dropped.",
         lambda study: study.add("odd", study.flair[0],
                                 ImageOrientationPatient=[0, 1, 0, 0, 0, -1]),
         "4 localizer or derived frames dropped", *PLAIN[1:]),
    done("other objects", "Objects that are no MR images: passed over.", _other_objects,
         "1 object that is no MR image passed over", *PLAIN),
    done("no T1", "No T1: FLAIR in its place.", lambda study: study.drop("t1", "t1c"),
         *PLAIN[:2], "no pre-contrast T1; FLAIR in its place",
         "no post-contrast T1; FLAIR in its place"),
    done("T1 elsewhere", "A T1 that does not cover the head in FLAIR: FLAIR in its place.",
         lambda study: _move(study, "t1c", 100), *PLAIN[:3],
         "series 4 (post-contrast T1, axial, 6 x 32 x 32) covers 57% of the head in FLAIR; FLAIR "
         "in its place"),
    done("MONOCHROME1", "MONOCHROME1: inverted.", _turn_white_to_low, *PLAIN),
    done("time of text", "An echo time that is no number: the description decides.",
         _replace(b"DS\x06\x00120.0 ", b"DS\x06\x00abcdef"), *PLAIN),
    done("number of text", "A series number that is none: never printed.",
         _replace(b"IS\x02\x003 ", b"IS\x02\x00x "),
         DROPPED, USED.replace("series 3", "series ?"), T1, T1C),
    done("enhanced", "An enhanced multi-frame object.", lambda study: study.enhance(), *PLAIN),
    Row("UID as path", "A UID with /../ in it.",
        lambda scene: put_study(scene, lambda study: study.change(
            *study.flair, SeriesInstanceUID="1.2.3/../../../4")), 0, "", OUTSIDE, PLAIN),
    Row("oblique", "An oblique study.",
        lambda scene: put_study(scene, _whole, "oblique_study"), 0, "", DONE,
        (DROPPED, *(note.replace("axial", "oblique axial") for note in PLAIN[1:]))),
    Row("no DICOM", "A file that is no DICOM, beside slices.",
        lambda scene: scene.put("good/notes", b"text"), 0, "", SKIPPED),
    Row("no DICOM in a study", "A note and a `.DS_Store` among the images of a study: passed over.",
        lambda scene: put_study(scene, _add_notes), 0, "", COUNTED, PLAIN),
)  # fmt: skip

SECTION = Section(
    "DICOM",
    "A study is read whole or refused whole: a damaged file never makes a volume with a slice "
    "less. Messages name series by their numbers, never by their UIDs.",
    (*HEADERS, *STUDIES, *READ),
)
