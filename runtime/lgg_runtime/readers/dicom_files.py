"""DICOM files: which files are, their headers without pixels, and what a DICOMDIR lists."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from lgg_runtime.errors import InputError
from lgg_runtime.extras import import_extra, keep_silent
from lgg_runtime.readers.dicom_encoding import MOST_PARTS, CostlyHeaderError, read_values
from lgg_runtime.readers.regular import IrregularFileError, open_regular, why_unread
from lgg_runtime.redact import without_uids

# What pydicom raises on damaged files beside errors of its own; they share no base.
DAMAGE = (
    ArithmeticError, AttributeError, EOFError, LookupError, MemoryError, NotImplementedError,
    OSError, RuntimeError, TypeError, ValueError, struct.error, zlib.error,
)  # fmt: skip
MAX_FILE_BYTES = 1 << 30
CUT_HEADER = "its DICOM header is cut short or damaged"
DICOMDIR = "1.2.840.10008.1.3.10"
MAX_INFLATED_BYTES = 1 << 28  # pydicom inflates a data set as a whole, for its header too
_DEFLATED = "1.2.840.10008.1.2.1.99"
_PREAMBLE_BYTES = 132
_LEAST_PART_BYTES = 8  # of an element or an item
# Of a file that is not deflated: a header of as much is no image's, and pixels may be far more.
_WALKED_BYTES = 1 << 26
_BLOCK_BYTES = 1 << 16


def is_dicom(path: Path) -> bool:
    """Whether a regular file has the prefix of PS3.10, 7.1.

    Raises InputError, `NAME: reason`, for a file that cannot be read: it may be a slice.
    """
    try:
        with open_regular(path) as (handle, _):
            return os.read(handle, _PREAMBLE_BYTES)[128:] == b"DICM"
    except IrregularFileError:
        return False
    except InputError as error:
        raise InputError(f"{without_uids(path.name)}: {error}") from error


def load_pydicom() -> Any:
    """pydicom, told to keep values out of warnings and logs: they may be a patient's."""
    pydicom = import_extra("pydicom", "dicom")
    # One setting for the process, because reading runs in threads: a warning of a malformed value
    # quotes it. What matters of a file is checked here instead.
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    pydicom.config.settings.writing_validation_mode = pydicom.config.IGNORE
    keep_silent("pydicom")
    return pydicom


def damage() -> tuple[type[Exception], ...]:
    """All that pydicom raises on a damaged file, or when a value is asked for that is no value."""
    errors = import_extra("pydicom.errors", "dicom")
    return (*DAMAGE, errors.BytesLengthException, errors.InvalidDicomError)


@contextmanager
def refusing_headers(reason: str) -> Iterator[None]:
    """Raises InputError with the reason for whatever is raised on a header that cannot be used.

    pydicom and highdicom raise almost anything then. MemoryError is not the header's fault and
    passes.
    """
    try:
        yield
    except MemoryError:
        raise
    except damage() as error:
        raise InputError(reason) from error


def read_header(path: Path, tags: tuple[str, ...] | None = None) -> Any:
    """The data set of a file without its pixels; with `tags`, these alone.

    Raises InputError, `NAME: reason`, for a damaged file, one above 1 GiB, one whose deflated
    data set is above 256 MiB, and one with more elements and items than any image has.
    """
    pydicom = load_pydicom()
    name = without_uids(path.name)
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise InputError(f"above {MAX_FILE_BYTES >> 20} MiB; split the series")
        _refuse_costly(path)
        return pydicom.dcmread(path, stop_before_pixels=True, specific_tags=tags and list(tags))
    except RecursionError as error:
        raise InputError(f"{name}: sequences are nested too deeply; refused") from error
    except MemoryError as error:
        raise InputError(f"{name}: the memory does not suffice for its header") from error
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
    except pydicom.errors.InvalidDicomError as error:
        raise InputError(f"{name}: expected a DICOM file, found no DICM at byte 128") from error
    except Exception as error:
        # Damaged bytes lead pydicom to any error; its own share no base.
        raise InputError(f"{name}: {why_unread(error, CUT_HEADER)}") from error


def read_meta(stream: BinaryIO) -> Any:
    """The file meta information of PS3.10, 7.1; the stream is then at the data set.

    Raises InvalidDicomError for what has none, and whatever pydicom does on damage.
    """
    filereader = load_pydicom().filereader
    filereader.read_preamble(stream, force=False)
    # Not by the group length that the file claims, at which pydicom does not begin.
    return filereader._read_file_meta_info(stream)


def _refuse_costly(path: Path) -> None:
    """Raises InputError, the reason alone, for what pydicom would make far more of than it is."""
    with path.open("rb") as handle:
        syntax = read_meta(handle).get("TransferSyntaxUID")
        if syntax == _DEFLATED:
            body = _inflate(handle)
        elif path.stat().st_size > MOST_PARTS * _LEAST_PART_BYTES:
            body = handle.read(_WALKED_BYTES)
        else:
            return
    if len(body) > MOST_PARTS * _LEAST_PART_BYTES:
        try:
            read_values(body, str(syntax), ())
        except CostlyHeaderError as error:
            raise InputError(f"{error}; refused") from error
        except (ValueError, struct.error):  # what is damaged is pydicom's to refuse
            pass


def _inflate(handle: BinaryIO) -> bytes:
    """A deflated data set, a part at a time. Raises InputError, the reason alone, for one that is
    too large.
    """
    inflater, inflated = zlib.decompressobj(-zlib.MAX_WBITS), bytearray()
    block = handle.read(_BLOCK_BYTES)
    # At its end, what follows the stream, as GDCM's check sum, stays in the unconsumed tail.
    while block and not inflater.eof:
        inflated += inflater.decompress(block, _BLOCK_BYTES)
        if len(inflated) > MAX_INFLATED_BYTES:
            most = f"{MAX_INFLATED_BYTES >> 20} MiB"
            raise InputError(f"inflates to more than {most}; convert it, e.g. with dcmconv")
        block = inflater.unconsumed_tail or handle.read(_BLOCK_BYTES)
    return bytes(inflated)


def is_dicomdir_name(path: Path) -> bool:
    """Whether a file is called as the standard calls a directory of files (PS3.10, 8.6)."""
    return path.name.upper() == "DICOMDIR"


def list_dicomdir(path: Path) -> list[Path]:
    """The files that a DICOMDIR lists, each once, in its order; by their names in small letters
    where its own is in these, as a disc of ISO 9660 shows all names under Linux.

    Raises InputError for one that is damaged, that points outside its own folder, or that lists
    a file which is not there.
    """
    root = path.parent.resolve()
    records = read_header(path).get("DirectoryRecordSequence") or []
    listed = []
    for record in records:
        parts = record.get("ReferencedFileID")
        if not parts:
            continue
        names = [parts] if isinstance(parts, str) else list(parts)
        if path.name.islower():
            names = [name.lower() for name in names]
        target = (root.joinpath(*names)).resolve()
        if any(".." in name or "/" in name for name in names) or not target.is_relative_to(root):
            raise InputError(f"{path.name}: points outside its folder; refused")
        listed.append(path.parent.joinpath(*names))
    # Each once: of a copy of an image all bytes are read.
    return [file for file in dict.fromkeys(listed) if is_dicom(file)]
