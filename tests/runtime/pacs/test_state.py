"""The node's database: all of a change or nothing of it, on the disk at once."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import threading
from pathlib import Path

import pytest

pytest.importorskip("pynetdicom")

from lgg_runtime.errors import OutputConflictError, ResourceError
from lgg_runtime.pacs.spool import DATABASE
from lgg_runtime.pacs.state import VERSION, State
from stand_ins.records import ARCHIVE, Records


def test_of_a_change_that_fails_midway_nothing_happens(records: Records) -> None:
    records.finish(1)
    with pytest.raises(RuntimeError, match="midway"), records.state.change() as run:
        run("UPDATE study SET state = 'failed'")
        raise RuntimeError("midway")
    assert records.states() == ["done"]
    with records.state.change() as run:
        run("UPDATE study SET state = 'held'")
    assert records.states() == ["held"]


def test_a_commit_is_on_the_disk_before_a_peer_hears_of_it(records: Records) -> None:
    (row,) = records.state.rows("PRAGMA synchronous")
    assert row[0] == 2, "FULL, which holds over a loss of power too"


def test_with_a_study_go_the_records_of_its_images_results_and_deliveries(records: Records) -> None:
    records.finish(1, 2, to=[ARCHIVE.name])
    with records.state.change() as run:
        run("DELETE FROM study")
    for table in ("instance", "result", "delivery"):
        assert records.state.rows(f"SELECT * FROM {table}") == []


@pytest.mark.parametrize("version", [VERSION - 1, VERSION + 1])
def test_records_of_an_older_or_a_newer_version_are_refused(tmp_path: Path, version: int) -> None:
    state = State(tmp_path / DATABASE)
    state.rows(f"PRAGMA user_version = {version}")
    state.close()
    with pytest.raises(OutputConflictError, match=f"{version}, expected {VERSION}; let the"):
        State(tmp_path / DATABASE)


def test_a_file_without_records_beside_images_is_not_made_the_node_s(tmp_path: Path) -> None:
    image = tmp_path / "images" / ("0" * 32) / f"{'1' * 32}.dcm"
    image.parent.mkdir(parents=True)
    image.touch()
    (tmp_path / DATABASE).touch()
    with pytest.raises(OutputConflictError, match="expected the records of the images or results"):
        State(tmp_path / DATABASE)


def test_a_database_that_another_program_holds_is_no_matter_of_permissions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An SMB share keeps it from the node itself, by the lock that the node has."""
    connect = sqlite3.connect
    with contextlib.closing(connect(tmp_path / DATABASE, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        monkeypatch.setattr(sqlite3, "connect", lambda p, **how: connect(p, **how | {"timeout": 0}))
        told = "database is locked; end what else has it open; if nothing has, choose a spool on"
        with pytest.raises(ResourceError, match=told):
            State(tmp_path / DATABASE)


def test_a_database_that_the_disk_damaged_is_to_be_brought_back(records: Records) -> None:
    for number in range(200):
        records.send(1, study=f"1.2.{number}")
    records.state.close()
    path = records.spool.root / DATABASE
    whole = path.read_bytes()
    remedy = "bring back a good copy with its -wal, or choose another spool"
    for damaged, why in [
        (whole[:4096] + b"?" * (len(whole) - 4096), "database disk image is malformed"),
        (b"?" * len(whole), "file is not a database"),
    ]:
        path.write_bytes(damaged)
        with pytest.raises(ResourceError, match=f"^{DATABASE}: {why}; {remedy}$"):
            State(path).rows("SELECT * FROM study")
    path.write_bytes(whole)
    State(path).close()


def test_a_database_without_its_key_is_refused(records: Records) -> None:
    records.state.rows("DELETE FROM setting")
    with pytest.raises(OutputConflictError, match=f"^{DATABASE}: holds no key any more; bring "):
        assert records.state.key


@pytest.mark.parametrize("is_replaced", [False, True])
def test_nothing_is_recorded_in_a_file_that_was_removed_or_replaced(
    records: Records, is_replaced: bool
) -> None:
    path = records.spool.root / DATABASE
    kept = path.with_name("kept")
    path.rename(kept)
    if is_replaced:
        shutil.copyfile(kept, path)
    replaced = pytest.raises(ResourceError, match="was removed or replaced meanwhile")
    with replaced, records.state.change():
        pytest.fail("it was begun all the same")
    path.unlink(missing_ok=True)
    kept.rename(path)
    with records.state.change() as run:
        run("SELECT 1")


def test_a_disk_that_does_not_tell_of_the_file_is_not_told_as_its_removal(
    records: Records,
) -> None:
    path = records.spool.root / DATABASE
    kept = path.rename(path.with_name("kept"))
    path.symlink_to(path)  # which cannot be looked at
    failed = pytest.raises(ResourceError, match=r"state\.sqlite: cannot be looked at \(Too many")
    with failed, records.state.change():
        pytest.fail("it was begun all the same")
    path.unlink()
    kept.rename(path)
    with records.state.change() as run:
        run("SELECT 1")


@pytest.mark.parametrize("is_same_process", [True, False])
def test_a_change_waits_for_the_one_at_hand_as_that_of_a_retry_does(
    records: Records, is_same_process: bool
) -> None:
    records.send(1)
    path = records.spool.root / DATABASE
    other = records.state if is_same_process else State(path)
    seen: list[object] = []

    def change() -> None:
        try:
            with other.change() as run:
                seen.extend(run("SELECT state FROM study").fetchone())
                run("UPDATE study SET state = 'held'")
        except ResourceError as error:
            seen.append(error)

    second = threading.Thread(target=change, daemon=True)
    with records.state.change() as run:
        run("SELECT state FROM study").fetchone()
        second.start()
        second.join(0.5)  # it would be through, if it did not wait
        run("UPDATE study SET state = 'done'")
    second.join(20)
    other.close()
    assert seen == ["done"]
