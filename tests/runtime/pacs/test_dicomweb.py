"""Find, fetch and store against a real Orthanc, and every refusal in one line."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from lgg_runtime.errors import FetchError, LggError, StoreError, UsageError
from lgg_train.phantom import PhantomSettings
from lgg_train.phantom_files import write_scans
from lgg_train.phantom_scan import ScanSettings
from stand_ins.orthanc import Orthanc, why_missing
from stand_ins.ports import free_port

pytest.importorskip("dicomweb_client")
pytest.importorskip("highdicom")

import pydicom

from lgg_runtime.pacs.dicomweb import (
    RemoteSeries,
    fetch_series,
    find_series,
    holds_result,
    store_result,
)
from lgg_runtime.pacs.web_client import WebServer

STUDY, SERIES = "1.2.826.0.1.3680043.8.498.1", "1.2.826.0.1.3680043.8.498.2"
MANY = 1 << 30


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The files of a phantom study by their SOPInstanceUID."""
    phantoms = PhantomSettings(patients=1, slices=4, size=48, seed=5)
    (folder,) = write_scans(tmp_path_factory.mktemp("web"), "dicom", phantoms, ScanSettings())
    return {
        str(pydicom.dcmread(path).SOPInstanceUID): path
        for path in folder.iterdir()
        if path.name.startswith("IM")
    }


@pytest.fixture(scope="module")
def study(images: dict[str, Path], orthanc: Orthanc) -> str:
    """The phantom study, stored in Orthanc."""
    for path in images.values():
        orthanc.call("/instances", path.read_bytes())
    return str(pydicom.dcmread(next(iter(images.values()))).StudyInstanceUID)


def test_a_study_is_found_and_comes_back_byte_for_byte(
    tmp_path: Path, images: dict[str, Path], study: str, orthanc: Orthanc
) -> None:
    server = WebServer(orthanc.dicomweb)
    found = find_series(server, study)
    assert {series.modality for series in found} == {"MR"}
    assert sum(series.instances or 0 for series in found) == len(images)
    received = sum(fetch_series(server, study, series, tmp_path, MANY) for series in found)
    fetched = {str(pydicom.dcmread(path).SOPInstanceUID): path for path in tmp_path.iterdir()}
    assert {uid: path.read_bytes() for uid, path in fetched.items()} == {
        uid: path.read_bytes() for uid, path in images.items()
    }
    assert received == sum(path.stat().st_size for path in images.values())
    assert not any(uid in path.name for uid, path in fetched.items())


def test_what_the_server_does_not_know_is_no_series_and_no_images(
    tmp_path: Path, orthanc: Orthanc
) -> None:
    server = WebServer(orthanc.dicomweb)
    assert find_series(server, STUDY) == []
    with pytest.raises(FetchError, match=r"knows no such study.*\(404\)"):
        fetch_series(server, STUDY, RemoteSeries(SERIES, "MR", 3), tmp_path, MANY)


def test_an_object_stored_twice_is_there_once(
    tmp_path: Path, images: dict[str, Path], orthanc: Orthanc
) -> None:
    made = pydicom.dcmread(next(iter(images.values())))
    made.StudyInstanceUID, made.SeriesInstanceUID = (pydicom.uid.generate_uid() for _ in range(2))
    made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    made.save_as(tmp_path / "made.dcm")
    server = WebServer(orthanc.dicomweb)
    assert not holds_result(server, tmp_path / "made.dcm")
    for _ in range(2):
        store_result(server, tmp_path / "made.dcm")
        assert holds_result(server, tmp_path / "made.dcm")
    (series,) = find_series(server, made.StudyInstanceUID)
    assert series.instances == 1


def test_more_than_the_cap_is_not_read(tmp_path: Path, study: str, orthanc: Orthanc) -> None:
    server = WebServer(orthanc.dicomweb)
    series = find_series(server, study)[0]
    with pytest.raises(FetchError, match=r"sends more than the 0\.000977 MiB allowed"):
        fetch_series(server, study, series, tmp_path, 1024)


