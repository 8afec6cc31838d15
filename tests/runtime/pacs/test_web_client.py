"""Where a server is and who asks it: what cannot be is refused, and no secret is shown."""

from __future__ import annotations

import contextlib
import io
import json
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from lgg_runtime.errors import FetchError, StoreError, UsageError

pytest.importorskip("dicomweb_client")

from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from lgg_runtime.pacs.dicomweb import (
    RemoteSeries,
    count_series,
    fetch_series,
    find_series,
    holds_result,
    store_result,
)
from lgg_runtime.pacs.web_client import WebServer
from lgg_runtime.readers import dicom_encoding
from stand_ins.ports import free_port


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("host:8042/dicom-web", "not a URL of http or https"),
        ("ftp://host/", "not a URL of http or https"),
        ("http:///dicom-web", "not a URL of http or https"),
        ("http://user:secret@host/", "holds a user or a password"),
        ("http://user@host/", "holds a user or a password"),
        ("http://:secret@host/", "holds a user or a password"),
        ("http://host/#secret", "ends with a query"),
        ("http://host/?token=secret", "ends with a query"),
        ("http://[::1]:8042/", "IPv6 address is not supported"),
        ("http://[::1", "not a URL"),
        ("http://host:port/", "not a URL"),
        ("http://host/\n", "holds characters that no URL has"),
    ],
)
def test_an_address_that_cannot_be_is_refused_without_repeating_it(url: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as refused:
        WebServer(url)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({"token": "mine"}, "Bearer mine"),
        ({"user": "reader", "password": "p\u20ac"}, "Basic cmVhZGVyOnDigqw="),
        ({}, "Basic bmV0dXNlcjpuZXRwYXNz"),
    ],
)
def test_who_asks_is_who_was_named_and_else_whom_netrc_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, str], sent: str
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login netuser password netpass\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    heard = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heard.append(self.headers.get("Authorization"))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            return

    with HTTPServer(("127.0.0.1", 0), Handler) as listening:
        threading.Thread(target=listening.handle_request, daemon=True).start()
        server = WebServer(f"http://127.0.0.1:{listening.server_port}/web", **given)
        find_series(server, "1.2.826.0.1.3680043.8.498.1")
    assert heard == [sent]


def test_a_server_that_is_busy_is_asked_once() -> None:
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(503)

        def log_message(self, *_: Any) -> None:
            return

    with HTTPServer(("127.0.0.1", 0), Handler) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        server = WebServer(f"http://127.0.0.1:{listening.server_port}/web")
        with pytest.raises(FetchError, match="answers with HTTP status 503"):
            find_series(server, STUDY)
        listening.shutdown()
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"user": "u", "token": "t"}, "a user and a token; set one of them"),
        ({"password": "p"}, "a password without a user"),
        ({"user": "a:b"}, "the user holds a colon"),
        ({"token": "t\r"}, "the token holds characters"),
        ({"token": "t\u20ac"}, "the token holds characters"),
        ({"user": "u", "password": "p\n"}, "holds characters that cannot be sent"),
        ({"user": "u", "password": "p\udcff"}, "holds characters that cannot be sent"),
    ],
)
def test_who_cannot_be_told_to_ask_is_refused(given: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message) as refused:
        WebServer("http://host/web", **given)
    assert str(refused.value).startswith("LGG_DICOMWEB_USER and LGG_DICOMWEB_PASSWORD, or")


def test_secrets_are_not_shown() -> None:
    for given in ({"user": "reader", "password": "secret"}, {"token": "secret"}):
        assert "secret" not in repr(WebServer("http://host/", **given))


STUDY, SERIES, INSTANCE = "1.2.3.1", "1.2.3.2", "1.2.3.3"
MULTIPART = 'multipart/related; type="application/dicom"; boundary=x'


