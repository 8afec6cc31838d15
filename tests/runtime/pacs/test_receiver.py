"""What a peer is offered, and how the node lets go of it: at a stop, and when it cannot record."""

from __future__ import annotations

import re
import select
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pynetdicom")
pytest.importorskip("highdicom")

from pynetdicom import AE, evt

from lgg_runtime.pacs.config import MIB
from lgg_runtime.pacs.receiver import Receiver
from stand_ins.pacs import CALLED, associate, draw_studies, store
from stand_ins.reception import Reception

STATEMENT = Path(__file__).parents[3] / "docs" / "conformance.md"
ABORT = 0x07
CT_IMAGE, DEFLATED = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1.99"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return sorted(draw_studies(tmp_path_factory.mktemp("drawn"), slices=2)[0].iterdir())


def read_tables() -> list[list[str]]:
    """The UIDs of each table of the statement's part on receiving; `.51` stands for another end."""
    part = STATEMENT.read_text(encoding="utf-8").split("## Receiving")[1]
    tables = []
    for table in part.split("\n\n")[1:3]:
        uids = []
        for row in table.splitlines()[2:]:
            first, *ends = row.split("|")[2].strip().split(", ")
            uids += [first, *(first.rpartition(".")[0] + end for end in ends)]
        tables.append(uids)
    return tables


def test_a_peer_is_offered_what_the_conformance_statement_says(
    receive: Callable[..., Reception],
) -> None:
    classes, syntaxes = read_tables()
    assert (len(classes), len(syntaxes)) == (4, 12)
    offered = [(one, syntax) for one in classes for syntax in syntaxes]
    entity = AE("SENDER")
    for one, syntax in [*offered, (classes[1], DEFLATED), (CT_IMAGE, syntaxes[0])]:
        entity.add_requested_context(one, syntax)
    association = entity.associate("127.0.0.1", receive().port, ae_title=CALLED)
    taken = [(c.abstract_syntax, c.transfer_syntax[0]) for c in association.accepted_contexts]
    assert sorted(taken) == sorted(offered)
    stated = re.search(r"PDU length \| (\d+) bytes", STATEMENT.read_text(encoding="utf-8"))
    assert stated is not None
    assert association.acceptor.maximum_length == int(stated[1])
    association.release()


