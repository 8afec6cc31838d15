"""Whether the file of a result is still what was written: the disk may lose or cut it."""

from __future__ import annotations

from pathlib import Path

from lgg_runtime.readers.dicom_files import damage, load_pydicom


def why_lost(path: Path) -> str:
    """Empty for a DICOM image that is there to its last byte, which is its pixels'."""
    try:
        data = load_pydicom().dcmread(path)
        last = data.get_item("PixelData")
    except FileNotFoundError:
        return "its file is gone"
    except damage():
        return "its file is damaged"
    is_whole = last is not None and last.is_raw and len(last.value or b"") == last.length
    return "" if is_whole else "its file was cut"
