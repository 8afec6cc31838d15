"""The node's database: all of a change or nothing of it, on the disk at once."""

from __future__ import annotations

import pytest

pytest.importorskip("pynetdicom")

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
