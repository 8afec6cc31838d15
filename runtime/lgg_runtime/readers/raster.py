"""TIFF, PNG and JPEG files as slices and masks.

A slice is read whole or not at all: the header is checked against the same bytes that are decoded
afterwards. What was decided about a file, without anything being lost, is recorded in notes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from lgg_runtime.errors import InputError, naming, printable
from lgg_runtime.exhausted import is_memory_exhausted
from lgg_runtime.readers.png import pixel_chunks
from lgg_runtime.readers.raster_header import Header, Limits, read_header
from lgg_runtime.readers.regular import read_bounded
from lgg_runtime.readers.tiff import ONE_PAGE, Layout
from lgg_runtime.readers.tiff_pixels import read_pixels
from lgg_runtime.volume import CHANNELS, Pixels

_FORMATS = {".tif": "TIFF", ".tiff": "TIFF", ".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}
SUFFIXES = frozenset(_FORMATS)  # in lower case
DEFAULT_LIMITS = Limits()
# What to save in place of another number of channels.
_OF_SLICE = f"save FLAIR alone, or the three channels {', '.join(CHANNELS)}"
_OF_MASK = "save the mask as grey, without transparency"

_READ = {  # colour, samples, has_alpha
    ("grey", 1, False),
    ("grey", 3, False),
    ("inverted grey", 1, False),
    ("palette", 1, False),
    ("palette", 1, True),
    ("RGB", 3, False),
    ("RGB", 3, True),
    ("RGB", 4, True),
}

# OpenCV logs each bad file to standard error, where a user shall see the one line of ours. Its
# level is one for the process, so it is set once and not switched around calls in threads.
if hasattr(cv2, "setLogLevel"):
    cv2.setLogLevel(0)  # OpenCV 4
else:
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


@dataclass(frozen=True, eq=False)
class Slice:
    """pixels: (H, W, 3) uint8; pre-contrast, FLAIR, post-contrast. notes: what was recorded."""

    pixels: Pixels
    notes: tuple[str, ...]


def read_raster(path: Path | str, limits: Limits = DEFAULT_LIMITS) -> Slice:
    """One slice with the notes on how it was read; one channel is taken as FLAIR for all three.

    Raises InputError, `NAME: reason`, for every file that is not one whole 8-bit picture; where the
    memory ends, an error that `is_memory_exhausted` knows.
    """
    path = Path(path)
    with naming(_name(path)):
        image, notes = _load(path, limits, _OF_SLICE)
        if image.shape[2] == 1:
            image = np.repeat(image, len(CHANNELS), axis=2)
            notes += ("one channel, taken as FLAIR",)
        return Slice(image, notes)


def read_slice(path: Path | str) -> Pixels:
    """The (H, W, 3) uint8 pixels of `read_raster`."""
    return read_raster(path).pixels


def read_mask(path: Path | str) -> Pixels:
    """(H, W) uint8, the values as they are; three channels have to be equal.

    Raises InputError as `read_raster` does.
    """
    path = Path(path)
    with naming(_name(path)):
        image, _ = _load(path, DEFAULT_LIMITS, _OF_MASK)
        if not (image == image[..., :1]).all():
            raise InputError(
                "expected a mask of one channel, found three that differ; save it as grey, tumour "
                "white on black"
            )
        return np.ascontiguousarray(image[..., 0])


def _name(path: Path) -> str:
    return printable(path.name or str(path))


def _load(path: Path, limits: Limits, remedy: str) -> tuple[Pixels, tuple[str, ...]]:
    """(H, W, 1 or 3) uint8, RGB, and the notes; remedy: for another number of channels."""
    data = read_bounded(path, limits.max_bytes)
    header = read_header(data, limits)
    _refuse_unfit(header, remedy)
    if header.layout is None:
        image = _decode(data, header)
    else:
        image = _finish_tiff(read_pixels(data, header.layout), header.layout, header.colour)
    if header.has_alpha:
        if not (image[..., 3] == 255).all():
            raise InputError("its alpha channel is not opaque; flatten it onto a background")
        image = np.ascontiguousarray(image[..., :3])
    return image, _notes(path, header)


def _refuse_unfit(header: Header, remedy: str) -> None:
    """Raises InputError unless the file holds one picture of 8-bit grey or RGB."""
    kind = f"{header.bits}-bit {header.sample_format} samples"
    what = (header.colour, header.samples, header.has_alpha)
    table = (
        (header.pages != 1, f"expected one page, found {header.pages}; {ONE_PAGE}"),
        (
            header.sample_format != "unsigned" or header.bits > 8,
            f"expected 8-bit unsigned samples, found {kind}, and their scaling to 0..255 "
            "is not declared; convert to 8 bits",
        ),
        (
            header.colour not in {colour for colour, _, _ in _READ},
            f"expected grey, RGB or palette colour, found {header.colour}; convert to RGB",
        ),
        (
            what not in _READ,
            f"expected one or three channels, found {header.samples} of {header.colour}"
            f"{' with transparency' if header.has_alpha else ''}; {remedy}",
        ),
    )
    for is_unfit, reason in table:
        if is_unfit:
            raise InputError(reason)


def _decode(data: bytes, header: Header) -> Pixels:
    """(H, W, C) uint8 in RGB order, of a PNG or JPEG."""
    if header.format == "PNG":
        data = pixel_chunks(data, header)
    try:
        # UNCHANGED keeps alpha for the check above, and never turns by the EXIF orientation.
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        if is_memory_exhausted(error):  # which is not the picture's fault
            raise
        raise InputError(f"{header.format} cannot be decoded: OpenCV refuses it") from error
    if image is None:
        raise InputError(f"{header.format} cannot be decoded; is it damaged?")
    is_colour = header.colour != "grey"
    expected = (header.height, header.width) + ((3 + header.has_alpha,) if is_colour else ())
    if image.dtype != np.uint8 or image.shape != expected:
        raise InputError(
            f"{header.format} is damaged: expected {expected} by its header, "
            f"decoded {image.shape} of {image.dtype}"
        )
    if not is_colour:
        return np.asarray(image, np.uint8)[..., np.newaxis]
    order = cv2.COLOR_BGRA2RGBA if header.has_alpha else cv2.COLOR_BGR2RGB
    return np.asarray(cv2.cvtColor(image, order), np.uint8)


def _finish_tiff(pixels: Pixels, layout: Layout, colour: str) -> Pixels:
    top = 2**layout.bits - 1
    if colour == "palette":
        if len(layout.palette) != 3 * (top + 1):
            raise InputError(f"TIFF is damaged: its palette has {len(layout.palette)} values")
        palette = np.asarray(layout.palette).reshape(3, -1).T
        # 16-bit by the standard; as libtiff does, 8-bit where no value needs more.
        if palette.max() > 255:
            palette = palette >> 8
        return palette.astype(np.uint8)[pixels[..., 0]]
    if colour == "inverted grey":
        pixels = np.uint8(top) - pixels
    return pixels if top == 255 else pixels * np.uint8(255 // top)


def _notes(path: Path, header: Header) -> tuple[str, ...]:
    suffix = path.suffix.lower()
    shown = f"suffix {printable(suffix)}" if suffix else "no suffix"
    content = header.format.removeprefix("Big")
    said = f"{header.bits}-bit samples scaled to 0..255"
    recorded = (
        (_FORMATS.get(suffix) != content, f"{shown} but the content is {content}"),
        (1 < header.orientation <= 8, f"EXIF orientation {header.orientation} ignored"),
        (header.colour == "palette", "palette expanded"),
        (header.colour == "inverted grey", "white-is-zero inverted"),
        (header.bits < 8 and header.colour != "palette", said),
        (header.colour == "grey" and header.samples == 3, "three samples not marked as RGB"),
        (header.has_alpha, "opaque alpha dropped"),
    )
    return tuple(note for is_so, note in recorded if is_so)
