"""A node from the first image to the result in an archive, step by step, over real associations."""

from __future__ import annotations

import gc
import itertools
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("pynetdicom")
pytest.importorskip("highdicom")
pytest.importorskip("prometheus_client")

from pydicom import dcmread

from lgg_runtime.errors import UsageError
from lgg_runtime.loading import LoadSettings
from lgg_runtime.pacs import sender
from lgg_runtime.pacs.config import NodeConfig, load_config
from lgg_runtime.pacs.jobs import Jobs
from lgg_runtime.pacs.node import Node, run_node
from lgg_runtime.pacs.retries import queue_again
from lgg_runtime.pacs.spool import DATABASE
from lgg_runtime.pacs.state import SENDING, State
from lgg_runtime.pacs.status import describe_status, read_status
from lgg_runtime.segmenter import Segmenter
from stand_ins.pacs import (
    PATIENT,
    Archive,
    associate,
    await_associations,
    draw_studies,
    send_study,
    store,
    write_config,
)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_studies(tmp_path_factory.mktemp("drawn"))[0]


@pytest.fixture
def archive() -> Iterator[Archive]:
    one = Archive()
    yield one
    one.stop()


class Bench:
    """A node whose threads do not run: a test takes its steps."""

    def __init__(self, config: NodeConfig, artifact: Path):
        self.config = config
        self.state = State(config.node.spool.parent / DATABASE)
        config.node.spool.mkdir(exist_ok=True)
        segmenter = Segmenter.load(artifact, LoadSettings(threads=1))
        self.node = Node(config, self.state, segmenter)
        self.node.receiver.start()
        self.port = self.node.receiver.port
        self.loops = {loop.name: loop for loop in self.node.loops}

    def work(self) -> None:
        """Each part's step once: complete, segment, send."""
        await_associations()
        for loop in self.node.loops:
            loop.step()

    @property
    def status(self) -> dict[str, Any]:
        return read_status(self.state, self.config)

    def close(self) -> None:
        self.node.receiver.stop(0.0)
        self.state.close()


@pytest.fixture
def bench(
    tmp_path: Path, artifact: Path, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], Bench]]:
    made: list[Bench] = []
    later = SimpleNamespace(monotonic=itertools.count().__next__)  # than any wait for an archive
    monkeypatch.setattr(sender, "time", later)

    def make() -> Bench:
        for one in made:
            one.close()
        config = load_config(write_config(tmp_path, archive.destination))
        no_wait = replace(config.study, quiet_seconds=0.0)
        made.append(Bench(replace(config, study=no_wait), artifact))
        return made[-1]

    yield make
    for one in made:
        one.close()


Make = Callable[[], Bench]


def test_the_archive_gets_what_lgg_infer_writes_for_the_same_folder(
    bench: Make,
    archive: Archive,
    study: Path,
    artifact: Path,
    tmp_path: Path,
    call_infer: Callable[..., SimpleNamespace],
) -> None:
    archive.start()
    node = bench()
    assert set(send_study(node.port, study)) == {0}
    node.work()
    done = call_infer(study, "-o", tmp_path / "out", "-m", artifact, "-ot", "dicom-seg", "-q")
    assert done.code == 0
    (expected,) = (tmp_path / "out").rglob("*_seg.dcm")
    (got,) = archive.received
    assert got == dcmread(expected)
    status = node.status
    assert (status["studies"]["done"], status["destinations"]["archive"]["sent"]) == (1, 1)
    assert status["seconds"]["after_quiet"]["median"] > 0
    node.work()
    assert len(archive.received) == 1


def test_a_late_slice_makes_a_second_result_and_the_first_stays(
    bench: Make, archive: Archive, study: Path, tmp_path: Path
) -> None:
    archive.start()
    node = bench()
    files = sorted(study.iterdir())
    flair = [p for p in files if dcmread(p).SeriesDescription == "FLAIR"]
    last = max(flair, key=lambda p: dcmread(p).ImagePositionPatient[2])
    early = tmp_path / "early"
    early.mkdir()
    for path in files:
        if path != last:
            shutil.copy(path, early)
    send_study(node.port, early)
    node.work()
    association = associate(node.port)
    store(association, [last])
    association.release()
    node.work()
    first, second = archive.received
    assert second.NumberOfFrames == first.NumberOfFrames + 1
    assert first.SOPInstanceUID != second.SOPInstanceUID
    assert node.status["results"]["total"] == 2


