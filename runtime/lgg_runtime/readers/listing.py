"""What an input holds: studies of slices or of scans, and the slices' reference masks."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lgg_runtime.errors import InputError, printable

RASTER = "raster"
COPY_LINKS = "give a copy that holds the files themselves, as cp -rL makes"
# ASCII: by Unicode the long s and the Kelvin sign would count as letters of it as well.
_MASK = re.compile(r"(.*)_mask\..*", re.IGNORECASE | re.DOTALL | re.ASCII)


@dataclass(frozen=True)
class Study:
    """Files of one patient that belong together, slices in the order of their numbers.

    kind: raster for slices in files of their own; dicom or nifti for files that make one volume.
    name: names the patient in results, without UIDs: the folder relative to the input's root, and
        the files' common stem where it differs from the folder's name.
    folder: where its outputs go, relative to the output's root.
    paths: of the files, as text: of many thousand, Path objects would take most of the memory.
    """

    name: str
    folder: Path
    paths: tuple[str, ...]
    kind: str = RASTER

    @property
    def files(self) -> tuple[Path, ...]:
        return tuple(map(Path, self.paths))

    @property
    def base(self) -> Path:
        """Common prefix of a scan's output files, relative to the output's root.

        Outputs of slices start with the slice's own stem, which has the same prefix.
        """
        return self.folder / Path(self.name).name

    def scan_output(self, end: str) -> Path:
        """Where a scan's file goes whose name ends so, relative to the output's root."""
        return self.base.with_name(f"{self.base.name}_{end}")


@dataclass(frozen=True)
class Listing:
    """What an input holds.

    masks: reference masks by the path of their slice without suffix.
    skipped: number of files that are no slice, mask or scan, symbolic links included; links: of
        those alone.
    unreadable: files and folders that cannot be opened, each with the reason.
    left_out: files and folders that were left out by their names and may be missed, relative to
        the root, without UIDs. notices: of these, a line each.
    """

    root: Path
    studies: tuple[Study, ...]
    masks: dict[Path, tuple[Path, ...]]
    skipped: int
    unreadable: dict[Path, str]
    links: int
    left_out: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()

    def relative(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def masks_of(self, path: Path) -> tuple[Path, ...]:
        """All that claim to be the slice's reference mask."""
        return self.masks.get(path.with_suffix(""), ())

    def mask_of(self, path: Path) -> Path | None:
        """The slice's reference mask. Raises InputError, `NAME: reason`, where there are two."""
        found = self.masks_of(path)
        if len(found) > 1:
            first, *others = (printable(mask.name) for mask in found)
            raise InputError(f"{first}: {' and '.join(others)} claims the same slice; keep one")
        return found[0] if found else None


def is_mask_name(path: Path) -> bool:
    """Whether a file is a reference mask by its name, `*_mask.*`."""
    return _MASK.match(path.name) is not None


def slice_of(mask: Path) -> Path:
    """The path, without suffix, of the slice that a reference mask belongs to.

    Of `_mask.png` that is `_mask`, which is no slice's name.
    """
    return mask.parent / (_MASK.sub(r"\1", mask.name) or mask.stem)


def group_masks(masks: Iterable[Path], slices: Iterable[Path]) -> dict[Path, tuple[Path, ...]]:
    """Reference masks by the path of their slice without suffix.

    A mask without a slice of its name is of the one whose name differs in the form of accents
    alone, which a copy by macOS changes; where there are two of these, it is of neither.
    """
    names = {path.with_suffix("") for path in slices}
    alike: dict[Path, list[Path]] = defaultdict(list)
    for name in names:
        if not name.name.isascii():
            alike[_composed(name)].append(name)
    grouped: dict[Path, tuple[Path, ...]] = {}
    for mask in masks:
        name = slice_of(mask)
        if name not in names and len(same := alike.get(_composed(name), [])) == 1:
            (name,) = same
        grouped[name] = (*grouped.get(name, ()), mask)
    return grouped


def _composed(path: Path) -> Path:
    return path.parent / unicodedata.normalize("NFC", path.name)
