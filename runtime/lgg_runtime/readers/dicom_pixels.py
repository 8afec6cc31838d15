"""Pixels of DICOM frames as the real values that they stand for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lgg_runtime.errors import InputError
from lgg_runtime.extras import import_extra
from lgg_runtime.readers.dicom_files import damage, load_pydicom
from lgg_runtime.readers.dicom_frames import Frame
from lgg_runtime.redact import without_uids
from lgg_runtime.volume import MAX_VOXELS


def read_pixels(frames: Sequence[Frame]) -> npt.NDArray[Any]:
    """(S, H, W) of sorted frames: uint16 or int16 where the stored values need no rescaling.

    Else float32 after RescaleSlope and RescaleIntercept; MONOCHROME1 is inverted. Raises
    InputError, `NAME: reason`, for pixels that are missing, damaged, too many, more than the
    memory holds, or in a transfer syntax whose codec is not installed.
    """
    rows, columns = frames[0].size
    if len(frames) * rows * columns > MAX_VOXELS:
        raise InputError(
            f"{len(frames)} x {rows} x {columns} voxels; at most {MAX_VOXELS} are read"
        )
    planes: list[npt.NDArray[Any] | None] = [None] * len(frames)
    by_file: dict[Path, list[int]] = {}
    for place, frame in enumerate(frames):
        by_file.setdefault(frame.path, []).append(place)
    for path, places in by_file.items():
        stored = _decode(path, frames[places[0]])
        for place in places:
            plane = stored if stored.ndim == 2 else stored[frames[place].index]
            planes[place] = _real_values(plane, frames[place])
    return np.stack([plane for plane in planes if plane is not None])


def _decode(path: Path, frame: Frame) -> npt.NDArray[Any]:
    """Stored values of a file, (H, W) or (frames, H, W)."""
    name = without_uids(path.name)
    pydicom = load_pydicom()
    try:
        data = pydicom.dcmread(path)
        if "PixelData" not in data:
            raise InputError(f"{name}: has no pixels")
        _require_codec(name, data.file_meta.TransferSyntaxUID)
        array = np.asarray(data.pixel_array)
    except RecursionError as error:
        raise InputError(f"{name}: sequences are nested too deeply; refused") from error
    except MemoryError as error:
        raise InputError(f"{name}: the memory does not suffice for its pixels") from error
    except damage() as error:
        raise InputError(f"{name}: its pixels are cut short, damaged or changed") from error
    rows, columns = frame.size
    if array.shape[-2:] != (rows, columns) or array.ndim not in (2, 3):
        raise InputError(f"{name}: expected {rows} x {columns} pixels, decoded {array.shape}")
    if array.ndim == 3 and array.shape[0] <= frame.index:
        raise InputError(f"{name}: holds {array.shape[0]} frames, fewer than it describes")
    # Compressed too: JPEG-LS keeps an overlay above BitsStored, and no sign.
    return without_unused_bits(array, data)


def _require_codec(name: str, syntax: Any) -> None:
    """Raises InputError where nothing installed, or nothing known, decodes the syntax."""
    try:
        decoder = import_extra("pydicom.pixels", "dicom").get_decoder(syntax)
    except NotImplementedError as error:
        raise InputError(f"{name}: transfer syntax {syntax.name} cannot be decoded") from error
    if not decoder.is_available:
        raise InputError(
            f"{name}: {syntax.name} needs a codec; pip install 'lgg-edge[dicom]' "
            "(pylibjpeg, pyjpegls, python-gdcm)"
        )


def without_unused_bits(array: npt.NDArray[Any], data: Any) -> npt.NDArray[Any]:
    """The lowest BitsStored bits; those above may hold an overlay, or no sign (PS3.5, 8.1.1)."""
    unused = 8 * array.dtype.itemsize - int(data.BitsStored)
    if unused == 0:
        return array
    # Shifting up in the stored type and down again keeps the sign where there is one.
    return (array << unused) >> unused


def _real_values(plane: npt.NDArray[Any], frame: Frame) -> npt.NDArray[Any]:
    slope, intercept = (
        _rescale(frame, keyword, default)
        for keyword, default in (("RescaleSlope", 1.0), ("RescaleIntercept", 0.0))
    )
    if slope == 0 or not np.isfinite((slope, intercept)).all():
        raise InputError(f"{frame.name}: RescaleSlope {slope:g} makes all values equal")
    inverted = frame.header.PhotometricInterpretation == "MONOCHROME1"
    if plane.dtype.itemsize > 2 or (slope, intercept) != (1.0, 0.0):
        plane = plane.astype(np.float32) * np.float32(slope) + np.float32(intercept)
    if inverted:
        stored = int(frame.header.BitsStored)
        signed = int(frame.header.get("PixelRepresentation", 0)) == 1
        low, high = (
            (-(1 << stored - 1), (1 << stored - 1) - 1) if signed else (0, (1 << stored) - 1)
        )
        ends = slope * low + intercept, slope * high + intercept
        plane = (np.float32(sum(ends)) - plane).astype(np.float32)
    return plane


def _rescale(frame: Frame, keyword: str, default: float) -> float:
    value = frame.get(keyword)
    try:
        return default if value is None else float(value)
    except (TypeError, ValueError) as error:
        raise InputError(f"{frame.name}: {keyword} is no number") from error