def test_a_series_of_which_images_are_missing_is_refused(
    tmp_path: Path, study: str, orthanc: Orthanc
) -> None:
    server = WebServer(orthanc.dicomweb)
    listed = max(find_series(server, study), key=lambda series: series.instances or 0)
    more = RemoteSeries(listed.uid, "MR", 5)
    with pytest.raises(FetchError, match="sent 4 images of 5"):
        fetch_series(server, study, more, tmp_path, MANY)


def test_a_user_is_asked_for_and_taken(tmp_path: Path, images: dict[str, Path]) -> None:
    if reason := why_missing():
        pytest.skip(reason)
    guarded = Orthanc(tmp_path, users={"reader": "drawn-by-code"})
    guarded.start()
    try:
        with pytest.raises(FetchError, match=r"refuses the user \(401\); set LGG_DICOMWEB_USER"):
            find_series(WebServer(guarded.dicomweb), STUDY)
        with pytest.raises(StoreError, match=r"refuses the user \(401\)"):
            store_result(WebServer(guarded.dicomweb), next(iter(images.values())))
        known = WebServer(guarded.dicomweb, user="reader", password="drawn-by-code")
        assert find_series(known, STUDY) == []
    finally:
        guarded.stop()


Answer = Callable[..., WebServer]


def part(data: bytes) -> bytes:
    return b"--x\r\nContent-Type: application/dicom\r\n\r\n" + data + b"\r\n--x--"


MULTIPART = 'multipart/related; type="application/dicom"; boundary=x'


@pytest.mark.parametrize(
    ("status", "kind", "body", "message", "is_passing"),
    [
        (503, "text/plain", b"busy", "HTTP status 503", True),
        (429, "text/plain", b"", "HTTP status 429", True),
        (400, "text/plain", b"1.2.3", "HTTP status 400", False),
        (403, "text/plain", b"", r"refuses the user \(403\)", False),
        (200, "text/html", b"<html>log in</html>", "no DICOMweb", False),
        (200, "application/dicom+json", b'[{"0020000E": 5}]', "no DICOMweb", False),
        (200, "application/dicom+json", b"[7]", "no DICOMweb", False),
        (200, "application/dicom+json", b"[{}]", "no DICOMweb", False),
    ],
)
def test_an_answer_that_lists_nothing_usable_is_told(
    answering: Answer, status: int, kind: str, body: bytes, message: str, is_passing: bool
) -> None:
    server = answering(status, kind, body)
    with pytest.raises(FetchError, match=message) as refused:
        find_series(server, STUDY)
    assert refused.value.is_passing is is_passing
    assert_tells_no_uid(refused.value)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text/html", b"<html></html>"),
        (MULTIPART, b"--x\r\nno end of a header"),
        (MULTIPART, part(b"not DICOM at all")),
        (MULTIPART, part(bytes(128) + b"DICM" + b"\xff" * 40)),
        ("multipart/related", b""),
    ],
)
def test_images_that_are_none_are_refused(
    tmp_path: Path, answering: Answer, kind: str, body: bytes
) -> None:
    with pytest.raises(FetchError) as refused:
        fetch_series(
            answering(200, kind, body), STUDY, RemoteSeries(SERIES, "MR", None), tmp_path, MANY
        )
    assert_tells_no_uid(refused.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("is_split", [False, True])
def test_a_deflated_image_is_refused_before_it_is_inflated(
    tmp_path: Path, answering: Answer, images: dict[str, Path], is_split: bool
) -> None:
    """is_split: what tells of it lies across two of the pieces in which an answer is read."""
    image = pydicom.dcmread(next(iter(images.values())))
    image.file_meta.TransferSyntaxUID = syntax = pydicom.uid.DeflatedExplicitVRLittleEndian
    image.save_as(tmp_path / "deflated.dcm")
    file = (tmp_path / "deflated.dcm").read_bytes()
    whole = part(file[:-9])  # it cannot be inflated
    ahead = bytes(10**6 - whole.index(syntax.encode()) - 9) if is_split else b""
    server = answering(200, MULTIPART, ahead + whole)
    with pytest.raises(FetchError, match="sends a deflated data set; have it converted"):
        fetch_series(server, STUDY, RemoteSeries(SERIES, "MR", 1), tmp_path, MANY)


@pytest.mark.parametrize("end", [b"", b"\r\n--x", b"\r\n--x-", b"\r\n--x\r\n"])
def test_an_answer_that_ends_before_its_last_delimiter_is_refused(
    tmp_path: Path, answering: Answer, images: dict[str, Path], end: bytes
) -> None:
    path = next(iter(images.values()))
    header = pydicom.dcmread(path)
    study, series = str(header.StudyInstanceUID), str(header.SeriesInstanceUID)
    whole = part(path.read_bytes())
    server = answering(200, MULTIPART, whole.removesuffix(b"\r\n--x--") + end)
    with pytest.raises(FetchError, match="breaks off within its answer") as refused:
        fetch_series(server, study, RemoteSeries(series, "MR", None), tmp_path, MANY)
    assert refused.value.is_passing
    for image in tmp_path.iterdir():
        image.unlink()
    server = answering(200, MULTIPART, whole + b"\r\nan epilogue\r\n")
    assert fetch_series(server, study, RemoteSeries(series, "MR", None), tmp_path, MANY)


def test_an_image_of_another_study_or_another_series_is_refused(
    tmp_path: Path, answering: Answer, images: dict[str, Path]
) -> None:
    path = next(iter(images.values()))
    header = pydicom.dcmread(path)
    study, series = str(header.StudyInstanceUID), str(header.SeriesInstanceUID)
    server = answering(200, MULTIPART, part(path.read_bytes()))
    for asked, of in ((STUDY, series), (study, SERIES)):
        with pytest.raises(FetchError, match="sent an image that was not asked for"):
            fetch_series(server, asked, RemoteSeries(of, "MR", 1), tmp_path, MANY)
    assert list(tmp_path.iterdir()) == []
    fetch_series(server, study, RemoteSeries(series, "MR", 1), tmp_path, MANY)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"00081198": {"vr": "SQ", "Value": [{"00081197": {"vr": "US", "Value": [272]}}]}}',
         "refuses the object, reason 0x0110"),
        (b'{"00081199": {"vr": "SQ", "Value": [{"00081155": {"vr": "UI", "Value": ["1.2"]}}]}}',
         "does not confirm the object"),
        (b"[]", "no DICOMweb"),
    ],
)  # fmt: skip
def test_a_result_that_is_not_taken_is_told(
    answering: Answer, images: dict[str, Path], body: bytes, message: str
) -> None:
    with pytest.raises(StoreError, match=message):
        store_result(answering(200, "application/dicom+json", body), next(iter(images.values())))


