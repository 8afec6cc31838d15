"""A peer that ends an association in the middle of what it sends has not sent a whole study."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pynetdicom")
pytest.importorskip("highdicom")

from pydicom import dcmread

from lgg_runtime.pacs.intake import REFUSED_IMAGES
from stand_ins.pacs import associate, draw_studies, send_parts, send_study, store
from stand_ins.reception import Reception


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Reception]:
    one = Reception(tmp_path)
    yield one
    one.stop()


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_studies(tmp_path_factory.mktemp("drawn"), slices=2)[0]


def test_a_study_whose_sender_released_within_an_image_is_held(
    node: Reception, study: Path, caplog: pytest.LogCaptureFixture
) -> None:
    *files, last = sorted(study.iterdir())
    association = associate(node.port)
    assert set(store(association, files)) == {0}
    send_parts(association, dcmread(last), without_last=True)
    association.release()
    assert node.settle() == ["held"]
    assert (node.count("confirmed"), node.count("present")) == (0, len(files))
    assert "127.0.0.1 released before all that it sent was whole and answered" in caplog.messages
    (row,) = node.state.rows("SELECT id, reason FROM study")
    assert row["reason"].startswith("an object that came with its images was refused or broke off")
    assert f"study {row['id'][:12]} held: {row['reason']}" in caplog.messages
    assert set(send_study(node.port, study)) == {0}
    assert node.settle() == ["queued"]


def close(association: Any) -> None:
    while not association.dul.to_provider_queue.empty():  # all but the last PDU is on its way
        association.dul.join(0.001)
    association.dul.socket.socket.shutdown(socket.SHUT_RDWR)


ENDS = {"release": lambda one: one.release(), "abort": lambda one: one.abort(), "close": close}


@pytest.mark.parametrize("end", ENDS)
def test_a_study_of_which_an_association_broke_off_within_its_first_image_is_held_and_told(
    node: Reception, study: Path, end: str, caplog: pytest.LogCaptureFixture
) -> None:
    first, *others = sorted(study.iterdir())
    association = associate(node.port)
    assert set(store(association, others)) == {0}
    association.release()
    image = dcmread(first)
    image.PixelData = bytes(1 << 18)  # in several PDUs
    association = associate(node.port)
    send_parts(association, image, without_last=True)
    ENDS[end](association)
    assert node.settle() == ["held"]
    (row,) = node.state.rows("SELECT reason FROM study")
    assert row["reason"] == REFUSED_IMAGES.format(count=1)
    name = node.state.rows("SELECT id FROM study")[0]["id"][:12]
    assert f"study {name} held: {row['reason']}" in caplog.messages
    (told,) = (line for line in caplog.messages if "broke off after" in line)
    begins = f"an object of study {name} from SENDER at 127.0.0.1 broke off after "
    assert re.fullmatch(re.escape(begins) + r"\d{6} bytes", told)
    association = associate(node.port)
    assert set(store(association, [first])) == {0}
    association.release()
    assert node.settle() == ["queued"]


def test_an_association_that_broke_off_before_it_told_a_study_holds_none_and_is_told(
    node: Reception, study: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, *others = sorted(study.iterdir())
    association = associate(node.port)
    assert set(store(association, others)) == {0}
    association.release()
    association = associate(node.port)
    send_parts(association, dcmread(first), without_last=True)  # the command alone
    association.abort()
    assert node.settle() == ["queued"]
    told = "an object from SENDER at 127.0.0.1 broke off after 0 bytes"
    assert f"{told}, before its Study Instance UID: no study is held for it" in caplog.messages


def test_a_study_whose_sender_released_before_its_images_were_answered_is_held(
    node: Reception, study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = sorted(study.iterdir())
    association = associate(node.port)
    store_one = node.receiver._store

    def store_late(event: Any, *more: Any) -> int:
        # Until the release has come, as where a disk is slow.
        while event.assoc.dul.peek_next_pdu() is None:
            event.assoc.dul.join(0.001)
        return store_one(event, *more)

    monkeypatch.setattr(node.receiver, "_store", store_late)
    for path in files:
        send_parts(association, dcmread(path))
    association.release()
    assert node.settle() == ["held"]
    assert node.count("confirmed") == 0
    monkeypatch.undo()
    assert set(send_study(node.port, study)) == {0}
    assert node.settle() == ["queued"]