def test_a_study_sent_again_makes_nothing_new(bench: Make, archive: Archive, study: Path) -> None:
    archive.start()
    node = bench()
    for _ in range(2):
        send_study(node.port, study)
        node.work()
    assert len(archive.received) == 1
    assert node.status["results"]["total"] == 1


# pynetdicom leaves the socket of a refused connection to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_delivery_waits_for_its_archive(bench: Make, archive: Archive, study: Path) -> None:
    node = bench()
    send_study(node.port, study)
    node.work()
    gc.collect()
    there = node.status["destinations"]["archive"]
    assert (there["waiting"], there["last_failure"]) == (1, "cannot be reached")
    archive.start()
    node.state.rows("UPDATE delivery SET next_at = 0")
    node.work()
    assert len(archive.received) == 1


# pynetdicom leaves the socket of a refused connection to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_result_that_was_cut_in_the_spool_is_made_again_and_sent_whole(
    bench: Make, archive: Archive, study: Path
) -> None:
    node = bench()
    send_study(node.port, study)
    node.work()
    gc.collect()
    (path,) = (node.node.spool.root / "results").iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[:-700])
    archive.start()
    for _ in range(3):  # to see it, to make it again, to send it
        node.state.rows("UPDATE delivery SET next_at = 0")
        node.work()
    assert path.read_bytes() == whole
    (got,) = archive.received
    assert got == dcmread(path)
    assert node.status["destinations"]["archive"]["sent"] == 1


@pytest.mark.parametrize("change", ["a bit", "gone"])
def test_an_image_that_changed_in_the_spool_is_not_segmented_until_it_comes_again(
    bench: Make, archive: Archive, study: Path, change: str
) -> None:
    archive.start()
    node = bench()
    send_study(node.port, study)
    path = min((node.node.spool.root / "images").rglob("*.dcm"))
    whole = path.read_bytes()
    if change == "gone":
        path.unlink()
    else:
        path.write_bytes(whole[:-100] + bytes([whole[-100] ^ 1]) + whole[-99:])
    node.work()
    (row,) = node.state.rows("SELECT state, reason FROM study")
    assert row["state"] == "refused"
    assert row["reason"] == (
        "1 image changed or gone since written into the spool; send the study again"
    )
    assert not archive.received
    assert set(send_study(node.port, study)) == {0}
    node.work()
    assert path.read_bytes() == whole
    assert len(archive.received) == 1


def test_a_delivery_is_given_up_after_its_attempts_until_a_retry(
    bench: Make, archive: Archive, study: Path
) -> None:
    archive.status = 0xA700
    archive.start()
    node = bench()
    send_study(node.port, study)
    for _ in range(4):
        node.work()
        node.state.rows("UPDATE delivery SET next_at = 0")
    there = node.status["destinations"]["archive"]
    assert (there["given up"], there["last_failure"]) == (1, "refuses the object with 0xA700")
    archive.status = 0
    assert queue_again(node.state, (), everything=True, destinations=["archive"]) == 1
    node.work()
    assert len(archive.received) == 1


def test_what_arrived_before_a_kill_is_not_sent_again(
    bench: Make, archive: Archive, study: Path
) -> None:
    archive.start()
    node = bench()
    send_study(node.port, study)
    node.work()
    # As a process leaves it that is killed between the peer's answer and its record.
    node.state.rows("UPDATE delivery SET state = ?, sent_at = NULL", (SENDING,))
    again = bench()
    again.work()
    assert len(archive.received) == 1
    assert again.status["destinations"]["archive"]["sent"] == 1


def test_work_that_a_kill_interrupted_is_done_again_a_bounded_number_of_times(
    bench: Make, archive: Archive, study: Path
) -> None:
    archive.start()
    node = bench()
    send_study(node.port, study)
    node.node.intake.settle()
    jobs = Jobs(node.state, node.node.spool)
    for _ in range(node.config.study.attempts):
        assert jobs.claim() is not None
        jobs.recover()
    node.work()
    (trouble,) = node.status["troubles"]
    assert trouble["reason"] == "the node ended 5 times while it worked on it"
    assert (
        queue_again(node.state, [trouble["study"]], everything=False, destinations=["archive"]) == 1
    )
    node.work()
    assert len(archive.received) == 1


