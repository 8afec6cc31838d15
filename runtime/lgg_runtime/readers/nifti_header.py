"""The header of a NIfTI file: what nibabel would set right in silence is refused before it does."""

from __future__ import annotations

import gzip
import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from lgg_runtime.errors import InputError
from lgg_runtime.extras import import_extra, keep_silent
from lgg_runtime.readers.gzipped import is_gzip
from lgg_runtime.readers.regular import why_unread

# gzip.BadGzipFile is an OSError.
DAMAGE = (OSError, EOFError, ValueError, OverflowError, MemoryError, zlib.error, struct.error)
# Of one file with its voxels: behind the header come four bytes that say whether there are
# extensions. Each begins with its own size, the least is 16.
_MAX_EXTENSIONS = 16 * 2**20
_LEAST_EXTENSION = 16


def open_nifti(path: Path) -> Any:
    """The image with its header, nothing of its pixels.

    Raises InputError, the reason alone, for what is no NIfTI file, and for a header that
    contradicts itself.
    """
    nibabel = import_extra("nibabel", "nifti")
    keep_silent("nibabel.global")  # it prints what it finds wrong in a header
    is_packed = is_gzip(path)
    if not is_packed and path.name.lower().endswith(".gz"):
        raise InputError("named .gz but not compressed; rename it to .nii")
    if is_packed and not path.name.lower().endswith(".gz"):
        raise InputError("compressed but not named .gz; rename it to .nii.gz")
    failures = (
        *DAMAGE,
        nibabel.filebasedimages.ImageFileError,
        nibabel.spatialimages.HeaderDataError,
        nibabel.wrapstruct.WrapStructError,
    )
    kinds = {348: nibabel.Nifti1Image, 540: nibabel.Nifti2Image}
    try:
        with gzip.open(path) if is_packed else path.open("rb") as stream:
            start = stream.read(max(kinds))
            sizes = [size for form in "<>" for size in struct.unpack_from(form + "i", start)]
            (size,) = kinds.keys() & sizes
            header = kinds[size].header_class(start[:size], check=False)
            _check(header, size)
            stream.seek(size)
            _check_extensions(stream.read(int(header["vox_offset"]) - size), header)
        return _open_checked(kinds[size], start[:size], path)
    except InputError:
        raise
    except (*failures, KeyError) as error:  # KeyError: a kind of number that nobody knows
        damage = "no NIfTI file, or its header is damaged"
        raise InputError(why_unread(error, damage)) from error


def _open_checked(kind: Any, start: bytes, path: Path) -> Any:
    """As nibabel's `from_filename`, but for extensions: it would keep them, and follow their sizes
    out of their place, to the end of whatever a file unpacks to. Not mapped into memory: where a
    disk fails at a page of it, the system ends the process.
    """
    header = kind.header_class.from_fileobj(io.BytesIO(start + bytes(4)))
    return kind(kind.ImageArrayProxy(str(path), header.copy(), mmap=False), None, header)


def _check_extensions(found: bytes, header: Any) -> None:
    """Raises InputError unless each ends before the voxels; found: what is behind the header."""
    at, form = 4, header.endianness + "i"
    while found[:1] > b"\0" and len(found) - at >= _LEAST_EXTENSION:
        (size,) = struct.unpack_from(form, found, at)
        at += size
        if size < _LEAST_EXTENSION or at > len(found):
            raise InputError(
                f"an extension of {size} bytes, expected {_LEAST_EXTENSION} or more that end "
                "before its voxels; copy the file again"
            )


def _check(header: Any, size: int) -> None:
    """Raises InputError for a header as it stands in the file."""
    if not header["magic"].item().startswith(b"n+"):
        raise InputError("its header is of a pair of files; convert them to one")
    offset = float(header["vox_offset"])
    if not size + 4 <= offset <= size + 4 + _MAX_EXTENSIONS:
        raise InputError(
            f"its voxels begin at byte {offset:g}, expected {size + 4} and at most "
            f"{_MAX_EXTENSIONS >> 20} MiB more"
        )
    bits, wanted = int(header["bitpix"]), 8 * header.get_data_dtype().itemsize
    if bits != wanted:
        raise InputError(f"claims {bits} bits a voxel, its kind of number has {wanted}")
    # NaN is how nibabel writes that there is no scale.
    if np.isinf(header["scl_slope"]):
        raise InputError("its scl_slope is infinite")
    qfac, *lengths = header["pixdim"][:4].tolist()
    if int(header["qform_code"]) > 0:
        if qfac not in (-1, 0, 1):
            raise InputError(f"pixdim[0] is {qfac:g}, expected -1 or 1 beside a qform")
        if not all(0 < length < np.inf for length in lengths):
            told = ", ".join(f"{length:g}" for length in lengths)
            raise InputError(f"pixdim {told}: expected lengths above 0 beside a qform")