def make_object() -> bytes:
    data, stream = Dataset(), io.BytesIO()
    data.SOPClassUID, data.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.4", INSTANCE
    data.StudyInstanceUID, data.SeriesInstanceUID = STUDY, SERIES
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("times", "instances", "message"),
    [(1, 2, "sent 1 images of 2"), (2, None, "sent one image twice")],
)
def test_a_series_of_too_few_images_or_of_one_twice_is_refused(
    tmp_path: Path,
    answering: Callable[..., WebServer],
    times: int,
    instances: int | None,
    message: str,
) -> None:
    part = b"--x\r\nContent-Type: application/dicom\r\n\r\n" + make_object() + b"\r\n"
    server = answering(200, MULTIPART, times * part + b"--x--")
    with pytest.raises(FetchError, match=f"{message}$"):
        fetch_series(server, STUDY, RemoteSeries(SERIES, "MR", instances), tmp_path, 1 << 20)


def test_a_series_that_the_server_names_by_no_uid_is_not_asked_for(tmp_path: Path) -> None:
    nowhere = WebServer("http://127.0.0.1:1/web")
    with pytest.raises(UsageError, match="expected numbers with dots between"):
        fetch_series(nowhere, STUDY, RemoteSeries("../x", "MR", 1), tmp_path, 1 << 20)


@pytest.mark.parametrize(("listed", "is_held"), [(INSTANCE, True), ("1.2.3.4", False)])
def test_a_server_that_lists_another_object_does_not_hold_this_one(
    tmp_path: Path, answering: Callable[..., WebServer], listed: str, is_held: bool
) -> None:
    (tmp_path / "seg.dcm").write_bytes(make_object())
    told = [{"00080018": {"vr": "UI", "Value": [listed]}}]
    server = answering(200, "application/dicom+json", json.dumps(told).encode())
    assert holds_result(server, tmp_path / "seg.dcm") is is_held


@pytest.mark.parametrize(
    ("status", "message"), [(400, "answers with HTTP status 400"), (409, "reason 0x0110")]
)
def test_what_a_conflict_says_of_an_object_is_read_of_no_other_status(
    tmp_path: Path, answering: Callable[..., WebServer], status: int, message: str
) -> None:
    (tmp_path / "seg.dcm").write_bytes(make_object())
    reason = {"00081197": {"vr": "US", "Value": [0x0110]}}
    told = {"00081198": {"vr": "SQ", "Value": [reason]}}
    server = answering(status, "application/dicom+json", json.dumps(told).encode())
    with pytest.raises(StoreError, match=message):
        store_result(server, tmp_path / "seg.dcm")


@pytest.mark.parametrize("status", [401, 403])
def test_a_user_who_may_not_store_may_later_and_one_who_may_not_ask_may_be_let_store(
    tmp_path: Path, answering: Callable[..., WebServer], status: int
) -> None:
    (tmp_path / "seg.dcm").write_bytes(make_object())
    server = answering(status, "text/plain", b"")
    with pytest.raises(StoreError, match="refuses the user") as refused:
        store_result(server, tmp_path / "seg.dcm")
    assert refused.value.is_passing
    with pytest.raises(StoreError, match="refuses the user") as refused:
        holds_result(server, tmp_path / "seg.dcm")
    assert not refused.value.is_passing


@pytest.fixture
def stalling() -> Iterator[Callable[[bytes], WebServer]]:
    """A server that begins an answer so, and says and takes nothing more."""
    with contextlib.ExitStack() as stack:

        def start(beginning: bytes) -> WebServer:
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))

            def answer() -> None:
                connection = stack.enter_context(listener.accept()[0])
                connection.recv(1)
                connection.sendall(beginning)

            threading.Thread(target=answer, daemon=True).start()
            return WebServer(f"http://127.0.0.1:{listener.getsockname()[1]}/web", timeout_s=0.5)

        yield start


def test_why_a_server_or_a_proxy_before_it_cannot_be_reached_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def told_of(address: str) -> str:
        with pytest.raises(FetchError) as refused:
            find_series(WebServer(f"http://{address}/web", timeout_s=20), "1.2.3")
        assert refused.value.is_passing
        return str(refused.value)

    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    nobody = f"127.0.0.1:{free_port()}"
    assert told_of(nobody) == f"{nobody}: cannot be reached (Connection refused)"
    monkeypatch.setenv("http_proxy", f"http://{nobody}")
    proxied = "archive: the proxy that the environment names cannot be reached (Connection refused)"
    assert told_of("archive") == proxied
    monkeypatch.delenv("http_proxy")

    def refuse(*_: Any, **__: Any) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert told_of("nosuch.host") == "nosuch.host: cannot be reached (Name or service not known)"