FAILED = b'{"00081198": {"vr": "SQ", "Value": [{"00081197": {"vr": "US", "Value": [42752]}}]}}'
FAILED_XML = (
    b'<NativeDicomModel><DicomAttribute vr="SQ" keyword="FailedSOPSequence"><Item number="1">'
    b'<DicomAttribute vr="US" keyword="FailureReason"><Value number="1">42752</Value>'
    b"</DicomAttribute>"
    b"</Item></DicomAttribute></NativeDicomModel>"
)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/dicom+json; charset=utf-8", FAILED),
        ("Application/DICOM+JSON", FAILED),
        ("application/json;charset=UTF-8", FAILED),
        ("application/dicom+xml; charset=utf-8", FAILED_XML),
    ],
)
def test_a_failure_is_heard_however_the_answer_writes_its_type(
    answering: Answer, images: dict[str, Path], kind: str, body: bytes
) -> None:
    with pytest.raises(StoreError, match="refuses the object, reason 0xA700") as full:
        store_result(answering(202, kind, body), next(iter(images.values())))
    assert full.value.is_passing


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text/html", b"<html>log in</html>"),
        ("", FAILED),
        ("application/dicom+xml", b"<NativeDicomModel>"),
        ("application/dicom+json", b""),
    ],
)
def test_a_result_is_stored_by_no_answer_but_one_of_dicomweb_or_an_empty_one(
    answering: Answer, images: dict[str, Path], kind: str, body: bytes
) -> None:
    server, image = answering(200, kind, body), next(iter(images.values()))
    if not body:
        store_result(server, image)
        return
    with pytest.raises(StoreError, match="its answer is no DICOMweb") as refused:
        store_result(server, image)
    assert_tells_no_uid(refused.value)


DUPLICATE = FAILED.replace(b"42752", b"273")


