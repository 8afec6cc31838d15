"""What is asked of a DICOMweb server: a study's series (QIDO), their images (WADO), and to store
results (STOW).
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lgg_runtime.errors import FetchError, StoreError, UsageError
from lgg_runtime.extras import import_extra
from lgg_runtime.pacs.arrival import DUPLICATE_INSTANCE, has_no_room, is_uid
from lgg_runtime.pacs.web_answers import kind_of, parts_of
from lgg_runtime.pacs.web_client import WebServer, connect, open_session
from lgg_runtime.readers.dicom_encoding import CostlyHeaderError, read_values
from lgg_runtime.readers.dicom_files import MAX_FILE_BYTES, load_pydicom, read_meta
from lgg_runtime.writers.atomic import telling_refusal

_FIND_BYTES = 64 << 20
_MOST_MORE_BYTES = 15 << 20
_ANSWER_BYTES = 1 << 20  # to one object: pydicom makes a thousand bytes of two of them
_STORED, _FAILED = "ReferencedSOPSequence", "FailedSOPSequence"
_JSON = ("application/dicom+json", "application/json")
# Images as the server holds them: a conversion on its side may lose an attribute or fail.
_ANY_SYNTAX = (("application/dicom", "*"),)
_ACCEPT = {"Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'}
_IMAGE, _STUDY, _SERIES, _MODALITY = "00080018", "0020000D", "0020000E", "00080060"
_SERIES_COUNT, _IMAGE_COUNT = "00201206", "00201209"


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
    with connect(server, _FIND_BYTES, FetchError) as client:
        listed = client.search_for_series(study_instance_uid=study, fields=fields)
        return [_series_of(entry) for entry in listed]


def count_series(server: WebServer, study: str) -> int | None:
    """How many series the server says that a study has, None where it does not say: a server may
    list a part of them. Raises as `find_series`.
    """
    _require_uids(study)
    wanted, fields = {"StudyInstanceUID": study}, ["NumberOfStudyRelatedSeries"]
    with connect(server, _FIND_BYTES, FetchError) as client:
        listed = client.search_for_studies(search_filters=wanted, fields=fields)
        told = [_value(one, _SERIES_COUNT) for one in listed if _value(one, _STUDY) == study]
        return max((int(count) for count in told if count), default=None)


def fetch_series(
    server: WebServer, study: str, series: RemoteSeries, folder: Path, most_bytes: int
) -> int:
    """Write the images of a series into a folder, a file each; returns how many bytes came.

    Files are named by a digest of their SOPInstanceUID, because a UID from the network is never a
    path. Raises FetchError for a server that cannot be asked, sends more than `most_bytes`, fewer
    images than it lists or one of another series, and ResourceError where the disk is full.
    """
    _require_uids(study, series.uid)
    count = received = 0
    address = f"{server.url.rstrip('/')}/studies/{study}/series/{series.uid}"
    with open_session(server, most_bytes, FetchError) as session:
        answer = session.get(address, headers=_ACCEPT, stream=True, timeout=server.timeout_s)
        answer.raise_for_status()
        for image in parts_of(answer, MAX_FILE_BYTES):
            uids = _uids_of(image, server)
            if (uids.get(_STUDY), uids.get(_SERIES)) != (study, series.uid) or not uids.get(_IMAGE):
                raise FetchError(f"{server.name}: sent an image that was not asked for")
            name = hashlib.sha256(uids[_IMAGE].encode()).hexdigest()[:32]
            path = folder / f"{name}.dcm"
            if path.exists():
                raise FetchError(f"{server.name}: sent one image twice")
            with telling_refusal(path):
                received += path.write_bytes(image)
            count += 1
    if count < (series.instances or 1):
        raise FetchError(f"{server.name}: sent {count} images of {series.instances or 'a series'}")
    return received


def store_result(server: WebServer, path: Path, may_be_there: bool = False) -> None:
    """Store one object; storing it again is no error and makes no second one, also where the server
    refuses it because it holds the same.

    may_be_there: an earlier attempt may have brought it, so that a duplicate is that one.
    Raises StoreError where the server does not take it, `is_passing` where it may later.
    """
    data = load_pydicom().dcmread(path)
    with connect(server, _ANSWER_BYTES, StoreError) as client:
        try:
            answer = client.store_instances([data])
        except import_extra("requests", "dicomweb").HTTPError as error:
            answer = _read_conflict(error)
        stored = [str(item.ReferencedSOPInstanceUID) for item in answer.get(_STORED) or ()]
        failed = [int(item.get("FailureReason") or 0) for item in answer.get(_FAILED) or ()]
    if failed:
        if (may_be_there and failed == [DUPLICATE_INSTANCE]) or _holds_same(server, path):
            return
        why = f"{server.name}: refuses the object, reason 0x{failed[0]:04X}"
        if failed[0] == DUPLICATE_INSTANCE:
            why += "; it has that UID, and does not give the same object back"
        raise StoreError(why, has_no_room(failed[0]))
    # What is stored is listed (PS3.18, 10.5.3). Orthanc lists nothing where its disk is full.
    if answer and str(data.SOPInstanceUID) not in stored:
        raise StoreError(f"{server.name}: does not confirm the object", is_passing=True)


def _holds_same(server: WebServer, path: Path) -> bool:
    """Whether the server gives the object of a file as it is there: some servers refuse what they
    hold already, each with a reason of its own.
    """
    data = load_pydicom().dcmread(path)
    uids = (data.StudyInstanceUID, data.SeriesInstanceUID, data.SOPInstanceUID)
    try:
        size = path.stat().st_size
        # As a server encodes it, which may be anew.
        most = size + min(size, _MOST_MORE_BYTES) + _ANSWER_BYTES
        with connect(server, most, StoreError) as client:
            return bool(client.retrieve_instance(*uids, media_types=_ANY_SYNTAX) == data)
    except StoreError:
        return False


def holds_result(server: WebServer, path: Path) -> bool:
    """Whether the server lists the object of a file. Raises StoreError as `store_result` does."""
    data = load_pydicom().dcmread(path, stop_before_pixels=True)
    image, wanted = str(data.SOPInstanceUID), {"SOPInstanceUID": str(data.SOPInstanceUID)}
    study, series = str(data.StudyInstanceUID), str(data.SeriesInstanceUID)
    with connect(server, _FIND_BYTES, StoreError) as client:
        try:
            listed = client.search_for_instances(study, series, search_filters=wanted)
        except import_extra("requests", "dicomweb").HTTPError as error:
            if error.response.status_code != 404:
                raise
            return False  # how some servers say that they have no such series
        return any(_value(one, _IMAGE) == image for one in listed)


def _read_conflict(error: Any) -> Any:
    """What a server says of an object that it did not take (409: PS3.18, 10.5.3). Raises the error
    where it says nothing.
    """
    answer = error.response
    if answer.status_code != 409 or kind_of(answer) not in _JSON:
        raise error
    told = load_pydicom().Dataset.from_json(answer.json())
    if not told.get(_FAILED):
        raise error
    return told


def _uids_of(image: bytes, server: WebServer) -> dict[str, str]:
    """The UIDs of a file of DICOM, by tag. Raises FetchError for one with more elements and items
    than any image has, InvalidDicomError, and as `read_values` does for a damaged one.
    """
    stream = io.BytesIO(image)
    syntax = read_meta(stream).get("TransferSyntaxUID")
    wanted = (int(tag, 16) for tag in (_IMAGE, _STUDY, _SERIES))
    try:
        found = read_values(image[stream.tell() :], str(syntax), wanted)
    except CostlyHeaderError as error:
        raise FetchError(f"{server.name}: sent an image that is refused: {error}") from error
    return {f"{tag:08X}": value for tag, value in found.items()}


def _series_of(entry: Any) -> RemoteSeries:
    uid, count = _value(entry, _SERIES), _value(entry, _IMAGE_COUNT)
    if not uid:
        raise ValueError("a series without its UID")
    count = None if count is None or count == "" else int(count)
    return RemoteSeries(str(uid), str(_value(entry, _MODALITY) or ""), count)


def _value(entry: Any, tag: str) -> Any:
    """The first value of an attribute in DICOM JSON (PS3.18, F.2), None where there is none.

    Of all that a server lists pydicom would make a thousand bytes of each item of two.
    """
    told = entry.get(tag, {}).get("Value") or [None]
    return told[0]


def _require_uids(*uids: str) -> None:
    if not all(map(is_uid, uids)):
        raise UsageError(
            "a study or series UID: expected numbers with dots between, at most 64 characters"
        )
