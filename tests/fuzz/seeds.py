"""Small valid inputs of every reader and parser, made by code, for the fuzzer to change."""

from __future__ import annotations

import gzip
import io
import json
from dataclasses import asdict

import cv2
import nibabel
import numpy as np
import tifffile
from PIL import Image

from lgg_runtime.cleanup import CleanupSettings
from lgg_runtime.contract import Contract, Golden, Training
from lgg_runtime.intensity import IntensitySettings
from lgg_runtime.metrics import Counts
from lgg_runtime.pacs.config import EXAMPLE
from lgg_runtime.run.journal import DONE, InputRecord
from lgg_runtime.run.ledger_lines import Finished, encode_line
from lgg_runtime.run.summary import SummaryRow


def draw(height: int = 8, width: int = 10) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.stack([20 * x + 3 * y, 255 - 9 * y, (x * y) % 256], 2).astype(np.uint8)


def seed_pictures() -> list[bytes]:
    """PNG and JPEG: colour, grey, palette, alpha, 16-bit, interlaced, with text and EXIF."""
    pixels = draw()
    seeds = [
        bytes(cv2.imencode(".png", picture)[1])
        for picture in (pixels, pixels[..., 0], pixels.astype(np.uint16) * 257)
    ]
    opaque = np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)])
    seeds.append(bytes(cv2.imencode(".png", opaque)[1]))
    image = Image.fromarray(pixels)
    for form, options in (
        ("JPEG", {"quality": 60}),
        ("JPEG", {"progressive": True, "exif": _exif()}),
    ):
        stream = io.BytesIO()
        image.save(stream, form, **options)
        seeds.append(stream.getvalue())
    for mode, form in (("P", "PNG"), ("1", "PNG"), ("CMYK", "JPEG"), ("L", "JPEG")):
        stream = io.BytesIO()
        image.convert(mode).save(stream, form)
        seeds.append(stream.getvalue())
    return seeds


def _exif() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif.tobytes()


def seed_tiffs() -> list[bytes]:
    """Strips and tiles, both byte orders, big and classic, compressions, planes and predictors."""
    pixels = draw(20, 24)
    choices: list[dict[str, object]] = [
        {}, {"byteorder": ">"}, {"bigtiff": True}, {"compression": "zlib"},
        {"compression": "zlib", "predictor": True}, {"planarconfig": "separate"},
        {"rowsperstrip": 3}, {"tile": (16, 16)}, {"tile": (16, 16), "compression": "zlib"},
    ]  # fmt: skip
    seeds = []
    for options in choices:
        stream = io.BytesIO()
        data = pixels
        if options.get("planarconfig") == "separate":
            data = np.ascontiguousarray(pixels.transpose(2, 0, 1))
        tifffile.imwrite(stream, data, photometric="rgb", metadata=None, **options)
        seeds.append(stream.getvalue())
    for compression in ("tiff_lzw", "packbits"):
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "TIFF", compression=compression)
        seeds.append(stream.getvalue())
    return seeds


def seed_niftis() -> list[bytes]:
    """Uncompressed, gzipped, with a slope, of three channels, of other types, with extensions."""
    seeds = []
    shape = (6, 5, 4)
    for kind in (np.uint8, np.int16, np.float32):
        values = np.arange(np.prod(shape)).reshape(shape).astype(kind)
        image = nibabel.Nifti1Image(values, np.diag([1.0, 2.0, 3.0, 1.0]))
        seeds.append(image.to_bytes())
    image.header.set_slope_inter(2.0, 1.0)
    seeds.append(image.to_bytes())
    three = nibabel.Nifti1Image(np.zeros((6, 5, 4, 3), np.uint8), np.eye(4))
    seeds.append(three.to_bytes())
    for text in (b"a note", b"another"):
        three.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", text))
    seeds.append(three.to_bytes())
    return [*seeds, *(gzip.compress(seeds[n], mtime=0) for n in (0, 2, -1))]


def seed_contracts() -> list[bytes]:
    contract = Contract(
        name="seed",
        precision="fp32",
        threshold=0.5,
        intensity=IntensitySettings(),
        cleanup=CleanupSettings(),
        training=Training("0" * 8, "1" * 8, "patient", {"train": 1}),
        golden=Golden((1, 16, 16, 3), "2" * 8, "3" * 8, (1e-9,), 1e-3),
        how_decided="by hand",
        tool_version="0",
        metrics={"test": {"dice": 0.9}},
    )
    return [contract.dumps().encode(), b"{}", b"[]", b"null", b'{"schema": 1e999}']


def seed_journals() -> list[bytes]:
    row = SummaryRow(
        "slice", "a", "a_1", True, 4, 1.5, 4, 0.75, 0.9, None, None, Counts(1, 2, 3, 4)
    )
    record = InputRecord("a_1.png", DONE, "", ("a note",), ("a_1_mask.png",))
    finished = Finished("a", {"a_1.png": "0"}, {"a_1_mask.png": "1"}, (record,), (row,))
    header = encode_line({"schema": 1, "run": {"model": "2"}})
    line = encode_line(asdict(finished))
    values = json.dumps([{"schema": 1, "run": {}}, asdict(finished)]).encode()
    return [b"=" + header + line, b"=" + header + line[:-9], b"+" + values]


def seed_settings() -> list[bytes]:
    """The node's example, and one of every section."""
    sections = ("listen", "limits", "study", "model", "retention", "http")
    short = '[node]\nspool = "/tmp/spool"\n' + "".join(f"[{name}]\n" for name in sections)
    store = '[[destination]]\nname = "a"\nkind = "c-store"\naddress = "::1"\nport = 104\n'
    return [EXAMPLE.read_bytes(), (short + store + 'ae_title = "PACS"\n').encode()]