@pytest.mark.parametrize("status", [200, 202, 409])
def test_a_duplicate_is_stored_only_where_an_earlier_attempt_may_have_arrived(
    answering: Answer, images: dict[str, Path], status: int
) -> None:
    image = next(iter(images.values()))
    server = answering(status, "application/dicom+json; charset=utf-8", DUPLICATE)
    store_result(server, image, may_be_there=True)
    with pytest.raises(StoreError, match="refuses the object, reason 0x0111"):
        store_result(server, image)
    other = answering(status, "application/dicom+json", FAILED)
    with pytest.raises(StoreError, match="refuses the object, reason 0xA700"):
        store_result(other, image, may_be_there=True)


@pytest.mark.parametrize(
    ("kind", "body"), [("text/plain", FAILED), ("application/json", b"{}"), ("", b"")]
)
def test_a_conflict_that_says_nothing_is_told_by_its_number(
    answering: Answer, images: dict[str, Path], kind: str, body: bytes
) -> None:
    with pytest.raises(StoreError, match="answers with HTTP status 409"):
        store_result(answering(409, kind, body), next(iter(images.values())), may_be_there=True)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(
    tmp_path: Path, answering: Answer, images: dict[str, Path], status: int
) -> None:
    elsewhere = answering(204, "application/dicom+json", b"")
    server, image = answering(status, "text/html", b"", elsewhere.url), next(iter(images.values()))
    told = rf"answers with a redirect \({status}\); give the address that it leads to"
    with pytest.raises(StoreError, match=told) as refused:
        store_result(server, image)
    assert not refused.value.is_passing
    assert_tells_no_uid(refused.value)
    with pytest.raises(StoreError, match=told):
        holds_result(server, image)
    with pytest.raises(FetchError, match=told):
        find_series(server, STUDY)
    with pytest.raises(FetchError, match=told):
        fetch_series(server, STUDY, RemoteSeries(SERIES, "MR", 1), tmp_path, MANY)


def test_a_result_of_a_series_that_the_server_does_not_know_is_not_held(
    answering: Answer, images: dict[str, Path]
) -> None:
    image = next(iter(images.values()))
    for status in (404, 204):
        assert not holds_result(answering(status, "text/plain", b""), image)
    with pytest.raises(StoreError, match="HTTP status 503"):
        holds_result(answering(503, "text/plain", b""), image)


def test_a_server_that_is_down_or_silent_is_told_as_passing(images: dict[str, Path]) -> None:
    image = next(iter(images.values()))
    with socket.create_server(("127.0.0.1", free_port())) as silent:
        port = silent.getsockname()[1]
        server = WebServer(f"http://127.0.0.1:{port}/web", timeout_s=0.1)
        with pytest.raises(FetchError, match=r"no answer within 0.1 s") as late:
            find_series(server, STUDY)
    with pytest.raises(FetchError, match="cannot be reached") as down:
        find_series(server, STUDY)
    with pytest.raises(StoreError, match="cannot be reached") as unstored:
        store_result(server, image)
    for refused in (late, down, unstored):
        assert refused.value.is_passing
        assert_tells_no_uid(refused.value)


def assert_tells_no_uid(error: LggError) -> None:
    assert "\n" not in str(error) and STUDY not in str(error) and SERIES not in str(error)
    # The cause's text holds the address that was asked.
    assert error.__cause__ is None and (error.__suppress_context__ or error.__context__ is None)


def test_nothing_is_logged(
    caplog: pytest.LogCaptureFixture, tmp_path: Path, study: str, orthanc: Orthanc
) -> None:
    caplog.set_level(logging.DEBUG)
    server = WebServer(orthanc.dicomweb)
    fetch_series(server, study, find_series(server, study)[0], tmp_path, MANY)
    assert caplog.text == ""


@pytest.mark.parametrize(
    "uid", ["", "1.2/../3", "1..2", "1.2 ", "1." * 33 + "1", "abc", "1", "1.2\n", "1.\u0662"]
)
def test_what_is_no_uid_is_not_asked_for(uid: str) -> None:
    with pytest.raises(
        UsageError, match="expected numbers with dots between, at most 64 characters"
    ):
        find_series(WebServer("http://127.0.0.1:1/web"), uid)
