"""Each TIFF compression against bytes packed by another hand, whole and cut short."""

from __future__ import annotations

import contextlib
import struct
import tracemalloc
import zlib

import cv2
import numpy as np
import pytest

from lgg_runtime.errors import InputError
from lgg_runtime.readers.tiff_compression import (
    DECODERS,
    expand_lzw,
    expand_lzw_by_opencv,
    inflate,
    read_lzw,
    unpack_bits,
)

LZW, DEFLATE, PACK_BITS = 5, 8, 32773
PREDICTOR = 317  # the TIFF tag, which OpenCV 4.9 has no name for


def packed_by_libtiff(content: bytes, compression: int) -> bytes:
    """The one strip of a one-row grey TIFF that OpenCV wrote."""
    row = np.frombuffer(content, np.uint8)[np.newaxis]
    options = [cv2.IMWRITE_TIFF_COMPRESSION, compression, PREDICTOR, 1]
    done, file = cv2.imencode(".tif", row, options)
    assert done
    data = file.tobytes()
    directory = struct.unpack_from("<I", data, 4)[0]
    fields = {}
    for index in range(struct.unpack_from("<H", data, directory)[0]):
        tag, kind, count, value = struct.unpack_from("<HHII", data, directory + 2 + 12 * index)
        fields[tag] = value if kind == 4 else value & 0xFFFF
        assert count == 1 or tag not in (273, 279)
    return data[fields[273] : fields[273] + fields[279]]


def clear_and(*codes: int) -> bytes:
    """An LZW stream of Clear and these codes, all of 9 bits."""
    bits = "".join(f"{code:09b}" for code in (256, *codes))
    size = -(-len(bits) // 8)
    return int(bits.ljust(8 * size, "0"), 2).to_bytes(size, "big")


def made(kind: str, size: int) -> bytes:
    random = np.random.default_rng(7)
    pixels = {
        "noise": random.integers(0, 256, size),
        "few values": random.integers(0, 3, size),
        "constant": np.zeros(size),
        "ramp": np.arange(size) // 7 % 256,
    }[kind]
    return pixels.astype(np.uint8).tobytes()


CONTENTS = [
    (kind, size)
    for kind in ("noise", "few values", "constant", "ramp")
    for size in (1, 2, 257, 20_000)
]


@pytest.mark.parametrize("compression", [1, LZW, DEFLATE, PACK_BITS])
@pytest.mark.parametrize(("kind", "size"), CONTENTS)
def test_what_libtiff_packed_is_unpacked(compression: int, kind: str, size: int) -> None:
    content = made(kind, size)
    packed = packed_by_libtiff(content, compression)
    assert bytes(DECODERS[compression](memoryview(packed), size)) == content


@pytest.mark.parametrize(("kind", "size"), CONTENTS)
def test_both_lzw_decoders_agree_with_the_content(kind: str, size: int) -> None:
    content = made(kind, size)
    packed = memoryview(packed_by_libtiff(content, LZW))
    assert expand_lzw(packed, size) == content
    assert expand_lzw_by_opencv(packed, size) == (None if size % 2 else content)


def test_the_example_of_the_tiff_standard_is_expanded() -> None:
    # TIFF 6.0, section 13: 7 7 7 8 8 7 7 6 6 is packed as Clear 7 258 8 8 258 6 6 End.
    packed = clear_and(7, 258, 8, 8, 258, 6, 6, 257)
    assert expand_lzw(memoryview(packed), 9) == bytes([7, 7, 7, 8, 8, 7, 7, 6, 6])


def test_the_example_of_packbits_is_unpacked() -> None:
    # Apple technical note TN1023.
    packed = bytes.fromhex("FE AA 02 80 00 2A FD AA 03 80 00 2A 22 F7 AA")
    expected = bytes.fromhex("AAAAAA80002AAAAAAAAA80002A22") + b"\xaa" * 10
    assert unpack_bits(memoryview(packed), 24) == expected


def test_a_packbits_byte_of_128_stands_for_nothing() -> None:
    assert unpack_bits(memoryview(b"\x80\x00\x07\x80\x80\xff\x08"), 3) == b"\7\10\10"


@pytest.mark.parametrize("compression", [LZW, DEFLATE, PACK_BITS])
@pytest.mark.parametrize("kind", ["noise", "few values", "constant", "ramp"])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9])
def test_a_strip_that_is_cut_short_never_gives_all_bytes(
    compression: int, kind: str, share: float
) -> None:
    content = made(kind, 3_000)
    packed = packed_by_libtiff(content, compression)
    cut = memoryview(packed)[: int(len(packed) * share)]
    try:
        unpacked = bytes(DECODERS[compression](cut, len(content)))
    except InputError:
        return
    assert len(unpacked) < len(content)
    assert content.startswith(unpacked)


