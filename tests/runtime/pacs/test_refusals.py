"""What a hostile, broken or foreign peer is told; the node says why, and goes on serving."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pynetdicom")
pytest.importorskip("highdicom")

import pydicom
from pydicom.filebase import DicomBytesIO
from pynetdicom import _config

from lgg_runtime.pacs import admission
from lgg_runtime.pacs.log import LOG, set_up_log
from stand_ins.pacs import (
    CALLED,
    MR_IMAGE,
    PATIENT,
    associate,
    await_associations,
    draw_studies,
    send_study,
)
from stand_ins.reception import Reception

ABORT = 0x07
FOUR_GIGABYTES = b"\xff\xff\xff\xff"
STALLS = (b"", b"\x01\x00\x00", b"\x01\x00\x00\x00\x01\x00only this")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_studies(tmp_path_factory.mktemp("drawn"), slices=2)[0]


class Scene:
    """A node that logs as a real one does, and the study that it must take whatever came before."""

    def __init__(self, folder: Path, study: Path, caplog: pytest.LogCaptureFixture):
        self._folder, self._study, self._log = folder, study, caplog
        self._started: list[Reception] = []

    def start(
        self, folder: Path | None = None, titles: Sequence[str] = ("SENDER",), **limits: Any
    ) -> Reception:
        listen = {"port": 0, "calling_ae_titles": list(titles)}
        limits = {"free_disk_mib": 0} | limits
        self._started.append(Reception(folder or self._folder, listen=listen, limits=limits))
        return self._started[-1]

    def image(self) -> Any:
        return pydicom.dcmread(min(self._study.iterdir()))

    def assert_says(self, why: str, times: int = 1) -> None:
        """So many lines of the log at least have these words, and none has one of a patient."""
        lines = [record.getMessage() for record in self._log.records]
        assert sum(why in line and "\n" not in line for line in lines) >= times, lines
        assert not [word for word in PATIENT if word in self._log.text]

    def assert_serves(self, node: Reception, state: str = "queued") -> None:
        assert set(send_study(node.port, self._study)) == {0}
        assert node.settle() == [state]

    def stop(self) -> None:
        for node in self._started:
            node.stop()


@pytest.fixture
def scene(
    tmp_path: Path,
    study: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Scene]:
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    set_up_log("debug")
    LOG.propagate = True  # so that caplog hears it
    caplog.set_level(logging.DEBUG)
    made = Scene(tmp_path, study, caplog)
    yield made
    made.stop()
    LOG.handlers.clear()


def connect(node: Reception) -> socket.socket:
    return socket.create_connection(("127.0.0.1", node.port), timeout=20)


def read_to_end(peer: socket.socket) -> bytes:
    """Everything until the node closes the connection."""
    data = b""
    with contextlib.suppress(ConnectionResetError):  # closed with bytes of ours unread
        while block := peer.recv(4096):
            data += block
    return data


def test_without_titles_this_machines_peers_alone_are_let_in(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = scene.start(titles=())
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(admission, "is_loopback", lambda address: address != "127.0.0.1")
        association = associate(node.port, "SENDER", CALLED)
    assert association.is_rejected
    answer = association.acceptor.primitive
    assert (answer.result, answer.result_source, answer.diagnostic) == (1, 1, 3)
    scene.assert_says("association from 127.0.0.1 rejected: no peer but this machine's is allowed")
    scene.assert_serves(node)


@pytest.mark.parametrize(
    ("calling", "called", "diagnostic", "why"),
    [
        ("OTHER", CALLED, 3, "unknown calling AE title"),
        ("SENDER", "OTHER", 7, "wrong called AE title"),
    ],
)
def test_a_foreign_title_is_rejected_for_good(
    scene: Scene, calling: str, called: str, diagnostic: int, why: str
) -> None:
    node = scene.start()
    association = associate(node.port, calling, called)
    assert association.is_rejected
    answer = association.acceptor.primitive
    assert (answer.result, answer.result_source, answer.diagnostic) == (1, 1, diagnostic)
    scene.assert_says(f"association from 127.0.0.1 rejected: {why} OTHER")
    scene.assert_serves(node)


def test_one_association_too_many_is_rejected_for_now(scene: Scene) -> None:
    node = scene.start(associations=1)
    first = associate(node.port)
    second = associate(node.port)
    assert first.is_established and second.is_rejected
    answer = second.acceptor.primitive
    assert (answer.result, answer.result_source, answer.diagnostic) == (2, 3, 2)
    scene.assert_says("association from 127.0.0.1 rejected: too many associations")
    first.release()
    first.join(20)
    node.settle()
    scene.assert_serves(node)


def test_a_peer_that_goes_without_a_request_leaves_no_thread_behind(scene: Scene) -> None:
    node = scene.start(associations=1, network_seconds=600.0)
    for sent in (b"", b"GET / HTTP/1.0\r\n\r\n"):
        with connect(node) as peer:
            peer.sendall(sent)
            peer.shutdown(socket.SHUT_WR)
            read_to_end(peer)
    await_associations()
    scene.assert_serves(node)


def test_peers_that_ask_for_nothing_keep_no_association_out(scene: Scene) -> None:
    node = scene.start(associations=2)
    with contextlib.ExitStack() as idle:
        for _ in range(11):  # more than pynetdicom's own limit, of 10 by default
            idle.enter_context(connect(node))
        association = associate(node.port)
        assert association.is_established
        association.release()
        node.receiver.stop(0.0)
        await_associations()


def store(node: Reception, image: Any) -> tuple[int, Any]:
    association = associate(node.port)
    return association.send_c_store(image).Status, association


def test_an_object_is_out_of_resources_where_the_disk_is_full(scene: Scene) -> None:
    node = scene.start(free_disk_mib=1 << 40)
    status, association = store(node, scene.image())
    assert status == 0xA700
    assert association.send_c_echo().Status == 0
    association.release()
    scene.assert_says("refused with 0xA700: less than 1099511627776 MiB of disk is free")
    assert node.settle() == ["held"]
    node.receiver.stop(0.0)
    scene.assert_serves(scene.start())


def test_an_object_is_out_of_resources_where_the_spool_is_gone(
    scene: Scene, tmp_path: Path
) -> None:
    spool = tmp_path / "spool"
    spool.mkdir()
    node = scene.start(spool)
    away = spool.rename(tmp_path / "away")
    status, association = store(node, scene.image())
    association.release()
    assert status == 0xA700
    scene.assert_says("refused with 0xA700: the spool cannot be looked at (No such file")
    away.rename(spool)
    scene.assert_serves(node)


def test_an_object_is_out_of_resources_where_its_write_finds_no_room(
    small_disk: Callable[[int], Path], scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    node, image = scene.start(small_disk(2 << 20)), scene.image()
    image.PixelData = bytes(3 << 20)
    # As where another association fills the disk after the look at it.
    monkeypatch.setattr(node.spool, "free_bytes", lambda: 1 << 30)
    status, association = store(node, image)
    association.release()
    assert status == 0xA700
    scene.assert_says("the disk is full; free some space")
    assert node.settle() == ["held"]
    assert not [path for path in (node.spool.root / "images").rglob("*") if path.is_file()]
    scene.assert_serves(node)


def test_an_object_above_the_limit_is_out_of_resources_and_the_next_is_taken(scene: Scene) -> None:
    node = scene.start(object_mib=1)
    small, image = scene.image(), scene.image()
    image.PixelData = bytes(3 << 20)
    status, association = store(node, image)
    assert status == 0xA700
    assert association.send_c_store(small).Status == 0
    association.release()
    scene.assert_says("refused with 0xA700: it is larger than 1 MiB")
    assert node.settle() == ["held"]
    scene.assert_serves(node)


def too_large(image: Any) -> None:
    image.PixelData = bytes(3 << 20)


def of_no_study(image: Any) -> None:
    image.StudyInstanceUID = "no UID"


@pytest.mark.parametrize(("spoil", "status"), [(too_large, 0xA700), (of_no_study, 0xA900)])
def test_a_study_of_which_an_image_was_refused_is_held_until_all_of_it_comes(
    scene: Scene, study: Path, spoil: Callable[[Any], None], status: int
) -> None:
    node = scene.start(object_mib=1)
    spoilt, *rest = map(pydicom.dcmread, sorted(study.iterdir()))
    spoil(spoilt)
    association = associate(node.port)
    assert association.send_c_store(spoilt).Status == status
    assert {association.send_c_store(image).Status for image in rest} == {0}
    association.release()
    scene.assert_says(f"of {len(rest)} images that came with a refused object, none is confirmed")
    assert node.settle() == ["held"]
    (row,) = node.state.rows("SELECT reason FROM study")
    assert row["reason"].startswith("an object that came with its images was refused")
    assert node.count("confirmed") == 0
    scene.assert_serves(node)


def test_a_study_whose_images_are_all_confirmed_is_not_held_by_a_refusal(scene: Scene) -> None:
    node = scene.start(object_mib=1)
    small, image = scene.image(), scene.image()
    first = associate(node.port)
    assert first.send_c_store(small).Status == 0
    first.release()
    too_large(image)
    second = associate(node.port)
    assert [second.send_c_store(one).Status for one in (small, image)] == [0, 0xA700]
    second.release()
    assert node.settle() == ["queued"]


def test_an_object_of_a_class_that_was_not_agreed_on_is_refused(scene: Scene) -> None:
    node, image = scene.start(), scene.image()
    association = associate(node.port)
    (context,) = (one for one in association.accepted_contexts if one.abstract_syntax == MR_IMAGE)
    # A peer that sends its CT in the presentation context for MR.
    context.abstract_syntax = image.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    assert association.send_c_store(image).Status == 0xA900
    association.release()
    scene.assert_says("refused with 0xA900: its SOP Class UID is not that of its presentation")
    assert node.settle() == ["held"]


@pytest.mark.parametrize("kind", [b"\x01", b"\x04"])
def test_a_pdu_of_four_gigabytes_is_answered_with_an_abort(scene: Scene, kind: bytes) -> None:
    node = scene.start()
    with connect(node) as peer:
        peer.sendall(kind + b"\x00" + FOUR_GIGABYTES)
        with peer.makefile("rb") as answer:
            assert answer.read(10)[:1] == bytes([ABORT])
    scene.assert_says("127.0.0.1 announced a PDU of 4294967295 bytes")
    scene.assert_serves(node)


def test_a_pdu_of_four_gigabytes_within_an_association_ends_it(scene: Scene) -> None:
    node = scene.start()
    association = associate(node.port)
    association.dul.socket.socket.sendall(b"\x04\x00" + FOUR_GIGABYTES)
    association.join(20)
    assert association.is_aborted
    scene.assert_says("127.0.0.1 announced a PDU of 4294967295 bytes")
    assert node.tally.read() == {("cut_off", "pdu length"): 1}
    scene.assert_serves(node)


def test_peers_that_stall_are_cut_off_each_with_its_reason(scene: Scene) -> None:
    node = scene.start(network_seconds=5.0)
    association = associate(node.port)  # which sends nothing more
    with contextlib.ExitStack() as stalling:
        peers = [stalling.enter_context(connect(node)) for _ in STALLS]
        for peer, sent in zip(peers, STALLS, strict=True):
            peer.sendall(sent)
        for peer in peers:
            read_to_end(peer)
    association.join(20)
    assert association.is_aborted
    node.settle()
    assert node.tally.read() == {("cut_off", "stalled"): 4}
    scene.assert_says("127.0.0.1 asked for no association; cut off")
    scene.assert_says("127.0.0.1 stalled in the middle of a PDU; cut off", times=2)
    scene.assert_says("127.0.0.1 sent nothing more and did not release; cut off")
    scene.assert_says("an association from 127.0.0.1 that brought 0 images ended without a release")
    scene.assert_serves(node)


def test_an_aborted_association_is_told(scene: Scene, study: Path) -> None:
    node = scene.start()
    send_study(node.port, study, abort_after=2)
    assert node.settle() == ["held"]
    scene.assert_says("an association from 127.0.0.1 that brought 2 images ended without a release")
    scene.assert_serves(node)


@pytest.mark.parametrize(
    ("keyword", "status"), [("SOPInstanceUID", 0x0117), ("StudyInstanceUID", 0xA900)]
)
@pytest.mark.parametrize("uid", ["../../../../tmp/1.2", "1.2/../../3", "/etc/1", ".."])
def test_a_uid_with_parts_of_a_path_is_refused_and_written_nowhere(
    scene: Scene, keyword: str, status: int, uid: str
) -> None:
    node, image = scene.start(), scene.image()
    held = ["held"] if keyword == "SOPInstanceUID" else []  # of which study it was is known
    setattr(image, keyword, uid)
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
    found, association = store(node, image)
    association.release()
    assert found == status
    scene.assert_says(f"refused with 0x{status:04X}: its")
    assert node.settle() == held
    assert not list(node.spool.root.rglob("*.dcm"))
    scene.assert_serves(node, *held)


def nest(depth: int, length_is_known: bool) -> bytes:
    """WaveformSequence in itself, explicit VR little endian."""
    inner = b""
    for _ in range(depth):
        length = len(inner) if length_is_known else 0xFFFFFFFF
        item = b"\xfe\xff\x00\xe0" + length.to_bytes(4, "little") + inner
        ends = b"" if length_is_known else b"\xfe\xff\x0d\xe0" + bytes(4)
        value = item + ends
        length = len(value) if length_is_known else 0xFFFFFFFF
        ends = b"" if length_is_known else b"\xfe\xff\xdd\xe0" + bytes(4)
        inner = b"\x00\x54\x00\x01SQ\x00\x00" + length.to_bytes(4, "little") + value + ends
    return inner


@pytest.mark.parametrize("length_is_known", [True, False])
def test_300_nested_sequences_cannot_be_understood(
    scene: Scene,
    length_is_known: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    node, image = scene.start(), scene.image()
    del image.PixelData
    stream = DicomBytesIO()
    image.save_as(stream, enforce_file_format=True)
    path = tmp_path / "nested.dcm"
    path.write_bytes(stream.getvalue() + nest(300, length_is_known))
    # The file's own bytes: the sender would not be able to parse them either.
    monkeypatch.setattr(_config, "STORE_SEND_CHUNKED_DATASET", True)
    status, association = store(node, path)
    association.release()
    assert status == 0xC000
    scene.assert_says("refused with 0xC000: its sequences are nested")
    assert node.settle() == ["held"]
    monkeypatch.undo()
    scene.assert_serves(node)
