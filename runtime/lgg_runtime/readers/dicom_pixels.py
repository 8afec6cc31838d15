"""Pixels of DICOM frames as the real values that they stand for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lgg_runtime.errors import InputError
from lgg_runtime.extras import import_extra
from lgg_runtime.readers.dicom_files import damage, load_pydicom
from lgg_runtime.readers.dicom_frames import Frame
from lgg_runtime.readers.dicom_streams import JPEG_EXTENDED, RLE, join_fragments
from lgg_runtime.redact import without_uids
from lgg_runtime.volume import MAX_VOXELS, Mask


def read_pixels(frames: Sequence[Frame]) -> npt.NDArray[Any]:
    """(S, H, W) of sorted frames: whole numbers where the stored values need no rescaling.

    Else floats after RescaleSlope and RescaleIntercept; MONOCHROME1 is inverted, padding is 0, or
    the least of the other values where that is below. Raises InputError, `NAME: reason`, for pixels
    that are missing, damaged, too many, more than the memory holds, or in a transfer syntax whose
    codec is not installed.
    """
    rows, columns = frames[0].size
    if len(frames) * rows * columns > MAX_VOXELS:
        raise InputError(
            f"{len(frames)} x {rows} x {columns} voxels; at most {MAX_VOXELS} are read"
        )
    planes: list[npt.NDArray[Any] | None] = [None] * len(frames)
    padding: npt.NDArray[np.bool_] = np.zeros((len(frames), rows, columns), bool)
    by_file: dict[Path, list[int]] = {}
    for place, frame in enumerate(frames):
        by_file.setdefault(frame.path, []).append(place)
    for path, places in by_file.items():
        place_of = {frames[place].index: place for place in places}
        for index, stored in _decode(path, frames[places[0]], place_of.keys()):
            place = place_of[index]
            planes[place] = _real_values(stored, frames[place])
            padding[place] = _find_padding(stored, frames[place])
    values = np.stack([plane for plane in planes if plane is not None])
    if padding.any():
        values[padding] = min(0, values.min(where=~padding, initial=0))
    return values


def _decode(path: Path, frame: Frame, wanted: Set[int]) -> Iterator[tuple[int, npt.NDArray[Any]]]:
    """The indices of frames of a file, and their stored values (H, W)."""
    name = without_uids(path.name)
    pydicom = load_pydicom()
    try:
        data = pydicom.dcmread(path)
        if "PixelData" not in data:
            raise InputError("has no pixels")
        _require_codec(data)
        is_packed = data.file_meta.TransferSyntaxUID.is_encapsulated
        planes = _decode_packed(data, wanted) if is_packed else _decode_plain(data, wanted)
        for index, plane in planes:
            if plane.shape != frame.size:
                rows, columns = frame.size
                raise InputError(f"expected {rows} x {columns} pixels, decoded {plane.shape}")
            # Compressed too: JPEG-LS keeps an overlay above BitsStored, and no sign.
            yield index, without_unused_bits(plane, data)
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
    except RecursionError as error:
        raise InputError(f"{name}: sequences are nested too deeply; refused") from error
    except MemoryError as error:
        raise InputError(f"{name}: the memory does not suffice for its pixels") from error
    except damage() as error:
        raise InputError(f"{name}: its pixels are cut short, damaged or changed") from error


def _decode_plain(data: Any, wanted: Set[int]) -> Iterator[tuple[int, npt.NDArray[Any]]]:
    """Raises InputError, the reason alone, for more bytes than the frames and their padding."""
    pixels = import_extra("pydicom.pixels", "dicom")
    needed = _count_frames(data) * int(data.Rows) * int(data.Columns) * int(data.BitsAllocated) // 8
    found = len(data.PixelData)
    if found > needed + needed % 2:
        raise InputError(f"holds {found} bytes of pixels, its header says {needed}; refused")
    indices = sorted(wanted)
    return zip(indices, pixels.iter_pixels(data, indices=indices, raw=True), strict=True)


def _decode_packed(data: Any, wanted: Set[int]) -> Iterator[tuple[int, npt.NDArray[Any]]]:
    """One frame at a time, the wanted ones alone.

    Raises InputError, the reason alone, for another number of frames than the header's, and as
    `join_fragments` does.
    """
    encaps = import_extra("pydicom.encaps", "dicom")
    pixels = import_extra("pydicom.pixels", "dicom")
    count, held, offsets = _count_frames(data), 0, None
    if "ExtendedOffsetTable" in data:
        offsets = data.ExtendedOffsetTable, data.ExtendedOffsetTableLengths
        del data.ExtendedOffsetTable, data.ExtendedOffsetTableLengths
    # pylibjpeg's codec of RLE panics on damage, with what is no Exception.
    plugin = "pydicom" if data.file_meta.TransferSyntaxUID == RLE else ""
    packed = encaps.generate_fragmented_frames(
        data.PixelData, number_of_frames=count, extended_offsets=offsets
    )
    data.NumberOfFrames = 1
    for held, fragments in enumerate(packed, start=1):
        if held > count:
            break
        if held - 1 in wanted:
            data.PixelData = encaps.encapsulate([join_fragments(fragments, data)])
            # With its index a frame has the type of the header, not of its own precision.
            (plane,) = pixels.iter_pixels(data, indices=[0], raw=True, decoding_plugin=plugin)
            yield held - 1, plane
    if held != count:
        more = "more" if held > count else "fewer"
        raise InputError(f"holds {more} frames than the {count} of its header; refused")


def _count_frames(data: Any) -> int:
    return int(data.get("NumberOfFrames") or 1)


def _require_codec(data: Any) -> None:
    """Raises InputError, the reason alone, where nothing known or installed decodes the pixels."""
    syntax = data.file_meta.TransferSyntaxUID
    try:
        decoder = import_extra("pydicom.pixels", "dicom").get_decoder(syntax)
    except NotImplementedError as error:
        # The name of one that is not registered is whatever the file says.
        known = import_extra("pydicom.uid", "dicom").UID_dictionary
        named = f"transfer syntax {syntax.name}" if syntax in known else "its transfer syntax"
        raise InputError(f"{named} cannot be decoded") from error
    if not decoder.is_available:
        raise InputError(
            f"{syntax.name} needs a codec; pip install 'lgg-edge[dicom]' "
            "(pylibjpeg, pyjpegls, python-gdcm)"
        )
    bits, plugins = int(data.BitsStored), decoder.available_plugins
    # The others take its 8 bits alone, and say so only once they are handed a picture.
    if syntax == JPEG_EXTENDED and bits != 8 and "pylibjpeg" not in plugins:
        raise InputError(
            f"JPEG Extended of {bits} bits is not read; convert it, e.g. with dcmdjpeg, or "
            "pip install pylibjpeg-libjpeg"
        )


def without_unused_bits(array: npt.NDArray[Any], data: Any) -> npt.NDArray[Any]:
    """The lowest BitsStored bits; those above may hold an overlay, or no sign (PS3.5, 8.1.1)."""
    unused = 8 * array.dtype.itemsize - int(data.BitsStored)
    if unused == 0:
        return array
    # Shifting up in the stored type and down again keeps the sign where there is one.
    return (array << unused) >> unused


def _real_values(plane: npt.NDArray[Any], frame: Frame) -> npt.NDArray[Any]:
    slope = _read_number(frame, "RescaleSlope", 1.0)
    intercept = _read_number(frame, "RescaleIntercept", 0.0)
    if slope == 0:
        raise InputError(f"{frame.name}: RescaleSlope {slope:g} makes all values equal")
    with np.errstate(over="ignore", invalid="ignore"):  # to infinity, which is refused
        plane = _rescale(plane, frame, slope, intercept)
    if plane.dtype.kind == "f" and not np.isfinite(plane).all():
        raise InputError(
            f"{frame.name}: RescaleSlope {slope:g} and RescaleIntercept {intercept:g} give values "
            "that are no finite numbers in float32; export the study again"
        )
    return plane


def _rescale(
    plane: npt.NDArray[Any], frame: Frame, slope: float, intercept: float
) -> npt.NDArray[Any]:
    if plane.dtype.itemsize > 2 or (slope, intercept) != (1.0, 0.0):
        plane = plane.astype(np.float32) * np.float32(slope) + np.float32(intercept)
    if frame.header.PhotometricInterpretation == "MONOCHROME1":
        stored = int(frame.header.BitsStored)
        signed = int(frame.header.get("PixelRepresentation", 0)) == 1
        low = -(1 << stored - 1) if signed else 0
        high = low + (1 << stored) - 1
        ends = slope * low + intercept, slope * high + intercept
        plane = (np.float32(sum(ends)) - plane).astype(np.float32)
    return plane


def _find_padding(stored: npt.NDArray[Any], frame: Frame) -> Mask:
    """Where the stored values (H, W) are no picture (PS3.3, C.7.5.1.1.2)."""
    value = frame.get("PixelPaddingValue")
    if value is None:
        return np.zeros(stored.shape, bool)
    limit = frame.get("PixelPaddingRangeLimit")
    try:
        ends = np.array([value, value if limit is None else limit], np.int64)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{frame.name}: PixelPaddingValue is no whole number") from error
    # As the pixels are stored: some writers give the value of signed ones without its sign, which
    # is the highest of BitsStored bits.
    bits = int(frame.header.BitsStored)
    is_stored = -(1 << bits - 1) <= ends.min() and ends.max() < 1 << bits
    ends = ends.astype(stored.dtype)
    if is_stored:
        ends = without_unused_bits(ends, frame.header)
    return np.asarray((stored >= ends.min()) & (stored <= ends.max()))


def _read_number(frame: Frame, keyword: str, default: float) -> float:
    value = frame.get(keyword)
    try:
        return default if value is None else float(value)
    except (TypeError, ValueError) as error:
        raise InputError(f"{frame.name}: {keyword} is no number") from error