@pytest.mark.parametrize("told", ["Content-Length: 9", "Transfer-Encoding: chunked"])
def test_a_server_that_stalls_within_its_answer_is_not_said_to_be_out_of_reach(
    stalling: Callable[[bytes], WebServer], tmp_path: Path, told: str
) -> None:
    begun = f"HTTP/1.1 200 OK\r\nContent-Type: {{}}\r\n{told}\r\n\r\n2"
    stalls = r"^127\.0\.0\.1:\d+: stalls for 0\.5 s in the middle of a transfer$"
    with pytest.raises(FetchError, match=stalls) as listing:
        find_series(stalling(begun.format("application/dicom+json").encode()), "1.2.3")
    several = stalling(begun.format("multipart/related; boundary=x").encode())
    with pytest.raises(FetchError, match=stalls) as fetching:
        fetch_series(several, "1.2.3", RemoteSeries("1.2.4", "MR", 1), tmp_path, 1 << 20)
    assert listing.value.is_passing and fetching.value.is_passing


def test_a_server_that_takes_no_more_of_an_object_is_not_said_to_be_out_of_reach(
    stalling: Callable[[bytes], WebServer], tmp_path: Path
) -> None:
    image = dcmread(io.BytesIO(make_object()))
    image.add_new("PixelData", "OB", bytes(32 << 20))  # more than both sides' buffers hold
    image.save_as(tmp_path / "large.dcm")
    with pytest.raises(StoreError, match=r"stalls for 0\.5 s in the middle") as refused:
        store_result(stalling(b""), tmp_path / "large.dcm")
    assert refused.value.is_passing


def test_of_a_list_without_end_nothing_is_made_but_what_is_looked_at(
    tmp_path: Path, answering: Callable[..., WebServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the million items that fit in a few MB pydicom would make a gigabyte."""
    empty = {"vr": "SQ", "Value": [{}] * 1000}
    entry = {"0020000D": {"Value": [STUDY]}, "0020000E": {"Value": [SERIES]}, "00081140": empty}
    entry |= {"00080060": {"Value": ["MR"]}, "00201206": {"Value": ["2"]}, "00201209": {}}
    body = json.dumps([entry, {"00080018": {"vr": "UI", "Value": [INSTANCE]}, "00081140": empty}])
    server = answering(200, "application/dicom+json", body.encode())
    (tmp_path / "seg.dcm").write_bytes(make_object())
    monkeypatch.setattr(Dataset, "from_json", None)
    assert count_series(server, STUDY) == 2
    assert holds_result(server, tmp_path / "seg.dcm")
    alone = answering(200, "application/dicom+json", json.dumps([entry]).encode())
    assert find_series(alone, STUDY) == [RemoteSeries(SERIES, "MR", None)]


def test_an_answer_to_one_object_is_read_up_to_a_mebibyte(
    tmp_path: Path, answering: Callable[..., WebServer]
) -> None:
    (tmp_path / "seg.dcm").write_bytes(make_object())
    told = b'{"00081199": {"vr": "SQ", "Value": [' + b"{}," * (1 << 19) + b"{}]}}"
    server = answering(200, "application/dicom+json", told)
    with pytest.raises(StoreError, match="sends more than the 1 MiB allowed"):
        store_result(server, tmp_path / "seg.dcm")


def test_an_image_of_more_items_than_any_has_is_refused_before_pydicom_reads_it(
    tmp_path: Path, answering: Callable[..., WebServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dicom_encoding, "MOST_PARTS", 100)
    begun = b"\x08\0\x40\x11SQ\0\0\xff\xff\xff\xff"
    image = make_object() + begun + 101 * b"\xfe\xff\0\xe0\0\0\0\0"
    server = answering(200, MULTIPART, b"--x\r\n\r\n" + image + b"\r\n--x--")
    with pytest.raises(FetchError, match=r"sent an image that is refused: .* more than 100 elem"):
        fetch_series(server, STUDY, RemoteSeries(SERIES, "MR", 1), tmp_path, 1 << 20)
    assert [path.name for path in tmp_path.iterdir()] == []
