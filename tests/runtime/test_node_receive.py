"""Receiving over a real association: what is kept, what is counted, what a peer is told."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pynetdicom")
pytest.importorskip("highdicom")

from pydicom import dcmread
from pydicom.uid import RLELossless

from lgg_runtime.digests import digest_file
from lgg_runtime.pacs.config import load_config
from lgg_runtime.pacs.intake import Intake
from lgg_runtime.pacs.status import read_status
from stand_ins.dcmtk import needs_storescu, send_by_storescu
from stand_ins.pacs import PATIENT, associate, draw_studies, send_study, store
from stand_ins.reception import Reception


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_studies(tmp_path_factory.mktemp("drawn"), slices=4)[0]


def test_a_released_study_is_queued_and_its_files_bear_no_uid(
    receive: Callable[..., Reception], study: Path
) -> None:
    node = receive()
    files = sorted(study.iterdir())
    assert send_study(node.port, study) == [0] * len(files)
    assert node.settle() == ["queued"]
    assert node.count("confirmed") == len(files)
    kept = sorted((node.spool.root / "images").rglob("*.dcm"))
    assert {dcmread(path).SOPInstanceUID for path in kept} == {
        dcmread(path).SOPInstanceUID for path in files
    }
    assert not any("." in path.stem for path in kept)


def test_an_echo_is_answered(receive: Callable[..., Reception]) -> None:
    association = associate(receive().port)
    assert association.send_c_echo().Status == 0
    association.release()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_tls_wants_a_certificate_of_the_authority_and_stalls_nobody_else(
    receive: Callable[..., Reception],
    study: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subject = ("-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1")
    words = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject)
    files = ("-keyout", str(key), "-out", str(certificate))
    subprocess.run([*words, *files], check=True, capture_output=True)
    tls = {"certificate": str(certificate), "key": str(key), "client_ca": str(certificate)}
    node = receive(listen=tls)
    context = ssl.create_default_context(cafile=str(certificate))
    with socket.create_connection(("127.0.0.1", node.port)):  # asks for nothing
        stranger = associate(node.port, tls_args=(context, "127.0.0.1"))
        assert not stranger.is_established
        context.load_cert_chain(certificate, key)
        known = associate(node.port, tls_args=(context, "127.0.0.1"))
        assert known.is_established
        assert set(store(known, sorted(study.iterdir()))) == {0}
        known.release()
    assert node.settle() == ["queued"]
    assert node.tally.read()["cut_off", "TLS"] == 1
    (told,) = (line for line in caplog.messages if line.startswith("TLS with 127.0.0.1 failed"))
    assert told.endswith("failed: it shows no certificate, which client_ca asks for; cut off")


def test_an_aborted_association_makes_no_study_complete(
    receive: Callable[..., Reception], study: Path
) -> None:
    node = receive()
    count = len(list(study.iterdir()))
    send_study(node.port, study, abort_after=count)
    assert node.settle() == ["held"]
    (row,) = node.state.rows("SELECT reason FROM study")
    assert row["reason"].startswith(f"{count} of its images came over associations")
    # A part of it again is not enough; all of it is.
    association = associate(node.port)
    assert store(association, sorted(study.iterdir())[:2]) == [0, 0]
    association.release()
    assert node.settle() == ["held"]
    assert set(send_study(node.port, study)) == {0}
    assert node.settle() == ["queued"]


def test_a_study_waits_for_the_associations_that_bring_it(
    receive: Callable[..., Reception], study: Path
) -> None:
    node = receive()
    first, *rest = sorted(study.iterdir())
    done, running = associate(node.port), associate(node.port)
    store(done, rest)
    store(running, [first])
    done.release()
    node.intake.settle()
    assert [row["state"] for row in node.state.rows("SELECT state FROM study")] == ["receiving"]
    running.release()
    assert node.settle() == ["queued"]


def test_what_the_node_itself_takes_is_no_silence_of_the_peer(
    receive: Callable[..., Reception], study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = receive()
    store_one = node.receiver._store

    def store_slowly(event: Any, *more: Any) -> int:
        event.assoc.dul._idle_timer._start_time -= 3600  # as if it had taken an hour
        return store_one(event, *more)

    monkeypatch.setattr(node.receiver, "_store", store_slowly)
    assert set(send_study(node.port, study)) == {0}
    assert node.settle() == ["queued"]


def test_an_image_that_comes_twice_is_one_image(
    receive: Callable[..., Reception], study: Path
) -> None:
    node = receive()
    for _ in range(2):
        send_study(node.port, study)
    assert node.settle() == ["queued"]
    assert node.count("present") == len(list(study.iterdir()))


def test_the_same_uid_with_other_bytes_is_a_conflict_and_the_first_stays(
    receive: Callable[..., Reception], study: Path, tmp_path: Path
) -> None:
    node = receive()
    send_study(node.port, study)
    other = dcmread(sorted(study.iterdir())[0])
    other.ImageComments = "another"
    other.save_as(tmp_path / "other.dcm")
    association = associate(node.port)
    assert store(association, [tmp_path / "other.dcm"]) == [0x0111]
    association.release()
    assert node.settle() == ["queued"]
    assert [row["conflicts"] for row in node.state.rows("SELECT conflicts FROM study")] == [1]
    kept = (node.spool.root / "images").rglob("*.dcm")
    assert not any("ImageComments" in dcmread(path) for path in kept)


def test_what_came_before_a_conflict_that_ended_its_association_is_held(
    receive: Callable[..., Reception], study: Path, tmp_path: Path
) -> None:
    node, files = receive(), sorted(study.iterdir())
    other = dcmread(files[0])
    other.ImageComments = "another"
    other.save_as(tmp_path / "other.dcm")
    for rest, states in (([], ["held"]), (files[3:], ["queued"])):
        association = associate(node.port)
        answers = store(association, [*files[:3], tmp_path / "other.dcm", *rest])
        association.release()
        assert answers == [0, 0, 0, 0x0111, *[0] * len(rest)]
        assert node.settle() == states
    assert node.count("confirmed") == len(files)


def test_a_study_of_which_another_study_has_an_image_is_held(
    receive: Callable[..., Reception], study: Path, tmp_path: Path
) -> None:
    node, files = receive(), sorted(study.iterdir())
    moved = []
    for path in files:
        image = dcmread(path)
        image.StudyInstanceUID += ".1"
        moved.append(tmp_path / path.name)
        image.save_as(moved[-1])
    for sent, answers in ((files[:2], [0, 0]), (moved, [0x0111, 0x0111, *[0] * len(files[2:])])):
        association = associate(node.port)
        assert store(association, sent) == answers
        association.release()
    assert sorted(node.settle()) == ["held", "queued"]
    assert node.count("confirmed") == 2
    (trouble,) = read_status(node.state, load_config(tmp_path / "node.toml"))["troubles"]
    assert trouble["reason"].endswith(
        "; of what came, another study holds a part, and sending that again does not help"
    )


@pytest.mark.parametrize("is_replaced", [False, True])
def test_nothing_is_acknowledged_into_a_database_that_is_gone(
    receive: Callable[..., Reception], study: Path, tmp_path: Path, is_replaced: bool
) -> None:
    node, (first, second, *_) = receive(), sorted(study.iterdir())
    association = associate(node.port)
    assert store(association, [first]) == [0]
    database = tmp_path / "state.sqlite"
    database.rename(tmp_path / "away")
    if is_replaced:
        shutil.copy(tmp_path / "away", database)
    assert store(association, [second]) == [0xA700]
    association.abort()
    (tmp_path / "away").replace(database)
    assert node.settle() == ["held"]
    assert node.count("confirmed") == 0


@pytest.mark.parametrize("state", ["refused", "failed"])
def test_an_image_that_was_damaged_in_the_spool_is_whole_once_it_comes_again(
    receive: Callable[..., Reception], study: Path, state: str
) -> None:
    node, files = receive(), sorted(study.iterdir())
    send_study(node.port, study)
    assert node.settle() == ["queued"]
    kept = sorted((node.spool.root / "images").rglob("*.dcm"))
    whole = {path: path.read_bytes() for path in kept}
    kept[0].write_bytes(whole[kept[0]][:300])
    kept[1].unlink()
    kept[2].write_bytes(bytes(len(whole[kept[2]])))
    node.state.rows("UPDATE study SET state = ?, reason = 'damaged'", (state,))
    assert set(send_study(node.port, study)) == {0}
    assert {path: path.read_bytes() for path in kept} == whole
    assert node.settle() == ["queued"]
    assert node.count("confirmed AND present") == len(files)


@needs_storescu
@pytest.mark.parametrize("syntax", ["-xi", "-xr"], ids=["implicit", "rle"])
def test_the_same_image_in_another_transfer_syntax_is_one_image(
    receive: Callable[..., Reception], study: Path, tmp_path: Path, syntax: str
) -> None:
    node, again = receive(), []
    for path in sorted(study.iterdir()):
        image = dcmread(path)
        if syntax == "-xr":
            image.compress(RLELossless, generate_instance_uid=False)
        again.append(tmp_path / path.name)
        image.save_as(again[-1])
    assert set(send_study(node.port, study)) == {0}
    first = {path: path.read_bytes() for path in (node.spool.root / "images").rglob("*.dcm")}
    assert send_by_storescu(node.port, again, syntax) == 0
    assert node.settle() == ["queued"]
    assert node.count("present") == len(again)
    assert {path: path.read_bytes() for path in first} == first
    assert [row["conflicts"] for row in node.state.rows("SELECT conflicts FROM study")] == [0]


@needs_storescu
def test_a_release_counts_what_an_aborted_association_brought_in_another_transfer_syntax(
    receive: Callable[..., Reception], study: Path
) -> None:
    node = receive()
    send_study(node.port, study, abort_after=3)
    assert node.settle() == ["held"]
    assert send_by_storescu(node.port, sorted(study.iterdir()), "-xi") == 0
    assert node.settle() == ["queued"]


@needs_storescu
def test_a_study_whose_images_were_removed_comes_again_in_another_transfer_syntax(
    receive: Callable[..., Reception], study: Path
) -> None:
    node, files = receive(), sorted(study.iterdir())
    send_study(node.port, study)
    assert node.settle() == ["queued"]
    for row in node.state.rows("SELECT id, study FROM instance"):
        node.spool.remove_images(row["study"], [row["id"]])
    node.state.rows("UPDATE instance SET present = 0")
    assert send_by_storescu(node.port, files[:1], "-xi") == 0
    assert node.settle() == ["held"]
    assert send_by_storescu(node.port, files, "-xi") == 0
    assert node.settle() == ["queued"]
    assert node.count("present") == len(list((node.spool.root / "images").rglob("*.dcm")))


@needs_storescu
@pytest.mark.parametrize("place", [-300, 0], ids=["pixels", "preamble"])
def test_an_image_that_was_damaged_in_the_spool_is_whole_once_it_comes_in_another_syntax(
    receive: Callable[..., Reception], study: Path, place: int
) -> None:
    node, files = receive(), sorted(study.iterdir())
    send_study(node.port, study)
    assert node.settle() == ["queued"]
    damaged = min((node.spool.root / "images").rglob("*.dcm"))
    data = bytearray(damaged.read_bytes())
    data[place] ^= 1
    damaged.write_bytes(data)
    node.state.rows("UPDATE study SET state = 'refused', reason = 'damaged'")
    assert send_by_storescu(node.port, files, "-xi") == 0
    assert node.settle() == ["queued"]
    (row,) = node.state.rows("SELECT file FROM instance WHERE id = ?", (damaged.stem,))
    assert digest_file(damaged) == row["file"]
    assert [row["conflicts"] for row in node.state.rows("SELECT conflicts FROM study")] == [0]


def test_a_held_study_says_what_sending_again_does_not_help(
    receive: Callable[..., Reception], study: Path, tmp_path: Path
) -> None:
    node, files = receive(), sorted(study.iterdir())
    send_study(node.port, study, abort_after=len(files))
    assert node.settle() == ["held"]
    other = dcmread(files[0])
    other.ImageComments = "another"
    other.save_as(tmp_path / files[0].name)
    association = associate(node.port)
    assert store(association, [tmp_path / files[0].name, *files[1:]]) == [0x0111] + [0] * (
        len(files) - 1
    )
    association.release()
    assert node.settle() == ["held"]
    (trouble,) = read_status(node.state, load_config(tmp_path / "node.toml"))["troubles"]
    assert trouble["reason"].startswith("1 of its images came over associations that were not")
    assert trouble["reason"].endswith(
        "; of what came, 1 had the UID of a known image and other content, and sending that "
        "again does not help"
    )
    assert not any(word in trouble["reason"] for word in PATIENT)


def test_what_was_received_outlives_the_process(
    receive: Callable[..., Reception], study: Path
) -> None:
    node = receive()
    send_study(node.port, study)
    node.receiver.stop(0.0)
    again = Intake(node.state, node.spool, quiet_seconds=0.0)
    again.settle()
    assert [row["state"] for row in node.state.rows("SELECT state FROM study")] == ["queued"]
