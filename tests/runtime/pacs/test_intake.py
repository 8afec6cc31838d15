"""When a study is quiet, and what is told of one that is held."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

pytest.importorskip("pynetdicom")

from lgg_runtime.pacs import intake as module
from lgg_runtime.pacs.intake import REFUSED_OBJECT, Intake
from stand_ins.records import Records


def reason_of(records: Records) -> str:
    (row,) = records.state.rows("SELECT state, reason FROM study")
    assert row["state"] == "held"
    return str(row["reason"])


def test_the_quiet_time_begins_anew_with_the_end_of_an_association(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now, time=lambda: now))
    records.intake = Intake(records.state, records.spool, quiet_seconds=10.0)
    session = records.associate()
    records.bring(session, 1)
    now = 108.0
    records.intake.release(session)
    now = 111.0
    assert records.intake.settle() == 7.0
    assert records.states() == ["receiving"]
    now = 118.0
    assert records.intake.settle() is None
    assert records.states() == ["queued"]


def test_a_held_study_tells_of_an_object_that_was_refused_since(records: Records) -> None:
    first = records.associate()
    records.bring(first, 1, 2)
    records.intake.close_session(first)
    records.intake.settle()
    assert reason_of(records).startswith("2 of its images came over associations that were not")
    second = records.associate()
    records.bring(second, 1)
    second.has_refusals = True
    records.intake.release(second)
    assert reason_of(records) == REFUSED_OBJECT