def test_an_association_that_runs_at_the_stop_may_end_and_no_other_begins(
    receive: Callable[..., Reception], files: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    node = receive()
    association = associate(node.port)
    assert store(association, files[:1]) == [0]
    server = node.receiver._server
    assert server is not None
    stopping = threading.Thread(target=node.receiver.stop, args=(60.0,))
    stopping.start()
    while server.fileno() != -1:
        stopping.join(0.01)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", node.port), timeout=20)
    assert set(store(association, files[1:])) == {0}
    association.release()
    stopping.join(20)
    assert not stopping.is_alive()
    assert node.settle() == ["queued"]
    assert "without a release" not in caplog.text


def test_an_association_that_does_not_end_in_its_time_is_aborted(
    receive: Callable[..., Reception], files: list[Path]
) -> None:
    node = receive()
    association = associate(node.port)
    assert set(store(association, files)) == {0}
    node.receiver.stop(0.1)
    association.join(10)  # before its own patience of 20 s ends
    assert association.is_aborted
    assert node.settle() == ["held"]


def test_a_release_that_cannot_be_recorded_is_answered_with_an_abort(
    receive: Callable[..., Reception], files: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    node = receive()
    association = associate(node.port)
    assert set(store(association, files)) == {0}
    node.state.rows("PRAGMA query_only = 1")
    association.release()
    association.join(20)
    assert association.is_aborted
    assert not association.is_released
    node.state.rows("PRAGMA query_only = 0")
    assert node.settle() == ["held"]
    assert node.count("confirmed") == 0
    assert "a release could not be recorded, so the association is aborted" in caplog.text


def test_a_defect_is_answered_with_a_status_and_told_by_its_type_alone(
    receive: Callable[..., Reception],
    files: list[Path],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: Any) -> str:
        raise ValueError("of PATIENT^ONE")

    node = receive()
    monkeypatch.setattr(node.intake, "keep", fail)
    association = associate(node.port)
    assert store(association, files[:1]) == [0xC000]
    association.release()
    assert node.settle() == ["held"]
    (row,) = node.state.rows("SELECT id FROM study")
    told = f"an object of study {row['id'][:12]} from SENDER at 127.0.0.1 was refused"
    assert f"{told} with 0xC000: ValueError" in caplog.messages
    assert "PATIENT" not in caplog.text


def test_an_object_leaves_as_much_of_the_disk_free_as_is_set(
    receive: Callable[..., Reception], files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    node = receive(limits={"free_disk_mib": 1})
    free = MIB + 100  # less than an object
    monkeypatch.setattr(node.spool, "free_bytes", lambda: free)
    association = associate(node.port)
    assert store(association, files[:1]) == [0xA700]
    free = 2 * MIB
    assert store(association, files[:1]) == [0]
    association.release()


def test_an_association_that_ended_unseen_keeps_no_other_out(
    receive: Callable[..., Reception], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Receiver, "_on_end", lambda *_: None)
    node = receive(limits={"associations": 1})
    associate(node.port).abort()
    node.settle()
    association = associate(node.port)
    assert association.is_established
    association.release()


def test_a_clock_that_is_set_forward_while_a_study_arrives_ends_no_association(
    receive: Callable[..., Reception],
    files: list[Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    node = receive()
    association = associate(node.port)
    assert store(association, files[:1]) == [0]
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 86400)
    (peer,) = node.receiver._peers
    assert not peer.dul.idle_timer_expired()
    assert set(store(association, files[1:])) == {0}
    association.release()
    assert association.is_released
    assert node.settle() == ["queued"]


def test_a_peer_that_stalls_is_cut_off_although_the_clock_is_set_back(
    receive: Callable[..., Reception],
    files: list[Path],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    node = receive(limits={"network_seconds": 0.5})
    association = associate(node.port)
    assert store(association, files[:1]) == [0]
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() - 86400)
    association.join(10)
    assert association.is_aborted
    node.settle()
    assert "127.0.0.1 sent nothing more and did not release; cut off" in caplog.messages


def test_a_peer_that_stalls_is_told_although_it_closes_as_soon_as_it_hears_of_it(
    receive: Callable[..., Reception], caplog: pytest.LogCaptureFixture
) -> None:
    node, closed = receive(limits={"network_seconds": 0.5}), []

    def await_close(event: Any) -> None:
        if event.pdu.pdu_type == ABORT:
            closed.append(select.select([event.assoc.dul.socket.socket], [], [], 20)[0])

    node.receiver._server.bind(evt.EVT_PDU_SENT, await_close)
    associate(node.port).join(20)
    node.settle()
    assert len(closed) == 1 and closed[0]
    assert node.tally.read() == {("cut_off", "stalled"): 1}
    assert "127.0.0.1 sent nothing more and did not release; cut off" in caplog.messages


def test_a_peer_whose_bytes_wait_after_the_node_was_suspended_is_not_cut_off(
    receive: Callable[..., Reception], files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    node = receive()
    association = associate(node.port)
    (peer,) = node.receiver._peers
    connection, waiting, woken = peer.dul.socket, threading.Event(), threading.Event()
    read = connection.recv

    def read_once_woken(count: int) -> bytearray:
        waiting.set()
        woken.wait(20)
        return read(count)

    monkeypatch.setattr(connection, "recv", read_once_woken)
    statuses: list[int] = []
    sending = threading.Thread(target=lambda: statuses.extend(store(association, files)))
    sending.start()
    assert waiting.wait(20)
    peer.dul._idle_timer._start_time -= 1000
    assert not peer.dul.idle_timer_expired()
    woken.set()
    sending.join(20)
    assert set(statuses) == {0}
    association.release()
    assert node.settle() == ["queued"]
