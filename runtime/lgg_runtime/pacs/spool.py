"""The node's folder: received images and results, under names that no peer chooses."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from lgg_runtime.digests import find_digest
from lgg_runtime.errors import OutputConflictError, ResourceError
from lgg_runtime.writers.atomic import PART_SUFFIX, make_folder, telling_refusal, write_atomically

DATABASE, IMAGES, RESULTS = "state.sqlite", "images", "results"
NAME_DIGITS = 12  # of a name in lines for people
_OWN_NAME = re.compile(
    rf"(?:{IMAGES}/[0-9a-f]{{32}}|{RESULTS})/[0-9a-f]{{32}}\.dcm(?:{re.escape(PART_SUFFIX)})?"
)


class RemovalError(ResourceError):
    """The disk does not let a file go."""


class Spool:
    """Files below one folder, each named by a keyed digest of its UID.

    A UID from the network is never a path, and without the key a name tells nothing of it.
    """

    def __init__(self, root: Path, key: bytes):
        self.root = root
        self._key = key
        self._images, self._results = root / IMAGES, root / RESULTS
        for folder in (self._images, self._results):
            make_folder(folder)

    def name_of(self, uid: str) -> str:
        """32 hexadecimal digits that stand for a UID in files, records and messages."""
        return hmac.new(self._key, uid.encode(), hashlib.sha256).hexdigest()[:32]

    def free_bytes(self) -> int:
        """Free disk under the spool. Raises ResourceError where the folder is gone."""
        try:
            return shutil.disk_usage(self.root).free
        except OSError as error:
            raise ResourceError(
                f"the spool cannot be looked at ({error.strerror}); bring {self.root} back"
            ) from error

    def image(self, study: str, instance: str) -> Path:
        return self._images / study / f"{instance}.dcm"

    def result(self, result: str) -> Path:
        return self._results / f"{result}.dcm"

    @contextlib.contextmanager
    def keeping_image(self, study: str, instance: str, data: bytes) -> Iterator[None]:
        """Around the record of an image: it is written, and removed where it is not recorded."""
        self.keep_image(study, instance, data)
        try:
            yield
        except ResourceError:
            with contextlib.suppress(RemovalError):
                self.remove_images(study, [instance])
            raise

    def keep_image(self, study: str, instance: str, data: bytes) -> None:
        """Write an image; on return it is on the disk. Raises ResourceError."""
        path = self.image(study, instance)
        try:
            self._keep(path, data)
        except ResourceError:
            if path.parent.is_dir():
                raise
            self._keep(path, data)  # the folder was empty, and removed meanwhile

    def keep_result(self, result: str, data: bytes) -> None:
        """Write a result; on return it is on the disk. Raises ResourceError."""
        self._keep(self.result(result), data)

    def remove_images(self, study: str, instances: Iterable[str]) -> None:
        """Remove these images, and their folder if it is empty then: others may be arriving.
        Raises RemovalError.
        """
        for instance in instances:
            remove_file(self.image(study, instance))
        with contextlib.suppress(OSError):  # not empty, or gone
            (self._images / study).rmdir()

    def remove_result(self, result: str) -> None:
        """Raises RemovalError."""
        remove_file(self.result(result))

    def _keep(self, path: Path, data: bytes) -> None:
        if not path.parent.is_dir():
            make_folder(path.parent)
            _flush(path.parent.parent)
        write_atomically(path, data)
        _flush(path.parent)


def is_whole(path: Path, digest: str) -> bool:
    """Whether a file is what was written: the disk may have lost, cut or damaged it. digest: its
    SHA-256 in hexadecimal digits.
    """
    return find_digest(path) == digest


def list_files(root: Path) -> list[Path]:
    """The files below a node's folder that bear names as a node gives them, whole or in part.
    Raises ResourceError where the disk does not tell of them.
    """
    with telling_failed_look(root):
        found = (*root.glob(f"{IMAGES}/*/*"), *root.glob(f"{RESULTS}/*"))
        return [
            path
            for path in found
            if _OWN_NAME.fullmatch(path.relative_to(root).as_posix()) and path.is_file()
        ]


def remove_file(path: Path) -> None:
    """Remove a file that may be there. Raises RemovalError where that cannot be."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise RemovalError(
            f"{path}: cannot be removed ({error.strerror}); see to the disk and whose the file is"
        ) from error


@contextlib.contextmanager
def telling_failed_look(path: Path) -> Iterator[None]:
    """Raises ResourceError where the disk does not tell what is there."""
    try:
        yield
    except OSError as error:
        raise ResourceError(
            f"{path}: cannot be looked at ({error.strerror}); see to the disk"
        ) from error


def require_records(root: Path) -> None:
    """Raises OutputConflictError for a folder with files of a node and without its database,
    ResourceError where the disk does not tell.

    Nobody would know what they are, and a start would remove most of them.
    """
    with telling_failed_look(root):
        has_records = (root / DATABASE).exists()
    if not has_records and list_files(root):
        raise OutputConflictError(
            f"{root}: holds images or results of a node, but no {DATABASE}; bring that back, or "
            "choose another spool"
        )


def _flush(folder: Path) -> None:
    """A rename outlives a loss of power once its folder is on the disk."""
    with telling_refusal(folder):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