@pytest.mark.parametrize("compression", [1, LZW, DEFLATE, PACK_BITS])
def test_no_more_than_wanted_is_unpacked(compression: int) -> None:
    content = made("ramp", 2_000)
    packed = memoryview(packed_by_libtiff(content, compression))
    assert bytes(DECODERS[compression](packed, 500)) == content[:500]


def test_a_bomb_takes_no_memory_beyond_what_is_wanted() -> None:
    """Of 16 MiB of zeros, 500 bytes."""
    bomb, deflated = b"\x81\0" * 2**17, zlib.compress(bytes(2**24), 1)
    tracemalloc.start()
    try:
        assert unpack_bits(memoryview(bomb), 500) == bytes(500)
        with pytest.raises(InputError, match="does not follow its compression"):
            inflate(memoryview(deflated), 500)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


DAMAGED = [
    ("no clear at the start", expand_lzw, b"\x00\x01\x02\x03"),
    ("nothing at all", expand_lzw, b""),
    ("a code that has no entry yet", expand_lzw, clear_and(7, 511)),
    ("an entry as the first code", expand_lzw, clear_and(258)),
    ("not deflate", inflate, b"\x00\x01\x02\x03"),
    ("a check sum that differs", inflate, zlib.compress(bytes(9))[:-1] + b"\x7f"),
    (
        "a check sum that differs behind more than is wanted",
        inflate,
        zlib.compress(bytes(9_000))[:-1] + b"\x7f",
    ),
    (
        "a check sum that is cut behind more than is wanted",
        inflate,
        zlib.compress(bytes(9_000))[:-1],
    ),
    ("a check sum that is cut", inflate, zlib.compress(bytes(9))[:-1]),
]


@pytest.mark.parametrize(("what", "decode", "data"), DAMAGED)
def test_data_that_contradict_themselves_are_refused(what, decode, data) -> None:
    with pytest.raises(InputError, match="does not follow its compression"):
        decode(memoryview(data), 9)


def test_a_flipped_bit_that_the_check_sum_shows_is_refused() -> None:
    content = made("few values", 4_000)
    packed = zlib.compress(content)
    refused = 0
    for bit in np.random.default_rng(2).permutation(8 * len(packed))[:600]:
        data = bytearray(packed)
        data[bit >> 3] ^= 1 << (bit & 7)
        try:
            zlib.decompress(data)
        except zlib.error:
            refused += 1
            with contextlib.suppress(InputError):
                # Too short, which the reader refuses.
                assert len(inflate(memoryview(bytes(data)), len(content))) < len(content)
    assert refused > 500


def test_what_follows_the_last_byte_that_is_wanted_does_not_matter() -> None:
    assert expand_lzw(memoryview(clear_and(65, 511)), 1) == b"A"


def test_a_strip_too_wide_for_opencv_is_left_to_the_other_decoder() -> None:
    content = made("constant", 2**21 + 2)
    packed = memoryview(packed_by_libtiff(content[: 2**20 - 1], LZW))
    assert expand_lzw_by_opencv(packed, len(content)) is None
    assert read_lzw(packed, 2**20 - 1) == content[: 2**20 - 1]


def test_a_stream_that_clears_at_every_code_is_given_up() -> None:
    # Each Clear costs as much time as a full table; no encoder writes one for every byte.
    packed = clear_and(*(65, 256) * 4_000)
    assert expand_lzw(memoryview(packed), 40) == b"A" * 16
