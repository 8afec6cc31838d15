"""DICOM files: which files are, their headers without pixels, and what a DICOMDIR lists."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lgg_runtime.errors import InputError, LggError
from lgg_runtime.extras import import_extra, keep_silent
from lgg_runtime.readers.regular import IrregularFileError, open_regular
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

    Raises InputError, `NAME: reason`, for a damaged file, one above 1 GiB, and one whose deflated
    data set is above 256 MiB.
    """
    pydicom = load_pydicom()
    name = without_uids(path.name)
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise InputError(f"{name}: above {MAX_FILE_BYTES >> 20} MiB; split the series")
        if _inflates_to_much(path):
            raise InputError(
                f"{name}: inflates to more than {MAX_INFLATED_BYTES >> 20} MiB; convert it, "
                "e.g. with dcmconv"
            )
        return pydicom.dcmread(path, stop_before_pixels=True, specific_tags=tags and list(tags))
    except RecursionError as error:
        raise InputError(f"{name}: sequences are nested too deeply; refused") from error
    except MemoryError as error:
        raise InputError(f"{name}: the memory does not suffice for its header") from error
    except LggError:
        raise
    except pydicom.errors.InvalidDicomError as error:
        raise InputError(f"{name}: expected a DICOM file, found no DICM at byte 128") from error
    except Exception as error:
        # Damaged bytes lead pydicom to any error; its own share no base.
        refused = error.strerror if isinstance(error, OSError) else None
        reason = f"cannot be read: {refused}" if refused else CUT_HEADER
        raise InputError(f"{name}: {reason}") from error


def _inflates_to_much(path: Path) -> bool:
    """Whether a deflated data set is more than is inflated; a part at a time, none is kept."""
    filereader = load_pydicom().filereader
    inflater, total = zlib.decompressobj(-zlib.MAX_WBITS), 0
    with path.open("rb") as handle:
        filereader.read_preamble(handle, force=False)
        # Not by the group length that the file claims, at which pydicom does not begin.
        meta = filereader._read_file_meta_info(handle)
        block = handle.read(_BLOCK_BYTES) if meta.get("TransferSyntaxUID") == _DEFLATED else b""
        # At its end, what follows the stream, as GDCM's check sum, stays in the unconsumed tail.
        while block and not inflater.eof and total <= MAX_INFLATED_BYTES:
            total += len(inflater.decompress(block, _BLOCK_BYTES))
            block = inflater.unconsumed_tail or handle.read(_BLOCK_BYTES)
    return total > MAX_INFLATED_BYTES


def is_dicomdir_name(path: Path) -> bool:
    """Whether a file is called as the standard calls a directory of files (PS3.10, 8.6)."""
    return path.name.upper() == "DICOMDIR"


def list_dicomdir(path: Path) -> list[Path]:
    """The files that a DICOMDIR lists, in its order; by their names in small letters where its own
    is in these, as a disc of ISO 9660 shows all names under Linux.

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
    return [file for file in listed if is_dicom(file)]
