"""Records: written whole, read back equal, refused where they are something else."""

import json
import math
from dataclasses import asdict
from pathlib import Path

import pytest

from lgg_bench.record import Record, check_output
from lgg_runtime.errors import InputError, ResourceError, UsageError

RECORD = Record("latency", {"rounds": 2}, {"cpu": "Some Processor 7"}, {"rows": [1.5, None]})


def test_reads_back_what_was_written(tmp_path):
    path = tmp_path / "record.json"
    RECORD.write(path)
    assert Record.read(path) == RECORD
    assert [entry.name for entry in tmp_path.iterdir()] == ["record.json"]


def test_the_date_is_utc_to_the_second():
    assert RECORD.date.endswith("+00:00") and len(RECORD.date) == len("2020-01-01T00:00:00+00:00")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"benchmark": "latency"}',
        '"text"',
        '{"benchmark": "a", "odd": 1}',
        9999 * "[",
        json.dumps(asdict(RECORD) | {"results": {"rows": [math.nan]}}),
    ],
)
def test_refuses_a_file_that_is_no_record(tmp_path, text):
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"other\.json: not a record"):
        Record.read(path)


def test_a_file_of_other_fields_is_told_which_a_record_has(tmp_path):
    path = tmp_path / "faults.json"
    path.write_text('{"full_disk": {}, "kills": {}}')
    with pytest.raises(InputError) as refused:
        Record.read(path)
    assert str(refused.value) == (
        f"{path}: not a record of lgg-bench, which has the fields benchmark, settings, "
        "machine, results, date, schema, use"
    )


@pytest.mark.parametrize(
    "path", sorted((Path(__file__).parents[2] / "docs" / "results").glob("*.json"))
)
def test_the_committed_measurements_are_records(path):
    if path.stem in ("faults", "fuzzing"):  # counts of tests, which are no measurements
        with pytest.raises(InputError, match="not a record of lgg-bench, which has the fields"):
            Record.read(path)
    else:
        assert path.stem.startswith(Record.read(path).benchmark)


def test_a_record_without_its_date_does_not_get_today_s(tmp_path):
    path = tmp_path / "record.json"
    RECORD.write(path)
    held = json.loads(path.read_text())
    del held["date"]
    path.write_text(json.dumps(held))
    with pytest.raises(InputError, match=r"record\.json: not a record"):
        Record.read(path)


def test_refuses_a_record_of_another_schema(tmp_path):
    path = tmp_path / "record.json"
    RECORD.write(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema": 2}))
    with pytest.raises(InputError, match="expected schema 1, found 2"):
        Record.read(path)


def test_names_a_file_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match=r"none\.json: no such file"):
        Record.read(tmp_path / "none.json")


def test_an_output_is_checked_before_the_measurement(tmp_path):
    check_output(None)
    check_output(tmp_path / "a.json")
    with pytest.raises(UsageError, match=r"ends in \.json"):
        check_output(tmp_path / "a.txt")
    with pytest.raises(ResourceError, match=r"a\.json: cannot be written: no folder .*none; make"):
        check_output(tmp_path / "none" / "a.json")
