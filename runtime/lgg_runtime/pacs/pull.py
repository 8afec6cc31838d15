"""A study from a DICOMweb server, in a private folder for as long as it is segmented."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lgg_runtime.errors import FetchError, UsageError
from lgg_runtime.pacs.dicomweb import (
    RemoteSeries,
    count_series,
    fetch_series,
    find_series,
    store_result,
)
from lgg_runtime.pacs.web_client import WebServer
from lgg_runtime.redact import short_digest, without_uids
from lgg_runtime.run.journal import DONE, Journal
from lgg_runtime.writers.temporary_files import telling_temporary_files

MOST_BYTES = 4 << 30  # of one study; its files lie on disk, not in memory


@dataclass(frozen=True)
class Pull:
    """Which study of which server; series_uids: these series alone, else all of MR."""

    server: WebServer
    study: str
    series_uids: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The study as results name it, without its UID."""
        return f"uid-{short_digest(self.study)}"

    @property
    def described(self) -> str:
        """What run.json records as the input."""
        return f"{self.name} from {without_uids(self.server.url)}"


def read_pull(source: Path | None, options: dict[str, Any]) -> Path | Pull:
    """The study that lgg-infer's options ask for, INPUT where it is given.

    Raises UsageError for both or neither, and for options that do not go with it.
    """
    origin, study, back = (options[name] for name in ("origin", "study", "store_back"))
    if origin is None:
        if source is None:
            raise UsageError("no INPUT; give one, or --from dicomweb URL --study UID")
        if study or back:
            raise UsageError("--study and --store-back: with --from alone")
        return source
    if source is not None or not study or options["evaluate"]:
        raise UsageError("--from: takes --study UID, no INPUT and no --evaluate")
    if back and not any(name.startswith("dicom-") for name in options["output_types"]):
        raise UsageError("--store-back: stores DICOM; add e.g. --output-type dicom-seg")
    return Pull(server_of(origin[1]), study, options["series_uids"])


def server_of(url: str) -> WebServer:
    """The server at an address, with the user that the environment names.

    Raises UsageError for an address that cannot be.
    """
    names = ("LGG_DICOMWEB_USER", "LGG_DICOMWEB_PASSWORD", "LGG_DICOMWEB_TOKEN")
    user, password, token = (os.environ.get(name, "") for name in names)
    return WebServer(url, user, password, token)


@contextmanager
def fetched(pull: Pull, most_bytes: int = MOST_BYTES) -> Iterator[Path]:
    """A folder with the study's images that only this user can read, gone afterwards.

    Raises FetchError where the server does not give them, or more than `most_bytes`, ResourceError
    where the disk does not hold them.
    """
    wanted = _choose(pull)
    with telling_temporary_files():
        private = tempfile.TemporaryDirectory(prefix="lgg-")  # mode 0700
    with private as root:
        folder = Path(root) / pull.name
        folder.mkdir(mode=0o700)
        left = most_bytes
        with telling_temporary_files():
            for series in wanted:
                left -= fetch_series(pull.server, pull.study, series, folder, left)
        yield folder


def store_back(server: WebServer, output: Path, journal: Journal) -> int:
    """Store the DICOM objects that a run wrote; returns how many.

    Raises StoreError at the first that is not taken; those before it are stored.
    """
    written = [
        output / name
        for record in journal.inputs
        if record.fate == DONE
        for name in record.outputs
        if name.endswith(".dcm")
    ]
    for path in written:
        store_result(server, path)
    return len(written)


def _choose(pull: Pull) -> list[RemoteSeries]:
    listed = find_series(pull.server, pull.study)
    where = pull.server.name
    if not listed:
        raise FetchError(f"{where}: knows no such study")
    if len({series.uid for series in listed}) < len(listed):
        # Orthanc answers 404 for the images of either then.
        raise FetchError(
            f"{where}: lists a series twice, as where it holds the study under two patients; "
            "remove one there"
        )
    if pull.series_uids:
        wanted = [series for series in listed if series.uid in pull.series_uids]
        if len(wanted) < len(set(pull.series_uids)):
            raise FetchError(f"{where}: --series-uid: the study has no such series")
        return wanted
    there = count_series(pull.server, pull.study)
    if there is not None and len(listed) < there:
        raise FetchError(
            f"{where}: lists {len(listed)} series of {there}; raise its limit of answers, or "
            "choose with --series-uid"
        )
    wanted = [series for series in listed if series.modality == "MR"]
    if not wanted:
        raise FetchError(f"{where}: the study has no MR series")
    return wanted
