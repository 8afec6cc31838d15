"""Pixels of the strips or tiles of a TIFF.

Decoded here and not by OpenCV because libtiff, as OpenCV calls it, fills what is missing of a
damaged strip and returns the picture, turns it by the orientation tag whatever the flags, drops
all but the first of three samples that are not called RGB, and refuses small tiles.
"""

from __future__ import annotations

import numpy as np

from lgg_runtime.errors import InputError
from lgg_runtime.readers.tiff import COMPRESSIONS, CUT, Layout
from lgg_runtime.readers.tiff_compression import DECODERS, PREDICTED
from lgg_runtime.volume import Pixels


def read_pixels(data: bytes, layout: Layout) -> Pixels:
    """(H, W, samples) uint8; samples below 8 bits keep their values, a palette is not applied.

    Raises InputError on a compression that is not read, and unless every strip or tile gives all
    its pixels.
    """
    _refuse_unread(layout, len(data))
    rows, columns = layout.block
    down, across = -(-layout.height // rows), -(-layout.width // columns)
    depth = 1 if layout.is_planar else layout.samples
    pixels = np.empty((layout.height, layout.width, layout.samples), np.uint8)
    for index in range(len(layout.spans)):
        plane, place = divmod(index, down * across)
        y, x = place // across * rows, place % across * columns
        height = rows if layout.is_tiled else min(rows, layout.height - y)
        block = _read_block(data, layout, index, (height, columns, depth))
        target = pixels[y : y + rows, x : x + columns, plane : plane + depth]
        target[...] = block[: target.shape[0], : target.shape[1]]
    return pixels


def _read_block(data: bytes, layout: Layout, index: int, shape: tuple[int, int, int]) -> Pixels:
    rows, columns, depth = shape
    wanted = rows * ((columns * depth * layout.bits + 7) // 8)  # rows begin at whole bytes
    offset, length = layout.spans[index]
    packed = DECODERS[layout.compression](memoryview(data)[offset : offset + length], wanted)
    _refuse_surplus(layout, index, length, wanted)
    if len(packed) < wanted:
        raise InputError(
            f"{CUT}: strip or tile {index} gives {len(packed)} of {wanted} bytes; "
            "copy the file again"
        )
    block = np.frombuffer(packed, np.uint8, wanted)
    if layout.bits < 8:
        bits = np.unpackbits(block).reshape(rows, -1, layout.bits)[:, : columns * depth]
        block = bits @ (1 << np.arange(layout.bits, dtype=np.uint8)[::-1])
    block = block.reshape(shape)
    if layout.predictor == 2 and layout.compression in PREDICTED:
        block = np.cumsum(block, axis=1, dtype=np.uint8)
    return block


def _refuse_surplus(layout: Layout, index: int, length: int, wanted: int) -> None:
    """Raises InputError for plain pixels of a larger picture than the fields claim.

    Some writers fill the last strip of several up to the height of others, or each up to whole
    words.
    """
    in_a_plane = len(layout.spans) // (layout.samples if layout.is_planar else 1)
    is_last = in_a_plane > 1 and index % in_a_plane == in_a_plane - 1
    if layout.compression == 1 and length > wanted + 3 and not is_last:
        raise InputError(
            f"{CUT}: strip or tile {index} holds {length} bytes, its pixels are {wanted}; "
            "copy the file again"
        )


def _refuse_unread(layout: Layout, size: int) -> None:
    name = COMPRESSIONS.get(layout.compression, str(layout.compression))
    remedy = "save it uncompressed, or with LZW or deflate"
    if layout.compression not in DECODERS:
        raise InputError(f"TIFF compression {name} is not read; {remedy}")
    # A million strips may be one stream of megabytes that says next to nothing.
    if layout.compression != 1 and sum(length for _, length in layout.spans) > size:
        raise InputError(f"TIFF whose strips or tiles share their bytes is not read; {remedy}")
    if layout.fill_order != 1:
        raise InputError(
            f"TIFF fill order {layout.fill_order} is not read; save it with fill order 1"
        )
    if layout.bits not in (1, 2, 4, 8):
        raise InputError(f"TIFF samples of {layout.bits} bits are not read; save it with 8 bits")
    if layout.bits < 8 and layout.samples > 1:
        raise InputError(
            f"TIFF with {layout.samples} samples of {layout.bits} bits is not read; save it with 8 "
            "bits"
        )
    predictors = (1, 2) if layout.bits == 8 else (1,)
    if layout.compression in PREDICTED and layout.predictor not in predictors:
        raise InputError(
            f"TIFF predictor {layout.predictor} for {layout.bits}-bit samples is not read; {remedy}"
        )
