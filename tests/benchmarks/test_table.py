"""Tables as text and as Markdown, and which record becomes which."""

from dataclasses import replace
from pathlib import Path

import pytest

from lgg_bench.record import Record
from lgg_bench.table import Table
from lgg_bench.tables import describe_record
from lgg_runtime.errors import InputError

TABLE = Table("Speed", ("", "ms"), (("a|b", "1.0"), ("c", "12.0")), ("A note.",))


def test_text_aligns_the_numbers_and_ends_with_the_notes():
    assert TABLE.as_text() == ("Speed\n\n       ms\n---  ----\na|b   1.0\nc    12.0\nA note.")


def test_markdown_keeps_a_cell_with_a_bar_in_it_whole():
    assert TABLE.as_markdown() == (
        "**Speed**\n\n|  | ms |\n| :-- | --: |\n| a\\|b | 1.0 |\n| c | 12.0 |\n\nA note."
    )


def test_refuses_a_record_of_an_unknown_benchmark():
    with pytest.raises(InputError, match=r"'other': expected coldstart or gpu .* or throughput"):
        describe_record(Record("other", {}, {}, {}))


@pytest.mark.parametrize("benchmark", ["latency", "node", "parity"])
def test_refuses_a_record_without_its_results(benchmark):
    with pytest.raises(InputError, match=f"record of {benchmark}: incomplete"):
        describe_record(Record(benchmark, {}, {}, {}))


@pytest.mark.parametrize(
    ("what", "changed", "said"),
    [
        ("results", {"rows": []}, "damaged"),  # no first row to compare with
        ("results", {"rows": [{"slices": 1, "seconds": 0, "peak_mib": 1}]}, "damaged"),
        ("machine", {"memory_gib": "much"}, "damaged"),
        ("machine", {"versions": []}, "damaged"),
        (None, {"date": 0}, "damaged"),
        (None, {"benchmark": []}, r"record of \[\]: expected"),
    ],
)
def test_a_damaged_record_is_refused_in_one_line(what, changed, said):
    record = Record.read(Path(__file__).parents[2] / "docs" / "results" / "memory.json")
    changes = changed if what is None else {what: getattr(record, what) | changed}
    with pytest.raises(InputError, match=said):
        describe_record(replace(record, **changes))


def test_of_several_records_the_damaged_one_is_named():
    path = Path("results/memory.json")
    with pytest.raises(InputError, match=r"^results/memory\.json: record of memory: incomplete or"):
        describe_record(Record("memory", {}, {}, {}), path)
    with pytest.raises(InputError, match=r"^results/memory\.json: record of 'other': expected"):
        describe_record(Record("other", {}, {}, {}), path)
