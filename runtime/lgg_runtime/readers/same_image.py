"""Whether two encodings hold one image: a transfer syntax is no content (PS3.5, 10)."""

from __future__ import annotations

import io
from itertools import starmap
from pathlib import Path
from typing import Any

import numpy as np

from lgg_runtime.readers.dicom_files import damage, load_pydicom
from lgg_runtime.readers.same_pixels import have_same_compressed_pixels, have_same_pixels

_PIXELS = 0x7FE0
_PADDING = 0xFFFCFFFC
_DERIVATION = 0x00082111
# The size of a number by its value representation, where it is more than a byte: PS3.5, 7.3.
_NUMBER_BYTES = {
    **dict.fromkeys(("AT", "OW", "SS", "US"), 2),
    **dict.fromkeys(("FL", "OF", "OL", "SL", "UL"), 4),
    **dict.fromkeys(("FD", "OD", "OV", "SV", "UV"), 8),
}


def is_same_image(kept: Path, came: bytes) -> bool:
    """Whether a file and the bytes of another, both as of PS3.10, hold the same attributes and
    the same pixels after decoding.

    What cannot be decoded is not the same. Not compared are group lengths, which PS3.5, 7.2
    retired, and what follows the pixels: padding and signatures. DerivationDescription, in which
    encoders say what they did, is compared within one transfer syntax alone.
    """
    read = load_pydicom().dcmread
    try:
        headers = [read(file, stop_before_pixels=True) for file in (kept, io.BytesIO(came))]
        syntaxes = [header.file_meta.TransferSyntaxUID for header in headers]
        if syntaxes[0] != syntaxes[1]:
            for header in headers:
                header.pop(_DERIVATION, None)
        if not _are_same(*headers):
            return False
        if any(syntax.is_encapsulated for syntax in syntaxes):
            return have_same_compressed_pixels(kept, came)
        return have_same_pixels(kept, came)
    except damage():  # or another number of items or frames
        return False


def _are_same(first: Any, second: Any) -> bool:
    """Whether two data sets, or items of a sequence, have the same elements."""
    tags = [
        [
            tag
            for tag in sorted(data.keys())
            if tag.element != 0 and tag.group != _PIXELS and tag != _PADDING
        ]
        for data in (first, second)
    ]
    return tags[0] == tags[1] and all(_agree_on(tag, first, second) for tag in tags[0])


def _agree_on(tag: Any, first: Any, second: Any) -> bool:
    """Whether both have the same value of an attribute: as encoded, or else as parsed."""
    # Before they are parsed, which replaces what was encoded.
    encoded = [_in_little_endian(data.get_item(tag)) for data in (first, second)]
    one, other = first[tag], second[tag]
    if "SQ" in (one.VR, other.VR):
        return all(starmap(_are_same, zip(_items_of(one), _items_of(other), strict=True)))
    # NaN too, which equals nothing, and private values, whose VR implicit VR does not tell.
    if encoded[0] == encoded[1]:
        return True
    is_parsed = one.VR == other.VR and not isinstance(one.value, bytes)
    return bool(is_parsed and one.value == other.value)


def _in_little_endian(element: Any) -> Any:
    """The encoded value of an element, which Explicit VR Big Endian alone has in another order.

    The parsed value of one that was parsed with the header.
    """
    value = element.value
    if not value and not isinstance(value, int | float):  # an empty one may be None or text
        value = b""
    size = _NUMBER_BYTES.get(element.VR)
    if size is None or getattr(element, "is_little_endian", True):
        return value
    return np.frombuffer(value, f"u{size}").byteswap().tobytes()


def _items_of(element: Any) -> Any:
    """A sequence of unknown VR is encoded as in Implicit VR Little Endian (PS3.5, 6.2.2)."""
    from pydicom.values import convert_SQ

    return element.value if element.VR == "SQ" else convert_SQ(element.value or b"", True, True)