def test_a_study_without_flair_is_refused_and_the_next_one_done(
    bench: Make, archive: Archive, study: Path, tmp_path: Path
) -> None:
    archive.start()
    node = bench()
    other = draw_studies(tmp_path / "other", seed=5)[0]
    for path in other.iterdir():
        if dcmread(path).SeriesDescription == "FLAIR":
            path.unlink()
    send_study(node.port, other)
    send_study(node.port, study)
    node.work()
    node.work()
    status = node.status
    (trouble,) = status["troubles"]
    assert trouble["state"] == "refused"
    assert trouble["reason"].startswith("no FLAIR among")
    told = describe_status(status)
    assert not any(word in told for word in PATIENT)
    assert len(archive.received) == 1


def test_a_held_study_is_taken_as_it_is_when_a_person_says_so(
    bench: Make, archive: Archive, study: Path
) -> None:
    archive.start()
    node = bench()
    send_study(node.port, study, abort_after=len(list(study.iterdir())))
    node.work()
    assert archive.received == []
    (trouble,) = node.status["troubles"]
    assert trouble["state"] == "held"
    with pytest.raises(UsageError, match="expected the name of a study"):
        queue_again(node.state, ["%"], everything=False, destinations=["archive"])
    queue_again(node.state, [trouble["study"]], everything=False, destinations=["archive"])
    node.work()
    assert len(archive.received) == 1


def test_retention_removes_files_and_remembers_studies(
    bench: Make, archive: Archive, study: Path, tmp_path: Path
) -> None:
    archive.start()
    node = bench()
    send_study(node.port, study)
    node.work()
    node.state.rows("UPDATE study SET last_at = last_at - 48 * 3600 - 60")
    node.work()
    assert list(node.node.spool.root.glob("images/*")) == []
    # A slice of it that was not known is not the whole study.
    late = dcmread(sorted(study.iterdir())[0])
    late.SOPInstanceUID = late.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4.5.6"
    late.save_as(tmp_path / "late.dcm")
    association = associate(node.port)
    store(association, [tmp_path / "late.dcm"])
    association.release()
    node.work()
    (trouble,) = node.status["troubles"]
    assert "images came after the others had been removed" in trouble["reason"]
    assert len(archive.received) == 1
    node.state.rows("UPDATE study SET last_at = 0")
    node.state.rows("UPDATE result SET made_at = 0")
    node.state.rows("UPDATE delivery SET sent_at = 0")
    node.work()
    assert list(node.node.spool.root.glob("*/*")) == []
    assert node.state.rows("SELECT 1 FROM study") == []


def test_a_node_whose_spool_is_gone_is_ill(bench: Make) -> None:
    node = bench().node
    shutil.rmtree(node.spool.root)
    (reason,) = [why for why in node.why_ill() if "spool" in why]
    assert reason.startswith("the spool cannot be looked at (No such file or directory)")


def test_a_node_whose_database_is_gone_is_ill(bench: Make) -> None:
    node = bench().node
    database = node.config.node.spool.parent / DATABASE
    database.rename(database.with_suffix(".away"))
    (reason,) = [why for why in node.why_ill() if DATABASE in why]
    assert reason.startswith(f"{DATABASE}: was removed or replaced meanwhile; stop the node")
    database.with_suffix(".away").rename(database)
    assert not [why for why in node.why_ill() if DATABASE in why]


def test_a_node_with_results_for_a_destination_that_is_gone_says_so_and_is_ill(
    tmp_path: Path, artifact: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = load_config(write_config(tmp_path, model={"name": str(artifact)}))
    with run_node(config) as node, node.state.change() as run:
        run("INSERT INTO study (id, state, last_at) VALUES ('s', 'done', 1e12)")
        run("INSERT INTO result VALUES ('r', 's', '', 1, 0, 0, 0, 1e12, 1)")
        run(
            "INSERT INTO delivery (result, destination, state, next_at) "
            "VALUES ('r', 'old', 'waiting', 1e12)"
        )
    with caplog.at_level("WARNING"), run_node(config) as node:
        (reason,) = node.why_ill()
    assert reason.startswith("1 unsent result for old, which the settings do not name")
    assert reason in caplog.messages
