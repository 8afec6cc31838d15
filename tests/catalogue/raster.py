"""Rows about TIFF, PNG and JPEG files."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable

import numpy as np

from catalogue.keepings import (
    DONE,
    MASK,
    OTHERS_DONE,
    masks_of_size,
    require_good,
    require_reasons,
)
from catalogue.raster_bytes import (
    GREY,
    JPEG,
    OPAQUE,
    PIXELS,
    jpeg_of,
    png,
    tiff,
    turned_jpeg,
)
from catalogue.row import GOOD, INFER, Keeping, Outcome, Row, Scene, Section
from lgg_runtime.volume import FLAIR
from stand_ins.encodings import (
    PNG_START,
    chained_tiff,
    chunk,
    encode,
    looping,
    patched,
    repeating_tiff,
    sharing,
)
from stand_ins.runs import LESION, draw_slice, read_png

Bytes = Callable[[], bytes]
COPY = "copy the file again"
SCALING = "and their scaling to 0..255 is not declared; convert to 8 bits"
ONE_PAGE = "save a file a slice, its three channels as RGB"
CHANNELS = "save FLAIR alone, or the three channels pre-contrast, FLAIR, post-contrast"
REMEDY = "save it uncompressed, or with LZW or deflate"
ONE_CHANNEL = "one channel, taken as FLAIR"
MIXED = "the study's slices differ in size; those of one size are one volume"
TOO_LARGE = "at most 67108864 pixels in 536870912 bytes are read"


def refused(name: str, what: str, data: Bytes, reason: str, suffix: str = ".tif") -> Row:
    """A file that is refused in one line while the good slice beside it is done."""
    file = f"bad{suffix}"
    return Row(
        name, what, lambda scene: scene.put(file, data()), 3, f"{file}: {reason}", OTHERS_DONE
    )


def done(name: str, what: str, data: Bytes, *notes: str, suffix: str = ".tif") -> Row:
    """A file that is unusual and read."""
    keeps = masks_of_size(*PIXELS.shape[:2])
    return Row(name, what, lambda scene: scene.put(f"odd{suffix}", data()), 0, "", keeps, notes)


def bits(depth: str) -> str:
    return f"expected 8-bit unsigned samples, found {depth} samples, {SCALING}"


def _put_pair(scene: Scene, **masks: bytes) -> None:
    """A slice with reference masks beside it, and the good one with a right mask of its own."""
    scene.put("odd_1.png", encode(".png", PIXELS))
    for suffix, data in masks.items():
        scene.put(f"odd_1_mask.{suffix}", data)
    scene.put(
        GOOD.replace(".png", "_mask.png"), encode(".png", draw_slice(LESION)[..., FLAIR] // 200)
    )


def _slice_is_not_scored(outcome: Outcome, row: Row) -> None:
    require_good(outcome)
    require_reasons(outcome, row)
    assert outcome.results == [MASK, "odd_1_mask.png"]
    assert [entry["name"] for entry in outcome.fates("done")] == [GOOD, "odd_1.png"]
    dice = outcome.run["metrics"]["per_patient_dice"]
    assert (dice["patients"], dice["mean"]) == (1, 1)


def _three_of_four(scene: Scene) -> None:
    for number in (1, 2, 4):
        scene.put(f"odd_{number}.png", encode(".png", PIXELS))


def _gap_is_noted(outcome: Outcome, row: Row) -> None:
    require_good(outcome)
    assert outcome.results == [MASK, *(f"odd_{number}_mask.png" for number in (1, 2, 4))]
    notes = {entry["name"]: tuple(entry["notes"]) for entry in outcome.fates("done")}
    assert notes == {GOOD: (), "odd_1.png": (), "odd_2.png": (), "odd_4.png": row.notes}


def _no_mask_is_taken(outcome: Outcome, row: Row) -> None:
    require_good(outcome)
    assert outcome.results == [MASK]
    assert outcome.run["counts"]["skipped_masks"] == 1


def _one_patient(outcome: Outcome, row: Row) -> None:
    DONE.check(outcome, row)
    assert [patient["name"] for patient in outcome.run["patients"]] == ["odd", "good"]
    assert read_png(outcome.scene.out / "odd_2_mask.png").shape == (33, 41)


def _empty_mask(outcome: Outcome, row: Row) -> None:
    DONE.check(outcome, row)
    assert not read_png(outcome.scene.out / "odd_mask.png").any()
    assert np.isfinite(read_png(outcome.scene.out / "odd_probability.tif")).all()


def _constant(scene: Scene) -> None:
    scene.put("odd.png", encode(".png", np.full_like(PIXELS, 77)))


def _mixed_sizes(scene: Scene) -> None:
    scene.put("odd_1.png", encode(".png", PIXELS))
    scene.put("odd_2.png", encode(".png", draw_slice(size=(33, 41))))


def _huge_file(scene: Scene) -> None:
    """512 MiB and a byte, none of which is stored."""
    os.truncate(scene.put("bad.tif", b"II*\0"), 2**29 + 1)


def _bomb() -> bytes:
    """Deflated zeros far beyond the 5,760 bytes of the strip."""
    data, packed = tiff(compression="zlib"), zlib.compress(bytes(2**26), 1)
    return patched(patched(data + packed, 273, "<I", len(data)), 279, "<I", len(packed))


def _huge_tile() -> bytes:
    data = tiff(PIXELS[:16, :16], tile=(16, 16))
    return patched(patched(data, 322, "<H", 65520), 323, "<H", 65520)


EVALUATE = (*INFER, "--evaluate")
UNSCORED = Keeping(
    "The slice is done and not scored; `run.json` has the reason under the mask's name.",
    _slice_is_not_scored,
)
DAMAGED = (
    refused("empty", "An empty file.", lambda: b"",
            f"expected TIFF, PNG or JPEG, found an empty file; {COPY}"),
    refused("cut tiff", "A TIFF cut in half.", lambda: tiff()[: len(tiff()) // 2],
            f"TIFF is cut short or damaged: a strip or tile ends outside the file; {COPY}"),
    refused("short strip", "A TIFF whose strip holds fewer bytes than its pixels need.",
            lambda: patched(tiff(), 279, "<I", 5000),
            "TIFF is cut short or damaged: strip or tile 0 gives 5000 of 5760 bytes; " + COPY),
    refused("damaged lzw", "A TIFF with LZW data that contradict themselves.",
            lambda: patched(tiff(compression="zlib"), 259, "<H", 5),
            f"TIFF is damaged: a strip or tile does not follow its compression; {COPY}"),
    refused("damaged packbits", "A TIFF with PackBits data that end early.",
            lambda: patched(tiff(), 259, "<H", 32773),
            "TIFF is cut short or damaged: strip or tile 0 gives 5030 of 5760 bytes; " + COPY),
    refused("shared strips", "A TIFF whose strips are one stream, which may take hours.",
            lambda: sharing(tiff(rowsperstrip=10, compression="zlib")),
            "TIFF whose strips or tiles share their bytes is not read; " + REMEDY),
    refused("cut png", "A PNG cut in half.", lambda: png()[: len(png()) // 2],
            f"PNG is cut short or damaged; {COPY}", ".png"),
    refused("flipped png", "A PNG with one bit changed.",
            lambda: png().replace(b"IDAT\x78", b"IDAT\x79"),
            f"PNG is cut short or damaged; {COPY}: the check sum of a chunk is wrong", ".png"),
    refused("png without pixels", "A PNG without a chunk of pixels.",
            lambda: png()[:33] + chunk(b"IEND"),
            f"PNG is cut short or damaged; {COPY}: its header is no valid one", ".png"),
    refused("png with two headers", "A PNG with two header chunks.", lambda: png(png()[8:33]),
            f"PNG is cut short or damaged; {COPY}: its header chunk is wrong", ".png"),
    refused("png of fewer rows", "A PNG whose pixels are fewer than its header says.",
            lambda: png(size=(48, 400)), "PNG cannot be decoded; is it damaged?", ".png"),
    refused("png of more rows", "A PNG whose pixels are more than its header says.",
            lambda: png(size=(48, 20)), "PNG cannot be decoded; is it damaged?", ".png"),
    refused("png of no stream", "A PNG whose pixels do not follow their compression.",
            lambda: png()[:33] + chunk(b"IDAT", b"no stream") + chunk(b"IEND"),
            "PNG cannot be decoded; is it damaged?", ".png"),
    refused("cut jpeg", "A JPEG cut short.", lambda: JPEG[:-40],
            f"JPEG is cut short or damaged; {COPY}: its end marker is missing", ".jpg"),
    refused("jpeg without tables", "A JPEG without its tables.",
            lambda: JPEG[:2] + JPEG[JPEG.index(b"\xff\xc0") :],
            "JPEG cannot be decoded; is it damaged?", ".jpg"),
    refused("jpeg of 101 scans", "A JPEG of more scans than any needs, which may take hours.",
            lambda: JPEG[:-2] + b"\xff\xda\0\2" * 100 + b"\xff\xd9",
            "JPEG of more than 100 scans; save it as baseline JPEG", ".jpg"),
    refused("jpeg of nothing", "A JPEG that holds no picture.", lambda: b"\xff\xd8\xff\xd9",
            f"JPEG is cut short or damaged; {COPY}: it holds no picture", ".jpg"),
    refused("looping pages", "A TIFF whose list of pages loops.", lambda: looping(tiff()),
            "TIFF is cut short or damaged: its list of pages loops; export it again"),
)  # fmt: skip

SAMPLES = (
    refused("16-bit tiff", "A 16-bit TIFF without a declared scaling.",
            lambda: tiff(PIXELS.astype(np.uint16)), bits("16-bit unsigned")),
    refused("16-bit png", "A 16-bit PNG.", lambda: encode(".png", PIXELS.astype(np.uint16)),
            bits("16-bit unsigned"), ".png"),
    refused("float with nan", "A float TIFF with NaN.",
            lambda: tiff(np.where(PIXELS > 0, np.nan, PIXELS.astype(np.float32))),
            bits("32-bit float")),
    refused("float with inf", "A float TIFF with infinite values.",
            lambda: tiff(np.where(PIXELS > 0, np.inf, PIXELS.astype(np.float32))),
            bits("32-bit float")),
    refused("signed", "A TIFF of signed samples.", lambda: tiff(PIXELS.astype(np.int8)),
            bits("8-bit signed")),
    refused("mixed depths", "A TIFF whose samples have different depths.",
            lambda: patched(tiff(), 258, "<3H", 8, 8, 16),
            "TIFF samples of different depths; expected 8-bit samples throughout"),
    refused("cmyk jpeg", "A CMYK JPEG.", lambda: jpeg_of(parts=4),
            "expected grey, RGB or palette colour, found CMYK; convert to RGB", ".jpg"),
    refused("cmyk tiff", "A CMYK TIFF.", lambda: tiff(OPAQUE, photometric="separated"),
            "expected grey, RGB or palette colour, found CMYK; convert to RGB"),
    refused("lab tiff", "A CIELAB TIFF.", lambda: tiff(PIXELS, photometric="cielab"),
            "expected grey, RGB or palette colour, found TIFF photometric 8; convert to RGB"),
    refused("two channels", "Two channels.", lambda: png(colour=4),
            "expected one or three channels, found 2 of grey with transparency; " + CHANNELS,
            ".png"),
    refused("five channels", "Five channels.",
            lambda: tiff(np.dstack([PIXELS, PIXELS[..., :2]]), photometric=1, planarconfig=1),
            f"expected one or three channels, found 5 of grey; {CHANNELS}"),
    refused("transparent", "RGBA that is not opaque.",
            lambda: encode(".png", np.dstack([PIXELS, GREY])),
            "its alpha channel is not opaque; flatten it onto a background", ".png"),
    refused("short palette", "A palette with too few entries.",
            lambda: patched(patched(tiff(GREY, photometric="palette",
                                         colormap=np.zeros((3, 256), np.uint16)), 258, "<H", 4),
                            256, "<H", 2 * GREY.shape[1]),
            "TIFF is damaged: its palette has 768 values"),
    refused("pages", "A TIFF of four pages.", lambda: tiff(np.stack([PIXELS] * 4)),
            "expected one page, found 4; " + ONE_PAGE),
    refused("moving png", "An animated PNG.",
            lambda: png(chunk(b"acTL", struct.pack(">II", 2, 0))),
            "expected one page, found 2; " + ONE_PAGE, ".png"),
    refused("zstd", "A TIFF in a compression that is not read.",
            lambda: patched(tiff(), 259, "<H", 50000),
            f"TIFF compression ZSTD is not read; {REMEDY}"),
    refused("unknown compression", "A TIFF in a compression that nobody knows.",
            lambda: patched(tiff(), 259, "<H", 4711),
            f"TIFF compression 4711 is not read; {REMEDY}"),
    refused("lossless jpeg", "A JPEG of another process than baseline or progressive.",
            lambda: jpeg_of(0xC3), "JPEG process 0xC3 is not read; save it as baseline JPEG",
            ".jpg"),
    refused("png of a telephone", "A PNG with a critical chunk of no standard.",
            lambda: png(chunk(b"CgBI", bytes(4))),
            "PNG with a critical chunk of no standard; save it as plain PNG", ".png"),
)  # fmt: skip

CLAIMS = (
    refused("huge png", "A PNG header that claims 60000 x 60000.",
            lambda: PNG_START + png(size=(60000, 60000))[8:],
            f"its header claims 60000x60000 pixels of 3 samples; {TOO_LARGE}", ".png"),
    refused("huge jpeg", "A JPEG header that claims 60000 x 60000.",
            lambda: jpeg_of(size=(60000, 60000)),
            f"its header claims 60000x60000 pixels of 3 samples; {TOO_LARGE}", ".jpg"),
    refused("huge tiff", "A TIFF header that claims four thousand million columns.",
            lambda: patched(tiff(), 256, "<I", 2**32 - 1),
            f"its header claims 4294967295x40 pixels of 3 samples; {TOO_LARGE}"),
    refused("huge samples", "A TIFF that claims 60000 samples a pixel.",
            lambda: patched(patched(tiff(GREY), 277, "<H", 60000), 257, "<I", 4000),
            f"its header claims 48x4000 pixels of 60000 samples; {TOO_LARGE}"),
    refused("huge tile", "A TIFF tile of 65520 rows and columns.",
            _huge_tile,
            f"its header claims 65520x65520 pixels of 3 samples; {TOO_LARGE}"),
    Row("huge file", "A file of 512 MiB and a byte.", _huge_file, 3,
        "bad.tif: holds 536870913 bytes; at most 536870912 are read", OTHERS_DONE),
    refused("many pages", "A TIFF of 65,536 pages.", lambda: chained_tiff(65_536),
            "expected one page, found more than 65535; " + ONE_PAGE),
    refused("one field", "A TIFF of a million values that one field claims again and again.",
            lambda: repeating_tiff(65_535),
            "TIFF is cut short or damaged: its fields have more than 4194304 values; export it "
            "again"),
    refused("deflate bomb", "A TIFF strip that inflates to 64 MiB.", _bomb,
            "TIFF is damaged: a strip or tile does not follow its compression; " + COPY),
    done("text bomb", "A PNG with a text chunk that inflates to 64 MiB.",
         lambda: png(chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2**26), 1))), suffix=".png"),
)  # fmt: skip


READ = (
    done("one channel", "One channel: taken as FLAIR.", lambda: tiff(GREY), ONE_CHANNEL),
    done("opaque", "RGBA that is opaque: alpha dropped.", lambda: encode(".png", OPAQUE),
         "opaque alpha dropped", suffix=".png"),
    done("palette", "A palette PNG: expanded.",
         lambda: png(chunk(b"PLTE", np.repeat(np.arange(256, dtype=np.uint8), 3).tobytes()),
                     colour=3),
         "palette expanded", suffix=".png"),
    done("tiles", "A tiled TIFF.", lambda: tiff(tile=(16, 16))),
    done("bigtiff", "A BigTIFF.", lambda: tiff(bigtiff=True)),
    done("turned", "A JPEG with an EXIF rotation: ignored.", turned_jpeg,
         "EXIF orientation 6 ignored", suffix=".jpg"),
    done("another suffix", "A TIFF named .png: read by its content.", tiff,
         "suffix .png but the content is TIFF", suffix=".png"),
    Row("1x1", "A picture of 1 x 1.",
        lambda scene: scene.put("odd.png", encode(".png", PIXELS[:1, :1])), 0, "",
        masks_of_size(1, 1)),
    Row("odd size", "A picture of 255 x 257: padded for the model and cut back.",
        lambda scene: scene.put("odd.png", encode(".png", draw_slice(size=(255, 257)))), 0, "",
        masks_of_size(255, 257)),
    Row("constant", "A picture of one value.", _constant, 0, "",
        Keeping("An empty mask, and probabilities that are numbers.", _empty_mask),
        command=(*INFER, "--save-probabilities")),
    Row("mixed sizes", "Slices of one patient that differ in size.", _mixed_sizes, 0, "",
        Keeping("Masks of each slice's size; one patient in the summary; `run.json` notes it.",
                _one_patient), (MIXED,)),
    Row("number missing", "A patient's slices 1, 2 and 4 without 3.", _three_of_four, 0, "",
        Keeping("All are done, 2 and 4 as neighbours; a warning, a note in `run.json`.",
                _gap_is_noted),
        ("missing before it: 3; the slices on both sides are taken as neighbours",)),
    refused("gif", "A GIF named .png.", lambda: b"GIF89a" + bytes(20),
            "expected TIFF, PNG or JPEG content, found GIF", ".png"),
    refused("dicom named png", "A DICOM file named .png.", lambda: bytes(128) + b"DICM",
            "expected TIFF, PNG or JPEG content, found DICOM", ".png"),
    refused("text named png", "A text named .png.", lambda: b"hello",
            "expected TIFF, PNG or JPEG content, found neither; is it an image, and whole?",
            ".png"),
)  # fmt: skip

MASKS = (
    Row("mask", "A file `*_mask.tif` among the inputs.",
        lambda scene: scene.put("good/good_1_mask.tif", tiff(GREY)), 0, "",
        Keeping("Never taken for a slice; counted in `run.json`.", _no_mask_is_taken)),
    Row("mask of another size", "With --evaluate, a mask of another size.",
        lambda scene: _put_pair(scene, png=encode(".png", GREY[1:])), 3,
        "odd_1_mask.png: mask is (39, 48), its slice (40, 48)", UNSCORED, command=EVALUATE),
    Row("mask of colours", "With --evaluate, a mask whose three channels differ.",
        lambda scene: _put_pair(scene, png=encode(".png", draw_slice(LESION))), 3,
        "odd_1_mask.png: expected a mask of one channel, found three that differ; save it as grey, "
        "tumour white on black", UNSCORED, command=EVALUATE),
    Row("damaged mask", "With --evaluate, a damaged mask.",
        lambda scene: _put_pair(scene, tif=tiff(GREY)[:90]), 3,
        "odd_1_mask.tif: TIFF is cut short or damaged: its directory lies outside the file; "
        f"{COPY}", UNSCORED, command=EVALUATE),
    Row("two masks", "With --evaluate, two masks of one slice.",
        lambda scene: _put_pair(scene, png=encode(".png", GREY), tif=tiff(GREY)), 3,
        "odd_1_mask.png: odd_1_mask.tif claims the same slice; keep one",
        UNSCORED, command=EVALUATE),
)  # fmt: skip

SECTION = Section(
    "Pictures",
    "TIFF, PNG and JPEG are told by their content, never by their name. A picture is read whole "
    "or not at all, and nothing is decoded before its header was believed. What is overwritten "
    "inside the coded pixels of a JPEG, which have no check sum, nobody can tell.",
    (*DAMAGED, *SAMPLES, *CLAIMS, *READ, *MASKS),
)
