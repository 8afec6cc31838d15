"""A DICOMweb server: find a study's series (QIDO), fetch them (WADO), store results (STOW).

Nothing is logged, and messages name the server by its host alone: addresses and answers of these
services hold UIDs.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lgg_runtime.errors import FetchError, StoreError, UsageError, printable
from lgg_runtime.extras import import_extra
from lgg_runtime.readers.dicom_files import DAMAGE, keep_silent, load_pydicom
from lgg_runtime.writers.atomic import refused

_FIND_BYTES = 64 << 20
_ANSWER_BYTES = 16 << 20
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_STORED, _FAILED = "ReferencedSOPSequence", "FailedSOPSequence"
# As the server holds them: a conversion on its side may lose an attribute or fail.
_ANY_SYNTAX = (("application/dicom", "*"),)


@dataclass(frozen=True)
class WebServer:
    """Where the services are and who asks; raises UsageError for an address that cannot be.

    url: of the three services, http or https; user and password, or token, are sent where they
    are set, and else what netrc holds for the host; timeout_s: of a connection and of each wait
    for bytes.
    """

    url: str
    user: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    timeout_s: float = 60.0

    def __post_init__(self) -> None:
        if why := _why_no_address(self.url):
            raise UsageError(f"DICOMweb address: {why}; expected e.g. http://host:8042/dicom-web")

    @property
    def name(self) -> str:
        """Host and port, as messages may name it."""
        return urlsplit(self.url).netloc


@dataclass(frozen=True)
class RemoteSeries:
    """A series that the server lists; instances: how many it says to hold, None if it does not."""

    uid: str
    modality: str
    instances: int | None


def find_series(server: WebServer, study: str) -> list[RemoteSeries]:
    """The series of a study, none where the server does not know it.

    Raises FetchError for a server that cannot be asked, UsageError for what is no UID.
    """
    _require_uids(study)
    fields = ["Modality", "NumberOfSeriesRelatedInstances"]
    with _connect(server, _FIND_BYTES, FetchError) as client:
        listed = client.search_for_series(study_instance_uid=study, fields=fields)
        series = [load_pydicom().Dataset.from_json(item) for item in listed]
        return [
            RemoteSeries(str(one.SeriesInstanceUID), str(one.get("Modality") or ""), _count(one))
            for one in series
        ]


def fetch_series(
    server: WebServer, study: str, series: RemoteSeries, folder: Path, most_bytes: int
) -> int:
    """Write the images of a series into a folder, a file each; the bytes that were received.

    Files are named by a digest of their SOPInstanceUID, because a UID from the network is never a
    path. Raises FetchError for a server that cannot be asked, sends more than `most_bytes`, fewer
    images than it lists or one of another series, and ResourceError where the disk is full.
    """
    _require_uids(study, series.uid)
    count = received = 0
    with (
        _connect(server, most_bytes, FetchError) as client,
        closing(client.iter_series(study, series.uid, media_types=_ANY_SYNTAX)) as images,
    ):
        for image in images:
            held = (str(image.get("StudyInstanceUID")), str(image.get("SeriesInstanceUID")))
            if held != (study, series.uid) or not image.get("SOPInstanceUID"):
                raise FetchError(f"{server.name}: sent an image that was not asked for")
            name = hashlib.sha256(str(image.SOPInstanceUID).encode()).hexdigest()[:32]
            received += _save(image, folder / f"{name}.dcm", server)
            count += 1
    if count < (series.instances or 1):
        raise FetchError(f"{server.name}: sent {count} images of {series.instances or 'a series'}")
    return received


def store_result(server: WebServer, path: Path) -> None:
    """Store one object; storing it again is no error and makes no second one.

    Raises StoreError where the server does not take it, `is_passing` where it may later.
    """
    data = load_pydicom().dcmread(path)
    with _connect(server, _ANSWER_BYTES, StoreError) as client:
        answer = client.store_instances([data])
        stored = [str(item.ReferencedSOPInstanceUID) for item in answer.get(_STORED) or ()]
        failed = [int(item.get("FailureReason") or 0) for item in answer.get(_FAILED) or ()]
    if failed:
        raise StoreError(f"{server.name}: refuses the object, reason 0x{failed[0]:04X}")
    if stored and str(data.SOPInstanceUID) not in stored:
        raise StoreError(f"{server.name}: does not confirm the object")


def holds_result(server: WebServer, path: Path) -> bool:
    """Whether the server lists the object of a file. Raises StoreError as `store_result` does."""
    data = load_pydicom().dcmread(path, stop_before_pixels=True)
    wanted = {"SOPInstanceUID": str(data.SOPInstanceUID)}
    study, series = str(data.StudyInstanceUID), str(data.SeriesInstanceUID)
    with _connect(server, _FIND_BYTES, StoreError) as client:
        try:
            listed = client.search_for_instances(study, series, search_filters=wanted)
        except import_extra("requests", "dicomweb").HTTPError as error:
            if error.response.status_code != 404:
                raise
            return False  # how some servers say that they have no such series
        found = [load_pydicom().Dataset.from_json(item) for item in listed]
        return any(one.get("SOPInstanceUID") == data.SOPInstanceUID for one in found)


Failure = type[FetchError] | type[StoreError]


@contextmanager
def _connect(server: WebServer, most_bytes: int, failure: Failure) -> Iterator[Any]:
    """A client without retries, whose answers may hold so many bytes together."""
    package = import_extra("dicomweb_client", "dicomweb")
    requests = import_extra("requests", "dicomweb")
    for name in ("dicomweb_client", "urllib3", "requests"):
        keep_silent(name)  # their lines and warnings hold addresses with UIDs
    load_pydicom()
    budget = _Budget(server, most_bytes, failure)
    with requests.Session() as session, closing(budget), _refusals(server, failure):
        if server.user:
            session.auth = (server.user, server.password)
        if server.token:
            session.headers["Authorization"] = f"Bearer {server.token}"
        session.hooks["response"].append(budget.watch)
        url = server.url.rstrip("/")
        client = package.DICOMwebClient(url, session=session, timeout=server.timeout_s)
        client.set_http_retry_params(retry=False)
        yield client


class _Budget:
    """Counts the decoded bytes of answers as they are read, and closes what was not read."""

    def __init__(self, server: WebServer, most_bytes: int, failure: Failure):
        self._server, self._failure = server, failure
        self._most = self._left = most_bytes
        self._answers: list[Any] = []

    def watch(self, answer: Any, *_: Any, **__: Any) -> Any:
        read = answer.iter_content

        def counted(*args: Any, **options: Any) -> Iterator[bytes]:
            for chunk in read(*args, **options):
                self._left -= len(chunk)
                if self._left < 0:
                    most = f"{self._most / 2**20:.3g} MiB"
                    raise self._failure(f"{self._server.name}: sends more than the {most} allowed")
                yield chunk

        answer.iter_content = counted
        self._answers.append(answer)
        return answer

    def close(self) -> None:
        for answer in self._answers:
            answer.close()


@contextmanager
def _refusals(server: WebServer, failure: Failure) -> Iterator[None]:
    """What goes wrong with a server as one line, without the cause: that holds addresses."""
    errors = import_extra("requests", "dicomweb").exceptions
    not_dicom = import_extra("pydicom", "dicom").errors.InvalidDicomError
    try:
        yield
    except errors.HTTPError as error:
        status = int(error.response.status_code)
        raise failure(f"{server.name}: {_in_words(status)}", status in _PASSING) from None
    except errors.Timeout:
        raise failure(f"{server.name}: no answer within {server.timeout_s:g} s", True) from None
    except errors.SSLError:
        remedy = "REQUESTS_CA_BUNDLE names a file with its authority"
        raise failure(f"{server.name}: its certificate is not trusted; {remedy}") from None
    except (errors.JSONDecodeError, errors.InvalidURL, errors.InvalidSchema):
        raise failure(f"{server.name}: its answer is no DICOMweb") from None
    except errors.RequestException:
        raise failure(f"{server.name}: cannot be reached, or breaks off", True) from None
    except (not_dicom, *DAMAGE):  # RecursionError too, of sequences nested too deeply
        raise failure(f"{server.name}: its answer is no DICOMweb, or damaged DICOM") from None


def _in_words(status: int) -> str:
    if status in (401, 403):
        return (
            f"refuses the user ({status}); set LGG_DICOMWEB_USER and LGG_DICOMWEB_PASSWORD, "
            "or LGG_DICOMWEB_TOKEN"
        )
    if status == 404:
        return "knows no such study, or has no DICOMweb at this address (404)"
    return f"answers with HTTP status {status}"


def _save(image: Any, path: Path, server: WebServer) -> int:
    if path.exists():
        raise FetchError(f"{server.name}: sent one image twice")
    try:
        image.save_as(path, enforce_file_format=True)
        return path.stat().st_size
    except OSError as error:
        raise refused(path, error) from error


def _count(series: Any) -> int | None:
    value = series.get("NumberOfSeriesRelatedInstances")
    return None if value is None or value == "" else int(value)


def _require_uids(*uids: str) -> None:
    for uid in uids:
        if len(uid) > 64 or not re.fullmatch(r"\d+(\.\d+)*", uid):
            raise UsageError("a study or series UID: expected digits and dots, at most 64")


def _why_no_address(url: str) -> str:
    """Why a URL is none of a DICOMweb server, empty where it may be; it is not repeated here."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return "not a URL"
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return "not a URL of http or https"
    if parts.username or parts.password:
        return "holds a user or a password, which do not belong there"
    if parts.query or parts.fragment:
        return "ends with a query"
    if ":" in parts.hostname:
        return "an IPv6 address is not supported; give a name"
    return "" if printable(url) == url else "holds characters that no URL has"
