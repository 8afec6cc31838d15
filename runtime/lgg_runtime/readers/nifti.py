"""NIfTI files as a volume on their own grid: one of three channels, or one file a sequence."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lgg_runtime.errors import InputError, UsageError, naming
from lgg_runtime.readers.gzipped import CUT_SHORT, is_gzip, require_check_sum
from lgg_runtime.readers.nifti_header import DAMAGE, open_nifti
from lgg_runtime.readers.nifti_names import UNUSED, channel_of, find_other_word, split_name
from lgg_runtime.readers.regular import why_unread
from lgg_runtime.readers.resample import Lattice, corners_of
from lgg_runtime.readers.sequences import (
    AS_ASKED,
    ROLES,
    UNSIZED,
    NoFitError,
    Target,
    fit,
    name_slices,
    note_view,
)
from lgg_runtime.redact import without_uids
from lgg_runtime.volume import CHANNELS, MAX_SIDE, MAX_VOXELS, Volume

# NIfTI's world is RAS, DICOM's and ours is LPS.
RAS_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])

# NIfTI-1, xyzt_units: metres and micrometres; 2 is mm, and what sets no unit means mm.
_UNITS_MM = {1: 1000.0, 3: 0.001}
_ALONE = "save FLAIR alone, or the three channels along a fourth axis"


@dataclass(frozen=True)
class NiftiSource:
    """What the two placements of the file that gave the grid mean, as its header codes them."""

    sform_code: int
    qform_code: int

    @classmethod
    def of(cls, image: Any) -> NiftiSource:
        return cls(int(image.header["sform_code"]), int(image.header["qform_code"]))


def read_nifti(files: Iterable[Path | str], flair_only: bool = False) -> Volume:
    """Read one file of three channels or of FLAIR alone, or one file a sequence.

    Sequences are told by the names' ends, and brought onto FLAIR's grid. Slices are the third
    axis. flair_only: read no other file than FLAIR's.
    Raises InputError, `NAME: reason`, for what is no usable volume, UsageError for one path in
    place of a list.
    """
    if isinstance(files, (str, Path)):
        raise UsageError(f"files: expected a list of paths, found one {type(files).__name__}")
    paths = [Path(path) for path in files]
    if not paths:
        raise InputError("no NIfTI file in it")
    if len(paths) == 1:
        return _read_one(paths[0])
    _refuse_channels(paths)
    by_role: dict[str, Path] = {}
    for path in paths:
        role = split_name(path)[1]
        if role in by_role and role != UNUSED:
            raise InputError(f"{_name(path)}: a second {role or 'file of no known sequence'}")
        by_role[role] = path
    if "flair" not in by_role:
        raise _no_flair(paths[0])
    flair, affine, origin = _read_grey(by_role["flair"])
    target = Target(flair, Lattice(affine, flair.shape))
    if flair_only:
        return _volume(np.repeat(flair[..., None], 3, axis=-1), affine, origin, [AS_ASKED])
    channels, notes = [], list[str]()
    for role, name in zip(ROLES, CHANNELS, strict=True):
        channel: npt.NDArray[Any] = flair
        if role not in by_role:
            notes.append(f"no {name} sequence; FLAIR in its place")
        elif role != "flair":
            try:
                channel, more = _bring_onto(target, by_role[role], f"{name} sequence")
                notes += more
            except NoFitError as error:
                notes.append(f"{error}; FLAIR in its place")
        channels.append(channel)
    return _volume(np.stack(channels, axis=-1), affine, origin, notes)


def _bring_onto(target: Target, path: Path, name: str) -> tuple[npt.NDArray[Any], list[str]]:
    """A T1 file's pixels on FLAIR's voxels, and the note on that where they were resampled."""
    pixels, affine, _ = _read_grey(path)
    source = Lattice(affine, pixels.shape)
    fitted, is_resampled = fit(lambda: pixels, name, source, target, "nifti")
    return fitted, [f"{name} resampled onto FLAIR's grid"] if is_resampled else []


def _read_one(path: Path) -> Volume:
    pixels, affine, origin = _read(path)
    if pixels.ndim == 3:
        if split_name(path)[1] not in ("", "flair"):
            raise _no_flair(path)
        _refuse_other_sequence(path)
        note = "one channel, taken as FLAIR"
        return _volume(np.repeat(pixels[..., None], 3, axis=-1), affine, origin, [note])
    return _volume(pixels, affine, origin, [])


def _refuse_other_sequence(path: Path) -> None:
    """Raises InputError for a name that is another sequence's by a word within it."""
    if word := find_other_word(path):
        raise InputError(
            f"{_name(path)}: {word} in its name, so it is not taken for FLAIR; expected a name "
            "ending in _flair, or in _t1 or _t1c beside one that does"
        )


def _no_flair(path: Path) -> InputError:
    stem = split_name(path)[0]
    is_flair = split_name(Path(stem))[1] == "flair"  # of labels that are called after it
    wanted = without_uids(stem if is_flair else f"{stem}_flair" if stem else "flair")
    return InputError(f"{_name(path)}: no FLAIR beside it; expected {wanted}.nii.gz in its folder")


