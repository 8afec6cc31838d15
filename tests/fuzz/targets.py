"""What is fuzzed: each target takes any bytes and may refuse them with the errors it documents."""

from __future__ import annotations

import functools
import json
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fuzz import seeds, seeds_dicom
from lgg_runtime.contract import Contract
from lgg_runtime.errors import InputError, ModelError, UsageError
from lgg_runtime.pacs.arrival import check_arrival, is_uid
from lgg_runtime.pacs.config import load_config
from lgg_runtime.readers.dicom import read_dicom
from lgg_runtime.readers.nifti import read_nifti
from lgg_runtime.readers.raster import read_raster
from lgg_runtime.readers.raster_header import Limits
from lgg_runtime.run.ledger_lines import encode_line, parse_lines

MEMORY = Path("/dev/shm")
# As small as the seeds, so that a file which claims more is refused and not decoded.
LIMITS = Limits(max_pixels=1 << 16)
_EXPLICIT = "1.2.840.10008.1.2.1"


@dataclass(frozen=True)
class Target:
    """A function to call with any bytes, seeds to begin with, and the longest input in bytes."""

    call: Callable[[bytes], None]
    seeds: Callable[[], list[bytes]]
    longest: int = 4096


@functools.cache
def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="lgg-fuzz-", dir=MEMORY if MEMORY.is_dir() else None))


def _as_file(name: str, data: bytes) -> Path:
    path = _folder() / name
    path.write_bytes(data)
    return path


def _read_picture(name: str, data: bytes) -> None:
    try:
        found = read_raster(_as_file(name, data), LIMITS)
    except InputError as error:
        _require_one_line(str(error))
    else:
        assert found.pixels.dtype == np.uint8 and found.pixels.shape[2:] == (3,)
        assert found.pixels.size <= 3 * LIMITS.max_pixels


def _read_nifti(data: bytes) -> None:
    name = "volume.nii.gz" if data[:2] == b"\x1f\x8b" else "volume.nii"
    try:
        volume = read_nifti([_as_file(name, data)])
    except InputError as error:
        _require_one_line(str(error))
    else:
        assert np.isfinite(volume.pixels).all()


def _read_dicom(data: bytes) -> None:
    try:
        volume = read_dicom([_as_file("image", data)])
    except InputError as error:
        _require_one_line(str(error))
    else:
        assert np.isfinite(volume.pixels).all()


def _receive_dicom(data: bytes) -> None:
    """The check of an object before it is kept; the command announces what the seeds are.

    File meta information, explicit too, goes for the first attributes of the data set.
    """
    try:
        found = check_arrival("1.2.3.4", seeds_dicom.MR_IMAGE, _EXPLICIT, data, data[132:])
    except InputError as error:
        _require_one_line(str(error))
    else:
        assert is_uid(found.study_uid)


def _load_settings(data: bytes) -> None:
    try:
        load_config(_as_file("node.toml", data))
    except UsageError as error:
        assert str(error)


def _load_contract(data: bytes) -> None:
    try:
        contract = Contract.loads(data.decode("utf-8", "replace"))
    except ModelError:
        return
    assert Contract.loads(contract.dumps()).dumps() == contract.dumps()


def _parse_journal(data: bytes) -> None:
    """`=` and a journal as it is, or anything else and the values of its lines."""
    lines = data[1:]
    if data[:1] != b"=":
        try:
            values = json.loads(lines)
            lines = b"".join(encode_line(value) for value in values)
        except (ValueError, TypeError, RecursionError):
            return
    parsed = parse_lines(lines)
    assert 0 <= parsed.whole_bytes <= len(lines)
    assert parse_lines(lines[: parsed.whole_bytes]) == parsed


def _require_one_line(message: str) -> None:
    assert message and message.isprintable(), repr(message)


TARGETS: dict[str, Target] = {
    "contract": Target(_load_contract, seeds.seed_contracts),
    "dicom": Target(_read_dicom, seeds_dicom.seed_images, 8192),
    "journal": Target(_parse_journal, seeds.seed_journals),
    "nifti": Target(_read_nifti, seeds.seed_niftis),
    "node settings": Target(_load_settings, seeds.seed_settings),
    "picture": Target(functools.partial(_read_picture, "slice.png"), seeds.seed_pictures),
    "received": Target(_receive_dicom, seeds_dicom.seed_images, 8192),
    "tiff": Target(functools.partial(_read_picture, "slice.tif"), seeds.seed_tiffs),
}


def write_seeds(target: Target, folder: Path) -> Iterable[Path]:
    """The seeds as files, for the fuzzer's corpus."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(target.seeds()):
        path = folder / f"seed{number:02d}"
        path.write_bytes(data)
        yield path
