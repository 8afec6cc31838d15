"""Rows about NIfTI files."""

from __future__ import annotations

import gzip
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from catalogue.keepings import DONE, LEFT_OUT, NOTHING_MADE, OTHERS_DONE, SKIPPED
from catalogue.row import INFER, Row, Scene, Section

RAS = np.array([[-0.9, 0, 0, 20], [0, -0.9, 0, 30], [0, 0, 5, -40], [0, 0, 0, 1.0]])
SHAPE = (24, 20, 6)  # columns, rows, slices
NIFTI_CHANNELS = "save FLAIR alone, or the three channels along a fourth axis"
DAMAGED = "no NIfTI file, or its header is damaged"
Make = Callable[[Scene], object]


def values(shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return (np.arange(np.prod(shape)) % 1000).astype(np.int16).reshape(shape)


def save(path: Path, pixels: np.ndarray, affine: np.ndarray | None = RAS, **header: Any) -> Path:
    """A file by nibabel, with fields of its header replaced."""
    import nibabel

    path.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(pixels, affine)
    for name, value in header.items():
        image.header[name] = value
    nibabel.save(image, path)
    return path


def volume(name: str, pixels: Callable[[], np.ndarray] = values, **header: Any) -> Make:
    return lambda scene: save(scene.source / name, pixels(), **header)


def patched(name: str, *places: tuple[int, bytes]) -> Make:
    """A volume with bytes of its header replaced (NIfTI-1 header: dim 40, vox_offset 108,
    scl_slope 112, scl_inter 116, xyzt_units 123, qform_code 252, srow_z 312).
    """

    def make(scene: Scene) -> None:
        path = save(scene.source / name, values())
        data = bytearray(path.read_bytes())
        for place, content in places:
            data[place : place + len(content)] = content
        path.write_bytes(data)

    return make


def sized(*shape: int) -> tuple[int, bytes]:
    return 40, np.array([len(shape), *shape], "<i2").tobytes()


def floats(*numbers: float) -> bytes:
    return np.array(numbers, "<f4").tobytes()


def refused(name: str, what: str, make: Make, reason: str, file: str = "a.nii") -> Row:
    return Row(name, what, make, 3, f"{_study(file)}: {file}: {reason}", OTHERS_DONE)


def _study(file: str) -> str:
    return file.removesuffix(".gz").removesuffix(".nii").removesuffix("_t1")


def _cut(name: str) -> Make:
    def make(scene: Scene) -> None:
        noise = np.random.default_rng(0).integers(0, 999, SHAPE).astype(np.int16)
        path = save(scene.source / name, noise)
        path.write_bytes(path.read_bytes()[:-500])

    return make


def _misnamed(scene: Scene, saved: str, name: str) -> None:
    save(scene.source / saved, values()).rename(scene.source / name)


def _flipped(scene: Scene) -> None:
    """Stored without compression, so that the bit is a voxel's."""
    whole = gzip.decompress(save(scene.source / "a.nii.gz", values()).read_bytes())
    data = bytearray(gzip.compress(whole, 0))
    data[-20] ^= 1
    scene.put("a.nii.gz", bytes(data))


def _bomb(scene: Scene) -> None:
    """A whole small volume with 64 MiB of zeros behind it."""
    whole = gzip.decompress(save(scene.source / "a.nii.gz", values()).read_bytes())
    scene.put("a.nii.gz", gzip.compress(whole + bytes(2**26), 1))


def _extended(scene: Scene) -> None:
    whole = gzip.decompress(save(scene.source / "a.nii.gz", values()).read_bytes())
    header = whole[:108] + struct.pack("<f", 368) + whole[112:348]
    extension = struct.pack("<4sii8x", b"\1\0\0\0", 7, 6)
    scene.put("a.nii.gz", gzip.compress(header + extension + whole[352:] + bytes(2**26), 1))


def _disagreeing(scene: Scene) -> None:
    import nibabel

    moved = RAS.copy()
    moved[2, 3] += 10
    image = nibabel.Nifti1Image(values(), RAS)
    image.set_sform(RAS, 1)
    image.set_qform(moved, 1)
    nibabel.save(image, scene.source / "a.nii")


def _unplaced(scene: Scene) -> None:
    import nibabel

    image = nibabel.Nifti1Image(values(), None)
    image.header.set_sform(None, 0)
    image.header.set_qform(None, 0)
    nibabel.save(image, scene.source / "a.nii")


def _with(place: tuple[int, int], value: float) -> np.ndarray:
    affine = RAS.copy()
    affine[place] = value
    return affine


def _voxels_of(name: str, mm: float) -> Make:
    """Voxels that many times as large, and no unit set."""
    return volume(name, affine=np.diag([mm, mm, mm, 1]) @ RAS, xyzt_units=0)


def _save_all(scene: Scene, *names: str) -> None:
    for name in names:
        save(scene.source / name, values())


def _rgb() -> np.ndarray:
    return np.zeros(SHAPE, np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]))