def _refuse_channels(paths: Sequence[Path]) -> None:
    """Raises InputError for several files of no known sequence whose names differ in a number."""
    unknown = [path for path in paths if not split_name(path)[1]]
    numbered = [path for path in unknown if channel_of(split_name(path)[0])]
    if len(numbered) > 1:
        one, other = (_name(path) for path in numbered[:2])
        raise InputError(
            f"{one}: with {other} it may be two sequences of one patient, as in nnU-Net; expected "
            "names that end in _t1, _flair and _t1c, or in _flair for FLAIR of a patient each"
        )


def _read_grey(path: Path) -> tuple[npt.NDArray[Any], npt.NDArray[np.float64], NiftiSource]:
    pixels, affine, origin = _read(path)
    if pixels.ndim != 3:
        raise InputError(f"{_name(path)}: expected three axes beside other sequences")
    return pixels, affine, origin


def _read(path: Path) -> tuple[npt.NDArray[Any], npt.NDArray[np.float64], NiftiSource]:
    with naming(_name(path)):
        image = open_nifti(path)
        return _pixels(path, image), _affine(image), NiftiSource.of(image)


def _volume(
    pixels: npt.NDArray[Any],
    affine: npt.NDArray[np.float64],
    origin: NiftiSource,
    notes: list[str],
) -> Volume:
    # nibabel's np.eye(4), or what SimpleITK makes of an array: diag(-1, -1, 1, 1).
    is_bare = np.array_equal(np.abs(affine), np.eye(4)[:, [2, 1, 0, 3]])
    unsized = [UNSIZED] if is_bare else []
    notes = [*notes, *unsized, *note_view("slices are", affine)]
    return Volume(pixels, name_slices(len(pixels)), None, affine, origin, tuple(notes))


def _name(path: Path) -> str:
    return without_uids(path.name)


def _pixels(path: Path, image: Any) -> npt.NDArray[Any]:
    """(S, H, W) or (S, H, W, 3): NIfTI's axes are column, row, slice, channel."""
    shape = tuple(int(n) for n in image.shape)
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) == 5 and shape[3] == 1:
        shape = (*shape[:3], shape[4])
    if len(shape) < 3 or len(shape) > 4 or (len(shape) == 4 and shape[3] != 3):
        raise InputError(f"expected three axes, or a fourth of 3 channels, found {shape}; {_ALONE}")
    if max(shape) > MAX_SIDE or min(shape) < 1 or np.prod(shape[:3], dtype=float) > MAX_VOXELS:
        raise InputError(f"claims {shape} voxels; at most {MAX_VOXELS} are read")
    kind = image.header.get_data_dtype()
    if kind.kind not in "iuf":
        found = "".join(kind.names or ()) or kind
        raise InputError(f"expected real numbers, found {found}; {_ALONE}")
    try:
        # nibabel reads no more bytes than the header claims, which is bounded above.
        stored = np.asanyarray(image.dataobj).reshape(shape)
    except MemoryError as error:
        raise InputError("the memory does not suffice for its voxels") from error
    except DAMAGE as error:
        raise InputError(why_unread(error, CUT_SHORT)) from error
    if is_gzip(path):
        require_check_sum(path, int(image.dataobj.offset) + stored.size * kind.itemsize)
    if stored.dtype not in (np.uint8, np.int16, np.uint16):
        with np.errstate(over="ignore"):  # to infinity, which is refused below
            stored = stored.astype(np.float32)
    if not np.isfinite(stored).all():
        raise InputError("holds NaN or infinite values; set them to 0")
    return np.ascontiguousarray(stored.transpose(2, 1, 0, *range(3, len(shape))))


def _affine(image: Any) -> npt.NDArray[np.float64]:
    """(slice, row, column) to LPS mm."""
    header = image.header
    sform, has_sform = header.get_sform(coded=True)
    try:
        qform, has_qform = header.get_qform(coded=True)
    except ValueError as error:
        raise InputError("its qform is no rotation") from error
    if not has_sform and not has_qform:
        raise InputError(
            "neither qform nor sform is set, so its orientation is unknown; convert it from its "
            "DICOM files again, or set what a file of the same scan has"
        )
    affine = np.array(sform if has_sform else qform, np.float64)
    axes = affine[:3, :3]
    lengths = np.linalg.norm(axes, axis=0)
    if not np.isfinite(affine).all() or min(lengths) <= 0:
        raise InputError("its affine has an axis without length")
    cosines = axes / lengths
    if np.abs(cosines.T @ cosines - np.eye(3)).max() > 1e-2:
        raise InputError("its affine is sheared; resample it onto a rectangular grid")
    if has_sform and has_qform and not _agree(affine, np.asarray(qform), image.shape):
        raise InputError("qform and sform disagree; set them to one of the two")
    affine[:3] *= _UNITS_MM.get(int(header["xyzt_units"]) & 7, 1.0)
    return np.asarray((RAS_LPS @ affine)[:, [2, 1, 0, 3]])


def _agree(one: npt.NDArray[Any], other: npt.NDArray[Any], shape: Sequence[int]) -> bool:
    """Whether all eight corners lie within half of the smallest voxel length of each other."""
    apart = np.linalg.norm((corners_of(shape[:3]) @ (one - other).T)[:, :3], axis=1)
    return bool(apart.max() <= 0.5 * np.linalg.norm(one[:3, :3], axis=0).min())
