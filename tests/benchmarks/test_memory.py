"""The table of memory, of the record that ships."""

from dataclasses import replace
from pathlib import Path

import pytest

from lgg_bench.memory import tabulate
from lgg_bench.record import Record

SHIPPED = Path(__file__).parents[2] / "docs" / "results" / "memory.json"


@pytest.mark.parametrize(
    ("machine", "told"),
    [
        ({"load": 0.1, "cores": 2}, []),
        ({"load": 3.0, "cores": 2}, ["in the minute before the start (load 3)"]),
        ({"load": 0.1, "cores": 1}, ["more threads share them"]),
    ],
)
def test_what_makes_its_seconds_longer_is_told(machine, told):
    record = Record.read(SHIPPED)
    (table,) = tabulate(replace(record, machine=record.machine | machine))
    first, *notes = table.notes
    assert "lite.onnx on cpu, 2 threads; phantoms" in first
    assert len(notes) == len(told)
    assert all(words in note for words, note in zip(told, notes, strict=True))