AXES = "expected three axes, or a fourth of 3 channels, found"
MOST = "voxels; at most 134217728 are read"
ALONE = "one channel, taken as FLAIR"
SPACING = "correct its spacing"
FLAIR_MISSING = "no FLAIR beside it; expected p_flair.nii.gz in its folder"

ROWS = (
    refused("cut gz", "A truncated .nii.gz.", _cut("a.nii.gz"),
            "cut short or damaged; copy the file again", "a.nii.gz"),
    refused("check sum", "A .nii.gz of which one bit in the middle has flipped.", _flipped,
            "cut short or damaged; copy the file again", "a.nii.gz"),
    refused("cut", "A truncated .nii.", _cut("a.nii"), "cut short or damaged; copy the file again"),
    refused("empty", "An empty file.", lambda scene: scene.put("a.nii", b""), DAMAGED),
    refused("text", "A text named .nii.", lambda scene: scene.put("a.nii", b"text " * 80), DAMAGED),
    refused("plain gz", "A plain file named .gz.",
            lambda scene: _misnamed(scene, "x.nii", "a.nii.gz"),
            "named .gz but not compressed; rename it to .nii", "a.nii.gz"),
    refused("packed nii", "A compressed file named .nii.",
            lambda scene: _misnamed(scene, "x.nii.gz", "a.nii"),
            "compressed but not named .gz; rename it to .nii.gz"),
    refused("pipe", "A pipe named .nii: never waited for.",
            lambda scene: os.mkfifo(scene.source / "a.nii"),
            "expected a regular file, found a folder, pipe, socket or device"),
    refused("4-D", "Four axes, such as a series in time.",
            volume("a.nii", lambda: values((6, 5, 4, 7))),
            f"{AXES} (6, 5, 4, 7); {NIFTI_CHANNELS}"),
    refused("2-D", "Two axes.", volume("a.nii", lambda: values((6, 5))),
            f"{AXES} (6, 5); {NIFTI_CHANNELS}"),
    refused("NaN", "NaN among the values.",
            volume("a.nii", lambda: np.full(SHAPE, np.nan, np.float32)),
            "holds NaN or infinite values; set them to 0"),
    refused("infinite slope", "A slope that makes all values infinite.",
            patched("a.nii", (112, floats(3e38, 3e38))),
            "holds NaN or infinite values; set them to 0"),
    refused("complex", "Complex values.", volume("a.nii", lambda: np.ones(SHAPE, np.complex64)),
            f"expected real numbers, found complex64; {NIFTI_CHANNELS}"),
    refused("RGB", "RGB voxels.", volume("a.nii", _rgb),
            f"expected real numbers, found RGB; {NIFTI_CHANNELS}"),
    refused("huge", "A header that claims 1,024,000,000,000 voxels.",
            patched("a.nii", sized(32000, 32000, 1000)), f"claims (32000, 32000, 1000) {MOST}"),
    refused("long", "A header that claims 64,000,000,000 voxels, no side above 4,096.",
            patched("a.nii", sized(4000, 4000, 4000)), f"claims (4000, 4000, 4000) {MOST}"),
    refused("negative", "A header of a negative size.", patched("a.nii", sized(24, -20, 6)),
            f"claims (24, -20, 6) {MOST}"),
    refused("no place", "Neither qform nor sform.", _unplaced,
            "neither qform nor sform is set, so its orientation is unknown; convert it from its "
            "DICOM files again, or set what a file of the same scan has"),
    refused("two places", "qform against sform.", _disagreeing,
            "qform and sform disagree; set them to one of the two"),
    refused("no rotation", "A qform that is no rotation.",
            patched("a.nii", (252, b"\1\0"), (256, floats(1, 1, 1))),
            "its qform is no rotation"),
    refused("sheared", "A sheared grid.",
            volume("a.nii", affine=_with((0, 1), 0.3), qform_code=0),
            "its affine is sheared; resample it onto a rectangular grid"),
    refused("flat", "An axis without length.",
            patched("a.nii", (252, bytes(2)), (312, floats(0, 0, 0, -40))),
            "its affine has an axis without length"),
    refused("NaN place", "NaN in the affine.",
            volume("a.nii", affine=_with((0, 3), np.nan), qform_code=0),
            "its affine has an axis without length"),
    Row("huge voxels", "Voxels of 900 mm.", _voxels_of("a.nii", 1000), 3,
        "a: 20 x 24 pixels of 900 x 900 mm are 6 slices of 19200 x 23040 of the model's 0.9375 mm: "
        f"expected at most 4096 a side and 134217728 voxels; {SPACING}", OTHERS_DONE),
    Row("tiny voxels", "Voxels of 0.9 micrometres: those of a file in metres that does not say so.",
        _voxels_of("a.nii", 0.001), 3,
        f"a: 20 x 24 pixels of 0.0009 x 0.0009 mm: expected 0.029 mm or more; {SPACING}",
        OTHERS_DONE),
    refused("T1 alone", "A T1 without its FLAIR.", volume("p_t1.nii"), FLAIR_MISSING, "p_t1.nii"),
    refused("T1 within", "A T1 that says so, though not at its name's end, as dcm2niix names it.",
            volume("p_T1_post_4.nii"),
            "T1 in its name, so it is not taken for FLAIR; expected a name ending in _flair, or in "
            "_t1 or _t1c beside one that does", "p_T1_post_4.nii"),
    Row("two T1", "T1 before and after contrast without FLAIR.",
        lambda scene: _save_all(scene, "p_t1.nii", "p_t1c.nii"), 3,
        f"p: p_t1.nii: {FLAIR_MISSING}", OTHERS_DONE),
    Row("numbered channels", "Files that differ in a number alone, as the channels of nnU-Net.",
        lambda scene: _save_all(scene, "p_0000.nii", "p_0001.nii"), 3,
        "p: p_0000.nii: with p_0001.nii it may be two sequences of one patient, as in nnU-Net; "
        "expected names that end in _t1, _flair and _t1c, or in _flair for FLAIR of a patient each",
        OTHERS_DONE),
    Row("beside", "A map and a label of no known word beside their patient's FLAIR.",
        lambda scene: _save_all(scene, "p_flair.nii", "p_ADC.nii", "p_tumor.nii"), 0, "",
        LEFT_OUT, (ALONE,)),
    Row("derivatives", "The derivatives of a BIDS dataset.",
        lambda scene: (scene.put("dataset_description.json", b"{}"),
                       _save_all(scene, "sub-1_FLAIR.nii", "derivatives/x/sub-1_FLAIR.nii")), 0, "",
        LEFT_OUT, (ALONE,)),
    Row("two FLAIR", "Two FLAIR files of one patient.",
        lambda scene: _save_all(scene, "p_flair.nii", "p-flair.nii"), 3,
        "p: p_flair.nii: a second flair", OTHERS_DONE),
    Row("4-D beside", "Four axes beside other sequences.",
        lambda scene: (save(scene.source / "p_flair.nii", values((6, 5, 4, 3))),
                       save(scene.source / "p_t1.nii", values())), 3,
        "p: p_flair.nii: expected three axes beside other sequences", OTHERS_DONE),
    Row("zero slope", "A slope of zero: by the standard no scaling.",
        patched("a.nii", (112, floats(0, 3))), 0, "", DONE, (ALONE,)),
    Row("gzip bomb", "A gzip stream that goes on for 64 MiB: no more is kept than is claimed.",
        _bomb, 0, "", DONE, (ALONE,)),
    Row("extension", "An extension of seven bytes, before a gzip stream that goes on for 64 MiB.",
        _extended, 3, "a: a.nii.gz: an extension of 7 bytes, expected 16 or more that end before "
        "its voxels; copy the file again", OTHERS_DONE),
    Row("T1 elsewhere", "A T1 that covers half of the head in FLAIR.",
        lambda scene: (save(scene.source / "p_flair.nii", values()),
                       save(scene.source / "p_t1.nii", values(), _with((2, 3), -25.0))), 0, "",
        DONE, ("pre-contrast sequence covers 50% of the head in FLAIR; FLAIR in its place",
               "no post-contrast sequence; FLAIR in its place")),
    Row("metres", "A file in metres, whose header says so.",
        volume("a.nii", affine=np.diag([0.001, 0.001, 0.001, 1]) @ RAS, xyzt_units=1), 0, "", DONE,
        (ALONE,)),
    Row("micrometres", "A file in micrometres, whose header says so.",
        volume("a.nii", affine=np.diag([1000, 1000, 1000, 1]) @ RAS, xyzt_units=3), 0, "", DONE,
        (ALONE,)),
    Row("name in t1", "A name that ends like a sequence, with no separator before it.",
        volume("patient1.nii"), 0, "", DONE, (ALONE,)),
    Row("mask", "A file `*_mask.nii.gz`.", volume("a_mask.nii.gz"), 0, "", SKIPPED),
    Row("SEG of NIfTI", "A DICOM SEG asked for NIfTI.",
        lambda scene: (volume("a.nii")(scene), (scene.source / "good/good_1.png").unlink()), 2,
        "lgg-infer: --output-type dicom-seg: not for NIfTI", NOTHING_MADE,
        command=(*INFER, "-ot", "dicom-seg")),
    Row("scores of NIfTI", "With --evaluate, a mask beside NIfTI.",
        lambda scene: (volume("a.nii")(scene), volume("a_mask.nii")(scene),
                       (scene.source / "good/good_1.png").unlink()), 2,
        "lgg-infer: --evaluate: masks beside pictures of slices are scored, DICOM and NIfTI are "
        "not",
        NOTHING_MADE, command=(*INFER, "--evaluate")),
)  # fmt: skip

SECTION = Section(
    "NIfTI",
    "A file is one volume of three channels or of FLAIR alone, or one file a sequence, told by "
    "the ends of their names.",
    ROWS,
)
