"""Files of the spool without a record, as a start finds them: what a kill left, or images whose
records were lost.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from lgg_runtime.errors import InputError, OutputConflictError, ResourceError
from lgg_runtime.pacs.arrival import Arrival, check_arrival
from lgg_runtime.pacs.instances import record
from lgg_runtime.pacs.log import LOG
from lgg_runtime.pacs.spool import DATABASE, RESULTS, Spool, list_files, remove_file
from lgg_runtime.pacs.state import State
from lgg_runtime.plural import count
from lgg_runtime.readers.dicom_files import DAMAGE, load_pydicom, read_meta
from lgg_runtime.writers.atomic import PART_SUFFIX

_UNDEFINED_LENGTH = 0xFFFFFFFF
_TOLD_EVERY = 5000


def settle_leftovers(
    state: State, spool: Spool, is_ending: Callable[[], bool] = lambda: False
) -> None:
    """Record whole images anew, not confirmed, so that their studies are held; remove the rest.

    A peer may have been told that such an image is kept: a database that lost its last changes, or
    is an older copy, does not know of it. What else has no record is made again, a result too, or
    was cut short. A file of a name that the node does not give is somebody else's, and stays.
    is_ending: asked before each file; once it is so, the others are left to the next start.
    Raises OutputConflictError for images that another database named, ResourceError for one that
    cannot be read.
    """
    known = _known_files(state, spool)
    left = [path for path in list_files(spool.root) if path not in known]
    kept, lost = 0, []
    for path in _telling(left):
        if is_ending():
            LOG.info("told to end; the next start looks at the other files without a record")
            break
        if _keep(state, spool, path):
            kept += 1
        else:
            lost.append(path)
    if kept:
        LOG.warning(
            "%s without a record, as after a kill or beside an older %s; kept, and held with the "
            "rest of the study until that is sent again",
            count(kept, "image"),
            DATABASE,
        )
    for path in lost:
        remove_file(path)
    if lost:
        LOG.info("removed %s of an earlier run", count(len(lost), "unfinished file"))


def _telling(left: Sequence[Path]) -> Iterator[Path]:
    """The same; how many there are, and how many are done, is logged, for many take minutes."""
    if len(left) > _TOLD_EVERY:
        LOG.info("looking at %d files without a record; the node listens after that", len(left))
    for done, path in enumerate(left):
        if done and not done % _TOLD_EVERY:
            LOG.info("looked at %d of %d files without a record", done, len(left))
        yield path


def _known_files(state: State, spool: Spool) -> set[Path]:
    images = state.rows("SELECT id, study FROM instance WHERE present")
    results = state.rows("SELECT id FROM result WHERE present")
    known = {spool.image(row["study"], row["id"]) for row in images}
    return known | {spool.result(row["id"]) for row in results}


def _keep(state: State, spool: Spool, path: Path) -> bool:
    """Record an image that is whole; whether it is one."""
    arrival = None if path.suffix == PART_SUFFIX or path.parent.name == RESULTS else _read(path)
    if arrival is None:
        return False
    study, instance = spool.name_of(arrival.study_uid), spool.name_of(arrival.instance_uid)
    if spool.image(study, instance) != path:
        raise OutputConflictError(
            f"{DATABASE}: did not name {path.relative_to(spool.root)}, so it is another spool's; "
            "bring that of its images back, or choose another spool"
        )
    elsewhere = "SELECT 1 FROM instance WHERE id = ? AND study != ? AND present"
    if state.rows(elsewhere, (instance, study)):
        return False  # its peer was told that it is kept there alone
    record(state, study, instance, hashlib.sha256(arrival.body).hexdigest(), arrival.file)
    return True


def _read(path: Path) -> Arrival | None:
    """An image as it came; None for what is none, or damaged. Raises ResourceError for a file that
    the disk does not give, MemoryError where the memory does not suffice for it.
    """
    try:
        file = path.read_bytes()
    except OSError as error:
        raise ResourceError(
            f"{path}: cannot be read ({error.strerror}); give it to the node's user, or see to the "
            "disk"
        ) from error
    try:
        stream = io.BytesIO(file)
        meta = read_meta(stream)
        instance, kind = str(meta.MediaStorageSOPInstanceUID), str(meta.MediaStorageSOPClassUID)
        body = file[stream.tell() :]
        arrival = check_arrival(instance, kind, str(meta.TransferSyntaxUID), file, body)
        return arrival if _has_whole_pixels(file) else None
    except MemoryError:
        raise
    except (InputError, load_pydicom().errors.InvalidDicomError, *DAMAGE):
        return None


def _has_whole_pixels(file: bytes) -> bool:
    """An image that is cut within them would stand against the whole one when that comes again."""
    data = load_pydicom().dcmread(io.BytesIO(file), specific_tags=["PixelData"])
    # pydicom leaves out fragments that are cut, and of native pixels gives what is there.
    pixels = data.get_item("PixelData")
    return pixels is not None and pixels.length in (_UNDEFINED_LENGTH, len(pixels.value))
