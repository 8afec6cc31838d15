"""A series with an association of its own that is refused at its first object: its study is held,
although every other series came whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("pynetdicom")
pytest.importorskip("highdicom")

from pydicom import dcmread

from lgg_runtime.pacs.arrival import Arrival
from lgg_runtime.pacs.instances import REFUSED_DIGEST
from lgg_runtime.pacs.intake import REFUSED_IMAGES
from lgg_runtime.pacs.outbox import Outbox
from lgg_runtime.pacs.retries import queue_again
from stand_ins.dcmtk import needs_storescu, send_by_storescu
from stand_ins.pacs import draw_studies
from stand_ins.reception import Reception
from stand_ins.records import ARCHIVE, STUDY, Records


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Reception]:
    one = Reception(tmp_path, limits={"object_mib": 1})
    yield one
    one.stop()


@pytest.fixture
def series(tmp_path: Path) -> list[list[Path]]:
    """The files of each series of a study."""
    found: dict[str, list[Path]] = {}
    for path in sorted(draw_studies(tmp_path / "drawn", slices=2)[0].iterdir()):
        found.setdefault(dcmread(path).SeriesInstanceUID, []).append(path)
    return list(found.values())


def pad(path: Path) -> bytes:
    """Make a file too large for the node; returns what it was."""
    before = path.read_bytes()
    image = dcmread(path)
    image.PixelData = bytes(3 << 20)
    image.save_as(path)
    return before


@needs_storescu
def test_the_rest_of_the_study_waits_until_what_was_refused_comes(
    node: Reception, series: list[list[Path]]
) -> None:
    refused, *others = series
    before = pad(refused[0])
    assert send_by_storescu(node.port, refused) != 0
    assert [send_by_storescu(node.port, files) for files in others] == [0] * len(others)
    assert node.settle() == ["held"]
    (row,) = node.state.rows("SELECT id, reason FROM study")
    assert row["reason"] == REFUSED_IMAGES.format(count=1)
    refused[0].write_bytes(before)
    assert send_by_storescu(node.port, refused) == 0
    assert node.settle() == ["queued"]
    assert node.count("confirmed AND present") == sum(map(len, series))


@needs_storescu
def test_a_result_without_what_was_refused_later_is_told_and_a_retry_stays(
    node: Reception, series: list[list[Path]]
) -> None:
    refused, *others = series
    pad(refused[0])
    assert [send_by_storescu(node.port, files) for files in others] == [0] * len(others)
    node.settle()
    node.state.rows("UPDATE study SET state = 'done', done_generation = generation")
    for state in ("held", "queued"):
        assert send_by_storescu(node.port, refused) != 0
        assert node.settle() == [state]
        (row,) = node.state.rows("SELECT id FROM study")
        queue_again(node.state, [row["id"]], everything=False, destinations=[])
    assert node.count("digest = ''") == 1


def refuse(records: Records, image: int, study: str = STUDY) -> None:
    session = records.associate()
    records.intake.refuse(study, f"{study}.{image}")
    records.intake.close_session(session)


def test_a_refusal_outlives_a_kill(records: Records) -> None:
    refuse(records, 1)
    records.kill()
    records.send(2)
    assert records.states() == ["held"]
    records.send(1)
    assert records.states() == ["queued"]
    assert len(records.claim().files) == 2


def test_what_the_database_could_not_record_is_recorded_before_the_study_is_queued(
    records: Records,
) -> None:
    records.refuse_changes()
    refuse(records, 1)
    records.refuse_changes(False)
    records.send(2)
    assert records.states() == ["held"]


def test_a_study_that_is_worked_on_as_an_image_is_refused_is_held_after_its_result(
    records: Records,
) -> None:
    records.send(2)
    job = records.claim()
    refuse(records, 1)
    records.intake.settle()
    assert records.states() == ["working"]
    records.jobs.complete(job, records.make(job), [])
    records.intake.settle()
    assert records.states() == ["held"]


def test_a_study_whose_first_image_another_study_holds_is_held(records: Records) -> None:
    records.send(1)
    session = records.associate()
    records.intake.keep(session, Arrival("1.2.4", f"{STUDY}.1", b"file 1", b"body 1"))
    records.intake.release(session)
    records.send(5, study="1.2.4")
    assert sorted(records.states()) == ["held", "queued"]


def test_an_image_that_was_refused_to_one_study_is_taken_in_another(records: Records) -> None:
    session = records.associate()
    records.intake.refuse("1.2.4", f"{STUDY}.1")
    records.intake.close_session(session)
    for _ in range(2):
        records.send(1, 2)
        assert sorted(records.states()) == ["held", "queued"]
    assert len(records.claim().files) == 2


def bring_to_another_study(records: Records) -> None:
    """The image that was refused, under another Study Instance UID, as after a correction."""
    session = records.associate()
    records.intake.keep(session, Arrival("1.2.4", f"{STUDY}.1", b"file 1", b"body 1"))
    records.intake.release(session)
    records.intake.settle()


def test_an_image_that_comes_once_the_other_study_is_forgotten_is_lacked_no_more(
    records: Records,
) -> None:
    records.send(1)
    bring_to_another_study(records)
    records.state.rows("DELETE FROM study WHERE id = ?", (records.spool.name_of(STUDY),))
    bring_to_another_study(records)
    assert records.states() == ["queued"]


def test_a_lost_result_of_a_study_that_was_taken_without_an_image_is_made_again(
    records: Records,
) -> None:
    refuse(records, 1)
    records.send(2)
    (study,) = records.state.rows("SELECT id FROM study")
    queue_again(records.state, [study["id"]], everything=False, destinations=[])
    job = records.claim()
    made = records.make(job)
    records.jobs.complete(job, made, [ARCHIVE.name])
    records.spool.result(made.result).unlink()
    outbox = Outbox(records.state, records.spool, ARCHIVE)
    delivery = outbox.claim()
    assert delivery is not None
    assert not outbox.have_made_again(delivery)
    assert records.states() == ["queued"]


def test_a_retry_of_a_study_of_which_all_was_refused_finds_no_image(records: Records) -> None:
    refuse(records, 1)
    records.intake.settle()
    assert records.states() == ["held"]
    (row,) = records.state.rows("SELECT id, digest FROM instance")
    assert row["digest"] == REFUSED_DIGEST
    (study,) = records.state.rows("SELECT id FROM study")
    assert queue_again(records.state, [study["id"]], everything=False, destinations=[]) == 1
    assert records.claim().files == ()
