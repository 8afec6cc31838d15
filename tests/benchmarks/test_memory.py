"""The table of memory, of the record that ships."""

from dataclasses import replace
from pathlib import Path

import pytest

from lgg_bench import memory
from lgg_bench.memory import MemorySettings, measure_memory, tabulate
from lgg_bench.record import Record
from lgg_bench.whole import Ran
from lgg_runtime.errors import UsageError

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


def test_each_folder_holds_its_slices_without_masks_and_patients_of_25(artifact, monkeypatch):
    held = []

    def run_whole(command, _threads):
        source = Path(command[command.index("-o") - 1])
        files = [path.name for path in sorted(source.rglob("*.tif"))]
        held.append((len(files), len(list(source.iterdir())), files[0]))
        return Ran(2.0, 100.0)

    monkeypatch.setattr(memory, "run_whole", run_whole)
    record = measure_memory(artifact, MemorySettings(slices=(25, 75)))
    assert held == [(25, 1, "patient00000_1.tif"), (75, 3, "patient00000_1.tif")]
    assert record.results["rows"] == [
        {"slices": slices, "seconds": 2.0, "peak_mib": 100.0} for slices in (25, 75)
    ]


def test_the_peak_is_set_against_that_of_the_first_folder():
    shipped = Record.read(SHIPPED)
    rows = [
        {"slices": 500, "seconds": 10.0, "peak_mib": 200.0},
        {"slices": 20_000, "seconds": 250.0, "peak_mib": 210.0},
    ]
    (table,) = tabulate(replace(shipped, results=shipped.results | {"rows": rows}))
    assert table.rows == [
        ["500", "10.0", "50", "200", "+0.0 %"],
        ["20000", "250.0", "80", "210", "+5.0 %"],
    ]


def test_numbers_of_slices_are_those_of_whole_patients():
    with pytest.raises(UsageError, match="in steps of 25"):
        MemorySettings(slices=(25, 30))
