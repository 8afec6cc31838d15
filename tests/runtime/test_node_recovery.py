"""What a kill or a full disk leaves behind is taken up again, as the node's records have it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("pynetdicom")
pytest.importorskip("highdicom")
pytest.importorskip("prometheus_client")

from lgg_runtime.errors import InputError, OutOfMemoryError, ResourceError
from lgg_runtime.pacs import spool
from lgg_runtime.pacs.arrival import Arrival
from lgg_runtime.pacs.config import Retention, load_config
from lgg_runtime.pacs.intake import CONFLICT
from lgg_runtime.pacs.jobs import Job, Made
from lgg_runtime.pacs.node import Node
from lgg_runtime.pacs.outbox import Outbox
from lgg_runtime.pacs.retention import Sweeper
from lgg_runtime.pacs.retries import queue_again
from lgg_runtime.pacs.sender import Sender
from lgg_runtime.pacs.spool import DATABASE
from lgg_runtime.pacs.tally import Tally
from lgg_runtime.pacs.transport import DeliveryError
from lgg_runtime.pacs.worker import Worker
from lgg_runtime.writers.atomic import write_atomically
from stand_ins.pacs import write_config
from stand_ins.records import ARCHIVE, STUDY, Records


def test_a_late_slice_of_an_association_that_a_kill_ended_is_waited_for(records: Records) -> None:
    records.send(1, 2)
    records.claim()
    records.bring(records.associate(), 3)
    records.kill()
    records.intake.settle()
    assert records.states() == ["held"]
    assert records.jobs.claim() is None
    records.send(3)
    assert len(records.claim().files) == 3


def test_a_slice_that_came_during_interrupted_work_has_its_quiet_time(records: Records) -> None:
    records.send(1, 2)
    records.claim()
    records.send(3)
    records.kill()
    assert records.states() == ["receiving"]
    records.intake.settle()
    assert len(records.claim().files) == 3


def test_a_study_that_grew_before_it_was_put_back_is_waited_for(records: Records) -> None:
    records.send(1, 2)
    job = records.claim()
    late = records.associate()
    records.bring(late, 3)
    records.jobs.put_back(job)
    records.intake.settle()
    assert records.jobs.claim() is None
    records.intake.release(late)
    records.intake.settle()
    assert len(records.claim().files) == 3


def test_a_study_that_grew_during_its_work_makes_a_second_result(records: Records) -> None:
    records.send(1, 2)
    first = records.claim()
    records.send(3)
    records.jobs.complete(first, records.make(first), ())
    records.intake.settle()
    second = records.claim()
    records.jobs.complete(second, records.make(second), ())
    assert records.states() == ["done"]
    sizes = [row["slices"] for row in records.state.rows("SELECT slices FROM result")]
    assert sorted(sizes) == [2, 3]


def test_a_node_awaits_what_an_earlier_process_left_of_a_study_that_grew(tmp_path: Path) -> None:
    config = load_config(write_config(tmp_path, study={"quiet_seconds": 3600.0}))
    config.node.spool.mkdir()
    earlier = Records(config.node.spool)
    earlier.send(1, 2)
    earlier.claim()
    earlier.bring(earlier.associate(), 3)
    segmenter = SimpleNamespace(name="none", digest="none")
    node = Node(config, earlier.state, segmenter)  # type: ignore[arg-type]
    assert earlier.states() == ["receiving"]
    wait = node.intake.settle()
    assert wait is not None and wait > 3000
    earlier.state.close()


def make_worker(records: Records, make: Callable[[Job], Made]) -> Worker:
    """A worker that makes a result as the test says, instead of with a model."""
    return Worker(records.jobs, make, ["archive"], Tally(), attempts=5)


@pytest.mark.parametrize(
    "error", [None, InputError("no FLAIR"), ResourceError("the disk is full")], ids=repr
)
def test_a_study_whose_end_a_full_disk_kept_from_the_records_is_done_again(
    records: Records, error: Exception | None
) -> None:
    is_full = True

    def make(job: Job) -> Made:
        if is_full:
            records.refuse_changes()
            if error is not None:
                raise error
        return records.make(job)

    records.send(1, 2)
    worker = make_worker(records, make)
    for _ in range(6):  # more often than a study is tried: the disk is not its fault
        for _ in range(2):
            with pytest.raises(ResourceError, match=DATABASE):
                worker.step()
        records.refuse_changes(False)
    is_full = False
    assert worker.step() == 0.0
    assert (records.states(), records.states("delivery")) == (["done"], ["waiting"])
    assert worker.step() is None


def test_a_study_that_could_be_put_back_is_put_back_once(records: Records) -> None:
    def make(job: Job) -> Made:
        raise ResourceError("the disk is full")

    records.send(1, 2)
    worker = make_worker(records, make)
    for _ in range(2):
        with pytest.raises(ResourceError, match="the disk is full"):
            worker.step()
    (row,) = records.state.rows("SELECT state, attempts FROM study")
    assert tuple(row) == ("queued", 0)


@pytest.mark.parametrize("error", [None, DeliveryError("cannot be reached", True)], ids=repr)
def test_a_delivery_whose_end_a_full_disk_kept_from_the_records_is_asked_for_and_sent(
    records: Records, error: Exception | None
) -> None:
    unsure = []

    def send(path: Path, is_unsure: bool) -> None:
        unsure.append(is_unsure)
        if len(unsure) == 1:
            records.refuse_changes()
            if error is not None:
                raise error

    records.send(1, 2)
    job = records.claim()
    records.jobs.complete(job, records.make(job), [ARCHIVE.name])
    outbox = Outbox(records.state, records.spool, ARCHIVE)
    sender = Sender(ARCHIVE, outbox, send, Tally())
    for _ in range(2):
        with pytest.raises(ResourceError, match=DATABASE):
            sender.step()
    records.refuse_changes(False)
    assert sender.step() == 0.0
    assert (records.states("delivery"), unsure) == (["sent"], [False, True])
    assert sender.step() is None


def test_a_delivery_that_may_have_arrived_is_asked_for_until_it_is_known_to_be_there(
    records: Records,
) -> None:
    failures = [DeliveryError("", is_unsure=False), DeliveryError("", is_unsure=True)]
    failures.append(failures[0])
    unsure = []

    def send(_path: Path, is_unsure: bool) -> None:
        unsure.append(is_unsure)
        if failures:
            raise failures.pop(0)

    records.send(1, 2)
    job = records.claim()
    records.jobs.complete(job, records.make(job), [ARCHIVE.name])
    archive = replace(ARCHIVE, first_wait_seconds=0.0)
    outbox = Outbox(records.state, records.spool, archive)
    sender = Sender(archive, outbox, send, Tally())
    while sender.step() is not None:
        pass
    assert (records.states("delivery"), unsure) == (["sent"], [False, False, True, True])


def test_a_study_beyond_the_memory_is_given_up_until_a_retry_and_the_next_one_done(
    records: Records,
) -> None:
    large = records.spool.name_of("1.2.1")
    is_scarce = True

    def make(job: Job) -> Made:
        if is_scarce and job.study == large:
            raise OutOfMemoryError("the memory does not suffice; give smaller slices")
        return records.make(job)

    records.send(1, study="1.2.1")
    records.send(1, study="1.2.2")
    worker = make_worker(records, make)
    assert [worker.step() for _ in range(3)] == [0.0, 0.0, None]
    rows = records.state.rows("SELECT state, reason FROM study ORDER BY ready_at")
    assert [tuple(row) for row in rows] == [
        ("failed", "the memory does not suffice; give smaller slices"),
        ("done", ""),
    ]
    is_scarce = False
    assert queue_again(records.state, [large], everything=False, destinations=["archive"]) == 1
    assert [worker.step() for _ in range(2)] == [0.0, None]
    assert records.states() == ["done", "done"]


def test_an_image_that_comes_while_old_records_are_swept_keeps_its_study(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    records.send(1, 2)
    job = records.claim()
    records.jobs.complete(job, records.make(job), ())
    listed = records.state.rows

    def list_and_receive(query: str, *given: Any) -> Any:
        found = listed(query, *given)
        if query.startswith("SELECT id FROM study WHERE state"):
            assert found
            records.bring(records.associate(), 3)
        return found

    monkeypatch.setattr(records.state, "rows", list_and_receive)
    sweeper = Sweeper(records.state, records.spool, Retention(records_days=0.0))
    sweeper.step()
    present = listed("SELECT id FROM instance WHERE present")
    assert len(present) == 3


def test_a_study_that_is_sent_again_is_not_forgotten_meanwhile(records: Records) -> None:
    aborted = records.associate()
    records.bring(aborted, 1, 2)
    records.intake.close_session(aborted)
    records.intake.settle()
    records.state.rows("UPDATE study SET last_at = 0")
    again = records.associate()
    records.bring(again, 1)
    Sweeper(records.state, records.spool, Retention()).step()
    records.bring(again, 2)
    records.intake.release(again)
    records.intake.settle()
    assert [path.read_bytes() for path in records.claim().files] in (
        [b"file 1", b"file 2"],
        [b"file 2", b"file 1"],
    )


def test_an_image_whose_record_is_forgotten_as_it_comes_again_is_kept_as_new(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    records.send(1)
    job = records.claim()
    records.jobs.complete(job, records.make(job), ())
    records.state.rows("UPDATE study SET last_at = 0")
    compare = records.intake._compare

    def compare_and_sweep(*given: Any) -> str:
        found = compare(*given)
        Sweeper(records.state, records.spool, Retention()).step()
        return found

    monkeypatch.setattr(records.intake, "_compare", compare_and_sweep)
    records.send(1)
    (kept,) = records.claim().files
    assert kept.read_bytes() == b"file 1"


@pytest.mark.parametrize("body", [b"body 1", b"other"], ids=["same bytes", "other bytes"])
def test_an_image_whose_file_is_lost_is_kept_when_it_comes_again(
    records: Records, body: bytes
) -> None:
    records.send(1)
    (lost,) = records.claim().files
    lost.unlink()
    session = records.associate()
    records.intake.keep(session, Arrival(STUDY, f"{STUDY}.1", b"again", body))
    assert lost.read_bytes() == b"again"
    # It is there now, so that the first of two contents stays.
    other = Arrival(STUDY, f"{STUDY}.1", b"not this one", b"body 3")
    assert records.intake.keep(session, other) == CONFLICT
    assert lost.read_bytes() == b"again"


def test_the_file_of_a_known_result_that_is_made_again_is_removed_again(
    records: Records,
) -> None:
    def make(job: Job) -> Made:
        made = records.make(job)
        records.spool.keep_result(made.result, b"file")
        return made

    def sweep() -> list[Path]:
        keep = Retention(results_hours=0.0)
        Sweeper(records.state, records.spool, keep).step()
        return list((records.spool.root / "results").iterdir())

    records.send(1, 2)
    worker = make_worker(records, make)
    worker.step()
    assert len(sweep()) == 1  # it has to be sent yet
    records.state.rows("UPDATE delivery SET state = 'sent', sent_at = 0")
    assert sweep() == []
    records.state.rows("UPDATE study SET state = 'queued'")
    worker.step()
    assert records.states() == ["done"]
    assert len(list((records.spool.root / "results").iterdir())) == 1
    assert sweep() == []
    assert len(records.states("delivery")) == 1


def test_the_folder_of_a_study_goes_with_its_last_image(records: Records) -> None:
    records.send(1, 2)
    first, second = records.claim().files
    study = first.parent
    records.spool.remove_images(study.name, [first.stem])
    assert list(study.iterdir()) == [second]
    records.spool.remove_images(study.name, [second.stem])
    assert not study.exists()
    records.spool.remove_images(study.name, [])


def test_an_image_is_kept_though_its_folder_is_removed_as_it_comes(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes = []

    def remove_and_write(path: Path, data: bytes) -> None:
        writes.append(path)
        if len(writes) == 1:
            records.spool.remove_images(path.parent.name, [])
        write_atomically(path, data)

    monkeypatch.setattr(spool, "write_atomically", remove_and_write)
    records.send(1)
    assert len(writes) == 2
    (kept,) = records.claim().files
    assert kept.read_bytes() == b"file 1"


def test_a_uid_keeps_its_name_in_one_installation_and_has_another_in_the_next(
    records: Records, tmp_path: Path
) -> None:
    """So that nobody who knows a UID finds its study in a log."""
    name = records.spool.name_of(STUDY)
    records.kill()
    assert records.spool.name_of(STUDY) == name
    (tmp_path / "another").mkdir()
    another = Records(tmp_path / "another")
    assert another.spool.name_of(STUDY) != name
    another.state.close()
