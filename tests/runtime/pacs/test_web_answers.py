"""An answer: its parts, whatever the blocks in which it comes, and how slowly it may come."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from lgg_runtime.errors import FetchError
from lgg_runtime.pacs.dicomweb import find_series
from lgg_runtime.pacs.web_answers import parts_of
from lgg_runtime.pacs.web_client import WebServer


class Answer:
    """What requests gives, in blocks of some bytes."""

    def __init__(self, kind: str, body: bytes, block: int):
        self.headers, self._body, self._block = {"Content-Type": kind}, body, block
        self.taken = 0

    def iter_content(self, _: int) -> Iterator[Any]:
        for at in range(0, len(self._body), self._block):
            self.taken += self._block
            yield self._body[at : at + self._block]


WHOLE = b"before\r\n--x\r\nA: b\r\n\r\none\r\n--\r\n--x\r\n\r\n\r\n\r\n\r\n--x\r\n--x--\r\nafter"


@pytest.mark.parametrize("block", [1, 2, 3, 7, 1000])
def test_parts_come_whole_however_the_answer_is_cut(block: int) -> None:
    kind = 'Multipart/Related; Boundary="x"'
    assert list(parts_of(Answer(kind, WHOLE, block), 100)) == [b"one\r\n--", b"\r\n\r\n"]
    assert list(parts_of(Answer(kind, b"--x\r\n\r\none\r\n--x--", block), 100)) == [b"one"]


@pytest.mark.parametrize("kind", ["application/dicom", "multipart/related"])
def test_an_answer_without_a_boundary_is_one_part(kind: str) -> None:
    assert list(parts_of(Answer(kind, WHOLE, 5), 100)) == [WHOLE]


@pytest.mark.parametrize("kind", ["application/dicom", "multipart/related; boundary=x"])
def test_of_a_part_without_end_no_more_is_held_than_allowed(kind: str) -> None:
    answer = Answer(kind, b"--x\r\n\r\n" + bytes(1000), 10)
    with pytest.raises(ValueError, match="a part above 100 bytes"):
        list(parts_of(answer, 100))
    assert answer.taken < 150


def test_a_part_without_the_end_of_its_header_is_refused() -> None:
    with pytest.raises(ValueError):
        list(parts_of(Answer("multipart/related; boundary=x", b"--x\r\na\r\n--x\r\n\r\n", 9), 99))


OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/dicom+json\r\n"


@pytest.mark.parametrize(
    ("begun", "dripped"),
    [
        (b"HTTP/1.1 200 OK\r\nServer: ", b"x"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (OK + b"Content-Length: 9999\r\n\r\n", b"["),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n[\r\n"),
    ],
    ids=["its head", "that it goes on", "its body", "its chunks"],
)
def test_a_server_that_drips_its_answer_does_not_hold_its_caller(
    begun: bytes, dripped: bytes
) -> None:
    is_over = threading.Event()

    def answer() -> None:
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):
            connection.recv(65536)
            connection.sendall(begun)
            for _ in range(200):
                if is_over.wait(0.1):
                    break
                connection.sendall(dripped)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        dripping = threading.Thread(target=answer, daemon=True)
        dripping.start()
        server = WebServer(f"http://127.0.0.1:{listener.getsockname()[1]}/web", timeout_s=0.5)
        with pytest.raises(FetchError, match=r"no answer within 0\.5 s|stalls for 0\.5 s") as told:
            find_series(server, "1.2.3")
        assert told.value.is_passing and dripping.is_alive()
        is_over.set()
        dripping.join(20)
