"""Where results may go: never among the inputs, and never in the place of a run's own files."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, takewhile
from pathlib import Path

from lgg_runtime.errors import OutputConflictError, UsageError
from lgg_runtime.lock import LOCK_FILE
from lgg_runtime.readers.dicom_files import is_dicomdir_name
from lgg_runtime.readers.listing import RASTER, Listing
from lgg_runtime.readers.tree import is_folder
from lgg_runtime.redact import without_uids
from lgg_runtime.run.journal import REPORT_FILE, RUN_FILE, SUMMARY_FILE
from lgg_runtime.run.ledger import JOURNAL_FILE
from lgg_runtime.writers.atomic import find_nearest, make_folder, telling_refusal

# FAT takes a name without them.
_ENDS_OF_FOLDERS = re.compile(r"[. ]+(?=/)")
_OWN_FILES = {RUN_FILE, SUMMARY_FILE, REPORT_FILE, JOURNAL_FILE, LOCK_FILE}


def check_output(output: Path, source: Path) -> None:
    """Raises UsageError where results could be taken for inputs, or replace the reference masks
    beside a single slice, NoInputError where there is no input.
    """
    if _among_inputs(source)(output):
        raise UsageError(f"output {output} lies inside the input; choose a folder outside it")


def check_places(output: Path, source: Path, listing: Listing) -> None:
    """Raises UsageError where a study's results would lie inside the input, OutputConflictError
    where the folder for them has the name of a file that a run writes.
    """
    is_inside = _among_inputs(source, _folders_of(listing))
    for folder in sorted({study.folder for study in listing.studies}):
        name = without_uids(folder.as_posix())
        if _OWN_FILES.intersection(folder.parts[:1]):
            raise OutputConflictError(
                f"results of {name} would stand in the place of the run's own {folder.parts[0]}; "
                "rename that folder"
            )
        if is_inside(output / folder):
            raise UsageError(
                f"results of {name} would lie inside the input, in {output / name}; "
                "choose another output folder"
            )


def check_names(output: Path, listing: Listing) -> None:
    """Raises OutputConflictError where results would have two names that the output's disk takes
    for one, as it may where they differ in the case of letters, the form of accents or the dots
    that end a folder's name.
    """
    alike: dict[str, list[str]] = {}
    for study in listing.studies:
        stems = [path.rpartition(".")[0] for path in study.paths] if study.kind == RASTER else []
        for name in (str(listing.root / study.base), *stems):
            names = alike.setdefault(_fold(name), [])
            if name not in names:
                names.append(name)
    doubted = [
        [listing.relative(Path(name)) for name in names] for names in alike.values() if names[1:]
    ]
    if doubted and (taken := _find_taken_for_one(output, doubted)):
        a, b = map(without_uids, taken)
        raise OutputConflictError(
            f"{a} and {b} would have one name in the results: the disk of {output} takes these for "
            "one; rename one or choose another disk"
        )


def _fold(name: str) -> str:
    """Equal for names that some disk may take for one."""
    apart = unicodedata.normalize("NFD", _ENDS_OF_FOLDERS.sub("", name))
    return unicodedata.normalize("NFC", apart.casefold())


def _find_taken_for_one(output: Path, doubted: Iterable[Sequence[str]]) -> tuple[str, str] | None:
    """Two names of one group that the disk of this folder, which need not be there yet, takes for
    one. Raises ResourceError where nothing can be made there.

    Each name is made once: to make each pair of thousands would take minutes.
    """
    import tempfile  # a tenth of Python's own start, and seldom needed

    nearest = find_nearest(output)
    with (
        telling_refusal(output),
        tempfile.TemporaryDirectory(prefix="lgg-names-", dir=nearest) as made,
    ):
        for number, names in enumerate(doubted):
            for name in names:
                # As results have it, whose names go on behind a slice's.
                path = Path(made, str(number), f"{name}_")
                if path.exists():
                    return os.fsdecode(path.read_bytes()), name
                make_folder(path.parent)
                path.write_bytes(os.fsencode(name))
    return None


def _among_inputs(source: Path, folders: Iterable[Path] = ()) -> Callable[[Path], bool]:
    """Whether results in a folder would lie below the input, or beside it if it is one file. Images
    that a DICOMDIR lists lie below its folder.

    Folders are the same by what the disk says of them: one that is mounted twice, or on a disk that
    takes A for a, has several names. folders: of the input, one of which may be mounted by itself.
    """
    if is_dicomdir_name(source) and not is_folder(source):
        source = source.parent
    if is_folder(source):
        inputs = {_identify(folder) for folder in (_follow(source), *folders)} - {None}
        outside: set[Path] = set()  # with all above it, which the results of many studies share

        def is_inside(results: Path) -> bool:
            new = list(takewhile(lambda place: place not in outside, _with_parents(results)))
            if any(_identify(place) in inputs for place in new):
                return True
            outside.update(new)
            return False

        return is_inside
    beside = {_identify(source.parent), _identify(_follow(source).parent)} - {None}
    return lambda results: _identify(_follow(results)) in beside


def _folders_of(listing: Listing) -> set[Path]:
    """Those that hold its files, and those between them and its root."""
    below: set[Path] = set()
    for holding in {Path(path).parent for study in listing.studies for path in study.paths}:
        folder = holding
        while folder not in below and folder.is_relative_to(listing.root):
            below.add(folder)
            folder = folder.parent
    return below


def _with_parents(path: Path) -> Iterator[Path]:
    followed = _follow(path)
    return chain((followed,), followed.parents)


def _identify(folder: Path) -> tuple[int, int] | None:
    """None for what is not there, or may not be looked at."""
    try:
        status = folder.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _follow(path: Path) -> Path:
    try:
        return Path(os.path.realpath(path))  # unlike resolve, it takes a loop of links
    except FileNotFoundError as error:
        raise UsageError("the current folder is gone; give absolute paths") from error
