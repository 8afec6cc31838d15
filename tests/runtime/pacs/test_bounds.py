"""What is read of a peer that sends too much at once, or what is no PDU at all."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pynetdicom")
pytest.importorskip("highdicom")

from pydicom import dcmread
from pydicom.uid import UID
from pynetdicom import build_context
from pynetdicom.pdu import A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    ImplementationClassUIDNotification,
    MaximumLengthNotification,
)

from lgg_runtime.pacs.log import LOG
from stand_ins.pacs import MR_IMAGE, associate, draw_studies, send_parts
from stand_ins.reception import Reception

ACCEPTED, REJECTED, ABORT = 0x02, 0x03, 0x07
# As of a PDU of four gigabytes, at whatever byte the node should begin to read again.
BODY = b"\x04\x00\xff\xff\xff\xff" * 20000
HTTP = b"GET / HTTP/1.1\r\nHost: node\r\n\r\n"
CLIENT_HELLO = b"\x16\x03\x01\x02\x00" + bytes(512)


def send_and_read(node: Reception, data: bytes) -> bytes:
    """The first bytes that a peer hears which sends these."""
    with socket.create_connection(("127.0.0.1", node.port), timeout=20) as peer:
        peer.sendall(data)
        return peer.recv(4096)


def ask(called: bytes, calling: bytes) -> bytes:
    """A request for an association, its titles of 16 bytes as they are given."""
    request = A_ASSOCIATE_RQ()
    primitive = A_ASSOCIATE()
    primitive.application_context_name = "1.2.840.10008.3.1.1.1"
    primitive.called_ae_title, primitive.calling_ae_title = "CALLED", "CALLING"
    context = build_context(MR_IMAGE)
    context.context_id = 1
    primitive.presentation_context_definition_list = [context]
    length, implementation = MaximumLengthNotification(), ImplementationClassUIDNotification()
    implementation.implementation_class_uid = UID("1.2.3")
    primitive.user_information = [length, implementation]
    request.from_primitive(primitive)
    data = request.encode()
    return data[:10] + called + calling + data[42:]


@pytest.mark.parametrize("padding", [b" " * 8, bytes(8), b"\0ARCHIVE"])
def test_a_title_ends_at_its_first_nul_however_it_is_padded(
    receive: Callable[..., Reception], padding: bytes
) -> None:
    titles = {"port": 0, "calling_ae_titles": ["SENDER 1"]}
    node = receive(listen=titles)
    assert send_and_read(node, ask(b"LGG-NODE" + padding, b"SENDER 1" + padding))[0] == ACCEPTED
    assert send_and_read(node, ask(b"LGG-NODE" + padding, b"SENDER 2" + padding))[0] == REJECTED


def test_a_request_that_cannot_be_read_is_told(
    receive: Callable[..., Reception], caplog: pytest.LogCaptureFixture
) -> None:
    node = receive()
    assert (
        send_and_read(node, ask(b"LGG-NODE".ljust(16), "MR\N{DEGREE SIGN}".encode().ljust(16)))[0]
        == ABORT
    )
    node.settle()
    assert node.tally.read() == {("cut_off", "no request"): 1}
    told = [line for line in caplog.messages if "cut off" in line]
    assert told == ["127.0.0.1 asked for an association in a way that cannot be read; cut off"]


def test_a_pdu_that_is_too_long_is_told_once_whatever_its_bytes(
    receive: Callable[..., Reception], caplog: pytest.LogCaptureFixture
) -> None:
    node = receive(limits={"pdu_bytes": 65536})
    association = associate(node.port)
    header = b"\x04\x00" + len(BODY).to_bytes(4, "big")
    association.dul.socket.socket.sendall(header + BODY)
    association.join(20)
    assert association.is_aborted
    node.settle()
    assert node.tally.read() == {("cut_off", "pdu length"): 1}
    told = [line for line in caplog.messages if "announced" in line]
    assert told == ["127.0.0.1 announced a PDU of 120000 bytes, above 65536; cut off"]


@pytest.mark.parametrize("sent", [HTTP, CLIENT_HELLO], ids=["HTTP", "TLS"])
def test_what_is_no_pdu_is_answered_with_an_abort_at_once_and_told(
    receive: Callable[..., Reception], caplog: pytest.LogCaptureFixture, sent: bytes
) -> None:
    node = receive(limits={"network_seconds": 600.0})
    assert send_and_read(node, sent)[0] == ABORT
    node.settle()
    assert node.tally.read() == {("cut_off", "no PDU"): 1}
    told = [record.getMessage() for record in caplog.records if record.name == LOG.name]
    assert told == ["127.0.0.1 sent what is no PDU; cut off"]


@pytest.mark.parametrize(
    "command",
    [b"", b"\x03", b"\x03" + b"\xff" * 40, b"\x03\x00\x00\x00\x01\x02\x00\x00\x00\x77\x77"],
    ids=["no bytes", "no elements", "no DICOM", "of no kind"],
)
def test_a_message_that_cannot_be_read_is_answered_with_an_abort_and_told(
    receive: Callable[..., Reception], caplog: pytest.LogCaptureFixture, command: bytes
) -> None:
    node = receive(limits={"network_seconds": 600.0})
    association = associate(node.port)
    value = b"\x01" + command
    item = len(value).to_bytes(4, "big") + value
    association.dul.socket.socket.sendall(b"\x04\x00" + len(item).to_bytes(4, "big") + item)
    association.join(20)
    assert association.is_aborted
    node.settle()
    assert node.tally.read() == {("cut_off", "no message"): 1}
    told = [record.getMessage() for record in caplog.records if record.name == LOG.name]
    assert sorted(told) == [
        "127.0.0.1 sent a message that cannot be read; cut off",
        "an association from 127.0.0.1 that brought 0 images ended without a release",
    ]


def test_one_connection_too_many_is_closed_and_told(
    receive: Callable[..., Reception], caplog: pytest.LogCaptureFixture
) -> None:
    node = receive(limits={"associations": 1, "network_seconds": 600.0})
    with contextlib.ExitStack() as idle:
        for _ in range(10):
            idle.enter_context(socket.create_connection(("127.0.0.1", node.port), timeout=20))
        assert send_and_read(node, b"") == b""
        assert node.tally.read() == {("cut_off", "too many connections"): 1}
        assert "more than 10 connections; that of 127.0.0.1 was closed" in caplog.messages
    node.receiver.stop(0.0)


def test_a_pdu_that_drips_has_its_time_as_a_whole(receive: Callable[..., Reception]) -> None:
    node, pause = receive(limits={"network_seconds": 1.0}), threading.Event()
    with socket.create_connection(("127.0.0.1", node.port), timeout=20) as peer:
        peer.sendall(b"\x01\x00\x00\x00\x10\x00")
        begun = time.monotonic()
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            while time.monotonic() < begun + 20:
                peer.sendall(b"\x00")
                pause.wait(0.2)
    node.settle()
    assert node.tally.read() == {("cut_off", "stalled"): 1}


def test_objects_that_come_before_the_first_is_looked_at_count_together(
    receive: Callable[..., Reception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = receive(limits={"object_mib": 1})
    image = dcmread(min(draw_studies(tmp_path / "drawn", slices=2)[0].iterdir()))
    image.PixelData = bytes(600 << 10)
    store_one, handled = node.receiver._store, threading.Semaphore(0)

    def store_once_all_came(event: Any, *more: Any) -> int:
        if not node.tally.read():
            while event.assoc.dimse.msg_queue.qsize() < 2:
                event.assoc.dul.join(0.001)
        handled.release()
        return store_one(event, *more)

    monkeypatch.setattr(node.receiver, "_store", store_once_all_came)
    association = associate(node.port)
    for _ in range(3):
        send_parts(association, image)
    for _ in range(3):
        assert handled.acquire(timeout=20)
    association.abort()
    node.settle()
    assert node.tally.read() == {("objects", "stored"): 1, ("objects", "0xA700"): 2}


def test_a_peer_that_waits_for_no_answer_is_cut_off_and_told(
    receive: Callable[..., Reception], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    node = receive()
    image = dcmread(min(draw_studies(tmp_path / "drawn", slices=2)[0].iterdir()))
    association = associate(node.port)
    association.network_timeout = 120  # it hears nothing until it has sent them all
    with node.state.change():  # the first image waits for it
        for _ in range(1100):
            send_parts(association, image)
        association.join(120)
    assert association.is_aborted
    node.settle()
    assert node.tally.read()["cut_off", "unanswered"] == 1
    told = "127.0.0.1 sent more than 1000 messages without an answer; cut off"
    assert told in caplog.messages


def test_a_command_without_end_is_kept_up_to_a_bound(receive: Callable[..., Reception]) -> None:
    node = receive()
    association = associate(node.port)
    (acceptor,) = node.receiver._peers
    for control in b"\x01" * 50 + b"\x03":
        value = bytes([1, control]) + bytes(65_537)  # context, then what PS3.8, E.2 says of it
        length = len(value).to_bytes(4, "big")
        pdu = b"\x04\x00" + (len(value) + 4).to_bytes(4, "big") + length + value
        association.dul.socket.socket.sendall(pdu)
    association.abort()
    node.settle()
    assert acceptor.dimse.message.encoded_command_set.getbuffer().nbytes == 0
