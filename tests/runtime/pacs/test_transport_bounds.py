"""What a destination may say: for how long it is asked, and how much of it is held."""

from __future__ import annotations

import contextlib
import itertools
import socket
import struct
import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO

import pytest

pytest.importorskip("pynetdicom")

from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pynetdicom import AE, evt

from lgg_runtime.pacs import transport
from lgg_runtime.pacs.config import Destination
from lgg_runtime.pacs.transport import (
    EXPLICIT_LITTLE_ENDIAN,
    SEGMENTATION,
    STUDY_ROOT_FIND,
    DeliveryError,
    make_transport,
)


@pytest.fixture
def result(tmp_path: Path) -> Path:
    data = Dataset()
    data.SOPClassUID, data.SOPInstanceUID = SEGMENTATION, "1.2.3.3"
    data.StudyInstanceUID, data.SeriesInstanceUID = "1.2.3.1", "1.2.3.2"
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = EXPLICIT_LITTLE_ENDIAN
    data.save_as(tmp_path / "seg.dcm", enforce_file_format=True)
    return tmp_path / "seg.dcm"


def send(result: Path, port: int, ask_first: bool, timeout_s: float) -> None:
    where = {"address": "127.0.0.1", "port": port, "ae_title": "PEER"}
    to = Destination(name="peer", kind="c-store", **where, timeout_seconds=timeout_s)
    make_transport(to, "LGG-NODE")(result, ask_first)


def test_a_destination_that_lists_without_end_is_asked_no_longer_than_a_question_takes(
    result: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, stored = itertools.count(0, 100), []
    monkeypatch.setattr(transport, "time", SimpleNamespace(monotonic=clock.__next__))

    def find(event: Any) -> Iterator[tuple[int, Any]]:
        event.identifier.SOPInstanceUID = "1.2.3.4"
        while event.assoc.is_established:
            yield 0xFF00, event.identifier

    def store(event: Any) -> int:
        stored.append(event.request.AffectedSOPInstanceUID)
        return 0

    entity = AE("PEER")
    for uid in (SEGMENTATION, STUDY_ROOT_FIND):
        entity.add_supported_context(uid)
    handlers: Any = [(evt.EVT_C_FIND, find), (evt.EVT_C_STORE, store)]
    server: Any = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    try:
        send(result, server.server_address[1], ask_first=True, timeout_s=20)
    finally:
        server.shutdown()
    assert stored == ["1.2.3.3"]
    assert next(clock) == 200, "asked before, and after the first answer"


@pytest.mark.parametrize(
    ("keyword", "value"),
    [("MessageIDBeingRespondedTo", 7), ("CommandField", 0x8030)],
    ids=["of another message", "to an echo"],
)
def test_an_answer_to_something_else_leaves_it_open_whether_the_object_was_taken(
    result: Path, keyword: str, value: int
) -> None:
    def answer_otherwise(event: Any) -> None:
        event.message.command_set[keyword].value = value

    entity = AE("PEER")
    entity.add_supported_context(SEGMENTATION)
    handlers: Any = [(evt.EVT_C_STORE, lambda _: 0), (evt.EVT_DIMSE_SENT, answer_otherwise)]
    server: Any = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    try:
        with pytest.raises(DeliveryError, match="answers another message") as refused:
            send(result, server.server_address[1], ask_first=False, timeout_s=20)
    finally:
        server.shutdown()
    assert refused.value.is_unsure and refused.value.is_passing


def pdu(kind: int, body: bytes) -> bytes:
    return struct.pack(">BBL", kind, 0, len(body)) + body


def item(kind: int, body: bytes) -> bytes:
    return struct.pack(">BBH", kind, 0, len(body)) + body


def read_pdu(heard: BinaryIO) -> bytes:
    """What follows its head."""
    return heard.read(int.from_bytes(heard.read(6)[2:], "big"))


LAST_DATA = 2  # PS3.8, annex E.2
# PS3.8, 9.3.3: it takes Segmentation, in context 1.
_CONTEXT = item(0x21, b"\1\0\0\0" + item(0x40, EXPLICIT_LITTLE_ENDIAN.encode()))
_USER = item(0x50, item(0x51, b"\0\0\x40\0") + item(0x52, b"1.2.3"))
_NAME = item(0x10, b"1.2.840.10008.3.1.1.1")
ACCEPTED = pdu(2, b"\0\1\0\0" + 2 * b"P".ljust(16) + bytes(32) + _NAME + _CONTEXT + _USER)
# A part of a command, which is not the last, and of a data set.
COMMAND, DATA = (pdu(4, struct.pack(">LBB", 65002, 1, kind) + bytes(65000)) for kind in (1, 0))


@pytest.mark.parametrize(
    ("begun", "endless"),
    [
        (b"\2\0\xff\xff\xff\xff", bytes(1 << 16)),
        (ACCEPTED + b"\4\0\xff\xff\xff\xff", bytes(1 << 16)),
        (ACCEPTED, COMMAND),
        (ACCEPTED, DATA),
    ],
    ids=["an answer of 4 GiB", "a PDU of 4 GiB", "a command without end", "data without end"],
)
def test_of_an_answer_without_end_little_is_held(
    result: Path, begun: bytes, endless: bytes
) -> None:
    def answer() -> None:
        peer, _ = server.accept()
        with peer, peer.makefile("rb") as heard, contextlib.suppress(OSError):
            read_pdu(heard)
            if begun.startswith(ACCEPTED):
                peer.sendall(ACCEPTED)
                while read_pdu(heard)[5] != LAST_DATA:
                    pass
            peer.sendall(begun.removeprefix(ACCEPTED))
            for _ in range(1024):
                peer.sendall(endless)

    with socket.create_server(("127.0.0.1", 0)) as server:
        answering = threading.Thread(target=answer, daemon=True)
        answering.start()
        tracemalloc.start()
        try:
            with pytest.raises(DeliveryError):
                send(result, server.getsockname()[1], ask_first=False, timeout_s=1)
            assert tracemalloc.get_traced_memory()[1] < 40 << 20
        finally:
            tracemalloc.stop()
            answering.join()
