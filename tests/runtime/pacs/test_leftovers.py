"""A database that is a step behind its files: what a sender was told is stored stays."""

from __future__ import annotations

import contextlib
import errno
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pynetdicom")
pytest.importorskip("highdicom")

from pydicom import dcmread
from pydicom.uid import RLELossless

from lgg_runtime.errors import OutputConflictError, ResourceError
from lgg_runtime.pacs import intake as intake_module
from lgg_runtime.pacs import leftovers
from lgg_runtime.pacs.leftovers import settle_leftovers
from lgg_runtime.pacs.spool import Spool
from lgg_runtime.pacs.state import State
from stand_ins.pacs import await_associations, draw_studies, send_study
from stand_ins.reception import Reception
from stand_ins.records import Records

COLUMNS = "SELECT id, study, digest, file, bytes, present, confirmed FROM instance ORDER BY id"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    (folder,) = draw_studies(tmp_path_factory.mktemp("study"))
    return folder


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "spool"


def rows(state: State) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in state.rows(COLUMNS)]


def images(folder: Path) -> set[Path]:
    return {path for path in folder.glob("images/*/*") if path.is_file()}


@pytest.fixture
def behind(spool: Path, study: Path) -> Iterator[tuple[State, Spool]]:
    """The images of a study, with the database of the time before."""
    spool.mkdir()
    node = Reception(spool)
    node.state.rows("PRAGMA wal_checkpoint(TRUNCATE)")
    shutil.copy(spool / "state.sqlite", spool.parent / "older.sqlite")
    assert set(send_study(node.port, study)) == {0}
    await_associations()
    node.stop()
    shutil.copy(spool.parent / "older.sqlite", spool / "state.sqlite")
    state = State(spool / "state.sqlite")
    yield state, Spool(spool, state.key)
    state.close()


def test_images_whose_records_are_lost_stay_and_hold_their_study_until_it_comes_again(
    behind: tuple[State, Spool], spool: Path, study: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept = images(spool)
    assert len(kept) == len(list(study.iterdir()))
    assert rows(behind[0]) == []
    settle_leftovers(*behind)
    assert images(spool) == kept
    assert f"{len(kept)} images without a record" in caplog.text
    assert {row[-2:] for row in rows(behind[0])} == {(1, 0)}, "present, and not confirmed"
    found = [row[:-1] for row in rows(behind[0])]
    node = Reception(spool)
    try:
        assert node.settle() == ["held"]
        (held,) = node.state.rows("SELECT reason FROM study")
        assert "no record tells of; send the study again" in held["reason"]
        assert set(send_study(node.port, study)) == {0}
        assert node.settle() == ["queued"]
        assert [row[:-1] for row in rows(node.state)] == found, "as a sender brings them"
    finally:
        node.stop()


def test_how_many_images_without_a_record_are_looked_at_is_told(
    behind: tuple[State, Spool],
    spool: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    count = len(images(spool))
    monkeypatch.setattr(leftovers, "_TOLD_EVERY", count - 1)
    with caplog.at_level(logging.INFO):
        settle_leftovers(*behind)
    assert caplog.messages[:2] == [
        f"looking at {count} files without a record; the node listens after that",
        f"looked at {count - 1} of {count} files without a record",
    ]


def test_a_start_that_is_told_to_end_leaves_the_rest_of_many_files_to_the_next(
    behind: tuple[State, Spool], spool: Path
) -> None:
    state, kept = behind[0], images(spool)
    settle_leftovers(*behind, is_ending=lambda: len(rows(state)) == 2)
    assert (len(rows(state)), images(spool)) == (2, kept)
    settle_leftovers(*behind)
    assert (len(rows(state)), images(spool)) == (len(kept), kept)


def test_a_database_of_another_spool_removes_no_image(
    behind: tuple[State, Spool], spool: Path, tmp_path: Path
) -> None:
    kept = images(spool)
    with (
        contextlib.closing(State(tmp_path / "other.sqlite")) as other,
        pytest.raises(OutputConflictError, match=r"name images/.*\.dcm, so it is another spool's"),
    ):
        settle_leftovers(other, Spool(spool, other.key))
    assert images(spool) == kept


def test_an_image_that_is_damaged_or_kept_for_another_study_is_not_recorded(
    behind: tuple[State, Spool], spool: Path
) -> None:
    state, _ = behind
    first, second, *rest = sorted(images(spool))
    first.write_bytes(first.read_bytes()[:200])
    with state.change() as run:
        run("INSERT INTO study (id, state, last_at) VALUES ('other', 'done', 0)")
        run(
            "INSERT INTO instance (id, study, digest, file, bytes) VALUES (?, 'other', 'x', '', 0)",
            (second.stem,),
        )
    settle_leftovers(*behind)
    assert images(spool) == set(rest)
    (held,) = state.rows("SELECT study FROM instance WHERE id = ?", (second.stem,))
    assert held["study"] == "other"


def test_an_image_that_memory_does_not_suffice_for_stays(
    behind: tuple[State, Spool], spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = images(spool)

    def refuse(*_given: object) -> None:
        raise MemoryError

    monkeypatch.setattr(leftovers, "check_arrival", refuse)
    with pytest.raises(MemoryError):
        settle_leftovers(*behind)
    assert images(spool) == kept


def test_an_image_that_may_not_be_read_is_told_and_stays(
    behind: tuple[State, Spool], spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a copy that root brought back; root itself may read it, as in this test."""
    kept = images(spool)

    def refuse(path: Path) -> bytes:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(
        ResourceError, match=r"\.dcm: cannot be read \(Permission denied\); give it"
    ):
        settle_leftovers(*behind)
    assert images(spool) == kept


@pytest.mark.parametrize("cut_bytes", [1, 3000])
@pytest.mark.parametrize("is_compressed", [False, True], ids=["native", "RLE"])
def test_an_image_that_is_cut_within_its_pixels_is_not_recorded_and_a_whole_one_is(
    spool: Path, study: Path, tmp_path: Path, is_compressed: bool, cut_bytes: int
) -> None:
    (tmp_path / "sent").mkdir()
    image = dcmread(sorted(study.iterdir())[0])
    if is_compressed:
        image.compress(RLELossless)
        cut_bytes += 8  # the delimiter after the last fragment
    image.save_as(tmp_path / "sent" / "image.dcm")
    spool.mkdir()
    whole = (tmp_path / "sent" / "image.dcm").read_bytes()
    with contextlib.closing(State(spool / "state.sqlite")) as state:
        names = Spool(spool, state.key)
        uids = (image.StudyInstanceUID, image.SOPInstanceUID)
        path = names.image(*map(names.name_of, uids))
        names.keep_image(*map(names.name_of, uids), whole[:-cut_bytes])
        settle_leftovers(state, names)
        assert (path.exists(), rows(state)) == (False, [])
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(whole)
        settle_leftovers(state, names)
        assert path.exists() and len(rows(state)) == 1


def test_an_image_that_could_not_be_recorded_does_not_stay_on_the_disk(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise ResourceError("the disk is full")

    with monkeypatch.context() as full:
        full.setattr(intake_module, "record", refuse)
        with pytest.raises(ResourceError):
            records.bring(records.associate(), 1)
    assert not images(records.spool.root)
    records.bring(records.associate(), 1)
    assert len(images(records.spool.root)) == 1
