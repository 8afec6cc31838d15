"""What a person reads of the node: counts, times and reasons, out of its records."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("pynetdicom")

from lgg_runtime.errors import ResourceError
from lgg_runtime.notice import RESEARCH_ONLY_LINE
from lgg_runtime.pacs.config import NodeConfig, load_config
from lgg_runtime.pacs.outbox import Outbox
from lgg_runtime.pacs.status import describe_status, read_status
from stand_ins.pacs import write_config
from stand_ins.records import ARCHIVE, Records

KNOWN, GONE = "nowhere", "gone"


@pytest.fixture
def config(tmp_path: Path) -> NodeConfig:
    return load_config(write_config(tmp_path, study={"quiet_seconds": 10.0}))


def make_results(records: Records, *seconds: float) -> None:
    """A result for each, made in that time after it was begun, and sent 3 s later, to `nowhere`
    alone."""
    now = time.time()
    for number, took in enumerate(seconds):
        made = records.finish(1, to=[KNOWN, GONE], study=f"1.2.{number}").result
        records.state.rows(
            "UPDATE result SET last_at = ?, ready_at = ?, started_at = ?, made_at = ? WHERE id = ?",
            (now - 25, now - 14, now - 12, now - 12 + took, made),
        )
        records.state.rows(
            "UPDATE delivery SET state = 'sent', sent_at = ? WHERE result = ? AND destination = ?",
            (now - 9 + took, made, KNOWN),
        )


def test_times_run_from_one_record_to_the_next(records: Records, config: NodeConfig) -> None:
    make_results(records, 1.0, 2.0, 6.0)
    seconds = read_status(records.state, config)["seconds"]
    assert seconds == {
        "queued": {"median": pytest.approx(2), "slowest": pytest.approx(2)},
        "made": {"median": pytest.approx(2), "slowest": pytest.approx(6)},
        "sent": {"median": pytest.approx(3), "slowest": pytest.approx(3)},
        # 16 s from the last image to the start of what was made, less 10 s of quiet.
        "after_quiet": {"median": pytest.approx(8), "slowest": pytest.approx(12)},
    }


def test_times_are_of_the_last_results_however_many_destinations_each_has(
    records: Records, config: NodeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lgg_runtime.pacs.status._RECENT", 2)
    make_results(records, 1.0, 2.0, 6.0)
    assert read_status(records.state, config)["seconds"]["made"]["median"] == pytest.approx(4)


def test_a_node_that_has_done_nothing_has_no_times(records: Records, config: NodeConfig) -> None:
    status = read_status(records.state, config)
    assert describe_status(status).splitlines()[-1] == RESEARCH_ONLY_LINE
    assert status["seconds"] == {} and status["research_use_only"] is True
    assert set(status["studies"].values()) == {0}
    assert status["results"] == {"total": 0, "last_hour": 0, "last_day": 0}
    assert status["destinations"] == {
        KNOWN: {"waiting": 0, "sending": 0, "sent": 0, "given up": 0, "last_failure": ""}
    }


def test_the_lines_for_people_hold_every_count_and_time() -> None:
    status = {
        "studies": {"receiving": 1, "done": 12},
        "images": {"images": 40, "bytes": 5 << 19, "conflicts": 3},
        "troubles": [{"study": "abc", "state": "held", "reason": "an abort"}],
        "cautions": [{"study": "def", "reason": "a doubt"}, {"study": "123", "reason": "another"}],
        "destinations": {},
        "results": {"total": 7, "last_hour": 1, "last_day": 2},
        "seconds": {"after_quiet": {"median": 1.25, "slowest": 31.5}},
    }
    assert describe_status(status).splitlines() == [
        "studies     1 receiving, 12 done",
        "images      40, 2.5 MiB on the disk, 3 conflicts",
        "results     7, 1 in the last hour, 2 in the last day",
        "after quiet 1.25 s, slowest 31.50 s",
        "cautions    2 studies, the last def: a doubt",
        "held        abc  an abort",
        RESEARCH_ONLY_LINE,
    ]


def test_results_count_by_their_age(records: Records, config: NodeConfig) -> None:
    made = [records.finish(1, study=f"1.2.{number}").result for number in range(3)]
    for result, hours in zip(made, (0.9, 23, 25), strict=True):
        records.state.rows(
            "UPDATE result SET made_at = made_at - ? WHERE id = ?", (3600 * hours, result)
        )
    status = read_status(records.state, config)
    assert status["results"] == {"total": 3, "last_hour": 1, "last_day": 2}
    assert "results     3, 1 in the last hour, 2 in the last day" in describe_status(status)


def test_a_destination_s_failure_is_told_until_what_failed_is_sent(
    records: Records, config: NodeConfig
) -> None:
    records.finish(1, to=[KNOWN, GONE])
    outbox = Outbox(records.state, records.spool, replace(ARCHIVE, name=KNOWN))
    delivery = outbox.claim()
    assert delivery is not None
    outbox.record_failure(delivery, "cannot be reached", is_unsure=False)
    told = describe_status(read_status(records.state, config))
    assert (
        "to nowhere  1 waiting, 0 sending, 0 sent, 0 given up; last failure: cannot be reached"
        in told
    )
    assert "to gone     1 waiting, 0 sending, 0 sent, 0 given up\n" in told
    outbox.record_sent(delivery)
    assert "last failure" not in describe_status(read_status(records.state, config))


def test_of_several_failures_the_one_that_is_tried_again_last_is_told(
    records: Records, config: NodeConfig
) -> None:
    for number in range(3):
        records.finish(1, to=[KNOWN], study=f"1.2.{number}")
    for place, row in enumerate(records.state.rows("SELECT result FROM delivery ORDER BY rowid")):
        records.state.rows(
            "UPDATE delivery SET next_at = ?, reason = ? WHERE result = ?",
            ((place + 1) % 3, f"at {(place + 1) % 3}", row["result"]),
        )
    assert read_status(records.state, config)["destinations"][KNOWN]["last_failure"] == "at 2"


def test_images_that_were_removed_are_counted_and_take_no_room(
    records: Records, config: NodeConfig
) -> None:
    records.send(1, 2, 3)
    records.state.rows("UPDATE instance SET bytes = ?", (3 << 20,))
    first = records.spool.name_of("1.2.3.1")
    records.state.rows("UPDATE instance SET present = 0 WHERE id = ?", (first,))
    status = read_status(records.state, config)
    assert status["images"] == {"images": 3, "bytes": 6 << 20, "conflicts": 0}
    assert "images      3, 6.0 MiB on the disk, 0 conflicts" in describe_status(status)


def test_studies_in_trouble_are_listed_with_what_can_be_done(
    records: Records, config: NodeConfig
) -> None:
    for number, state in enumerate(("held", "refused", "failed", "done")):
        records.finish(1, study=f"1.2.{number}")
        records.state.rows(
            "UPDATE study SET state = ?, reason = ?, conflicts = 2 WHERE id = ?",
            (state, f"why {state}", records.spool.name_of(f"1.2.{number}")),
        )
    status = read_status(records.state, config)
    assert {one["state"]: one["reason"] for one in status["troubles"]} == {
        "held": "why held; of what came, 2 had the UID of a known image and other content, and "
        "sending that again does not help",
        "refused": "why refused",
        "failed": "why failed",
    }
    assert (
        status["studies"] | {"held": 1, "refused": 1, "failed": 1, "done": 1} == (status["studies"])
    )
    name = records.spool.name_of("1.2.1")[:12]
    assert f"refused     {name}  why refused" in describe_status(status)
    assert records.spool.name_of("1.2.1") not in describe_status(status)


def test_results_to_be_looked_at_with_care_are_listed_the_last_one_first(
    records: Records, config: NodeConfig
) -> None:
    for number, caution in enumerate(("a doubt", "", "another")):
        records.finish(1, study=f"1.2.{number}", caution=caution)
    first, last = (records.spool.name_of(f"1.2.{number}")[:12] for number in (0, 2))
    status = read_status(records.state, config)
    assert status["cautions"] == [
        {"study": last, "reason": "another"},
        {"study": first, "reason": "a doubt"},
    ]
    assert status["troubles"] == []
    assert f"cautions    2 studies, the last {last}: another" in describe_status(status)


def test_the_latest_study_in_trouble_stands_first_and_has_its_own_reason_alone(
    records: Records, config: NodeConfig
) -> None:
    for number, last_at in enumerate((20, 30, 10)):
        records.finish(1, study=f"1.2.{number}")
        records.state.rows(
            "UPDATE study SET state = 'held', reason = ?, last_at = ? WHERE id = ?",
            (f"at {last_at}", last_at, records.spool.name_of(f"1.2.{number}")),
        )
    told = [one["reason"] for one in read_status(records.state, config)["troubles"]]
    assert told == ["at 30", "at 20", "at 10"]


def test_every_study_in_trouble_is_listed(records: Records, config: NodeConfig) -> None:
    """Each by the name that `retry` takes, which stands nowhere else."""
    with records.state.change() as run:
        for number in range(300):
            run(
                "INSERT INTO study (id, state, last_at) VALUES (?, 'held', 0)",
                (records.spool.name_of(f"1.2.{number}"),),
            )
    listed = {one["study"] for one in read_status(records.state, config)["troubles"]}
    assert len(listed) == 300


def test_a_time_that_somebody_made_a_text_is_told(records: Records, config: NodeConfig) -> None:
    make_results(records, 1.0)
    records.state.rows("UPDATE result SET started_at = 'yesterday'")
    with pytest.raises(ResourceError, match=r"state\.sqlite: holds a value of another kind"):
        read_status(records.state, config)


def test_a_result_that_was_made_while_the_clock_was_ahead_is_not_of_the_last_hour(
    records: Records, config: NodeConfig
) -> None:
    make_results(records, 1.0, 2.0)
    records.state.rows("UPDATE result SET made_at = made_at + 86400 WHERE rowid = 1")
    results = read_status(records.state, config)["results"]
    assert results == {"total": 2, "last_hour": 1, "last_day": 1}
