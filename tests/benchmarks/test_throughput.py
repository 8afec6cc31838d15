"""Which patients of a folder a whole command is timed on."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from lgg_bench.record import Record
from lgg_bench.throughput import (
    NOTEBOOK,
    RIVALS,
    ThroughputSettings,
    _commands,
    _require_same_network,
    _row,
    copy_slices,
    measure_throughput,
    tabulate,
)
from lgg_bench.whole import Ran
from lgg_runtime.errors import UsageError
from lgg_runtime.readers.folder import list_studies

SHIPPED = Path(__file__).parents[2] / "docs" / "results" / "throughput.json"


@pytest.mark.parametrize(("cores", "told"), [(1, True), (2, False)])
def test_threads_beyond_the_cores_are_told(cores, told):
    record = Record.read(SHIPPED)
    (table,) = tabulate(replace(record, machine=record.machine | {"cores": cores}))
    assert ("Only 1 core for this process: more threads share" in table.as_text()) is told


def test_options_that_lgg_infer_was_given_are_told():
    record = Record.read(SHIPPED)
    assert "ran with" not in tabulate(record)[0].as_text()
    options = ["--crop", "--save-heatmap"]
    (table,) = tabulate(replace(record, settings=record.settings | {"options": options}))
    assert "lgg-infer ran with --crop --save-heatmap." in table.notes


def test_a_notebook_that_took_no_part_has_neither_column_nor_note():
    record = Record.read(SHIPPED)
    (whole,) = tabulate(record)
    rows = [row | {"times_notebook": None} for row in record.results["rows"]]
    (table,) = tabulate(replace(record, results=record.results | {"rows": rows}))
    assert "x notebook" in whole.header and "Notebook:" in whole.as_text()
    kept = [index for index, name in enumerate(whole.header) if name != "x notebook"]
    assert table.header == [whole.header[index] for index in kept]
    assert table.rows == [[row[index] for index in kept] for row in whole.rows]
    assert "otebook:" not in table.as_text()


@pytest.mark.parametrize(
    ("patients", "taken"),
    [(1, "A"), (2, "AD"), (3, "ACE"), (7, "ABCDEFG"), (9, "ABCDEFG"), (None, "ABCDEFG")],
)
def test_patients_are_spread_over_the_folder_without_their_masks(tmp_path, patients, taken):
    source = tmp_path / "in"
    for name in "ABCDEFG":
        (source / name).mkdir(parents=True)
        for file in (f"{name}_1.png", f"{name}_1_mask.png"):
            cv2.imwrite(str(source / name / file), np.zeros((16, 16, 3), np.uint8))
    target = copy_slices(source, tmp_path / "out", patients)
    assert "".join(study.name for study in list_studies(target).studies) == taken
    assert not list(target.rglob("*_mask*"))


def test_a_link_to_the_dataset_is_followed(tmp_path):
    (tmp_path / "fetched" / "A").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "fetched" / "A" / "A_1.png"), np.zeros((16, 16, 3), np.uint8))
    (tmp_path / "lgg").mkdir()
    (tmp_path / "lgg" / "kaggle_3m").symlink_to(tmp_path / "fetched")
    target = copy_slices(tmp_path / "lgg", tmp_path / "out", None)
    assert (target / "A" / "A_1.png").is_file()


def test_scans_are_refused_because_their_files_are_no_slices(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "scan.nii").write_bytes(b"")
    with pytest.raises(UsageError, match="expected pictures, one a slice, found nifti"):
        copy_slices(tmp_path / "in", tmp_path / "out", None)
    assert not (tmp_path / "out").exists()


def test_a_row_by_hand():
    runs = [
        Ran(2.0, 110.0, {"run": 0.5, "total": 1.0}),
        Ran(4.0, 130.0, {"run": 1.5, "total": 2.0}),
        Ran(5.0, 120.0, {"run": 1.5, "total": 2.5}),
    ]
    notebook = [Ran(8.0, 1.0), Ran(8.0, 1.0), Ran(5.0, 1.0)]
    assert _row("a", runs, notebook, 20) == {
        "subject": "a",
        "seconds": {"low": 3.0, "median": 4.0, "high": 4.5},
        "slices_per_second": {"low": 4.5, "median": 5.0, "high": 7.5},
        "peak_mib": 130.0,
        "engine_busy": pytest.approx(0.6),  # of 1/2, 3/4 and 3/5
        "engine_share_of_process": pytest.approx(0.3),  # of 1/4, 3/8 and 3/10
        "times_notebook": {"low": 1.5, "median": 2.0, "high": 3.0},
    }
    alone = _row(NOTEBOOK, notebook, None, 20)
    assert alone["engine_busy"] is alone["engine_share_of_process"] is None
    assert alone["times_notebook"] is None


def test_pytorch_runs_the_run_s_network_and_the_other_rivals_the_first_artifact_s():
    files = {"a.onnx": Path("a.onnx"), "b.onnx": Path("b.onnx")}
    settings = ThroughputSettings(options=("--crop",), first_look=Path("look.onnx"), threads=1)
    commands = _commands(Path("in"), files, Path("run"), settings)
    words = {name: command.args[0] for name, command in commands.items()}
    assert [words[name][4] for name in RIVALS] == ["run", "run", "a.onnx", "a.onnx"]
    assert words["b.onnx on cpu"][-1:] == ["--crop"]
    assert words["b.onnx on cpu, first look"][-3:] == ["--crop", "--first-look", "look.onnx"]
    assert len(words) == len(RIVALS) + 4
    assert len(_commands(Path("in"), files, None, settings)) == 4
    with pytest.raises(
        UsageError, match="no rival 'nobody'; expected 'PyTorch eager, as a notebook' or '"
    ):
        replace(settings, rivals=("nobody",))


@pytest.mark.parametrize("theirs", [5, 9])
def test_an_artifact_of_a_smaller_or_a_larger_network_than_the_run_s_is_refused(
    monkeypatch, theirs
):
    monkeypatch.setattr("lgg_bench.throughput.count_run_operations", lambda *_: theirs)
    monkeypatch.setattr("lgg_bench.throughput.count_operations", lambda *_: 7)
    with pytest.raises(UsageError, match=f"7 operations for a slice of 64 x 64, and {theirs};"):
        _require_same_network(Path("run"), Path("a.onnx"))


def test_slices_and_patients_are_counted_and_the_fastest_stands_last(
    artifact, tmp_path, monkeypatch
):
    for name in "AB":
        (tmp_path / name).mkdir()
        for number in range(3):
            picture = np.zeros((16, 16, 3), np.uint8)
            cv2.imwrite(str(tmp_path / name / f"{name}_{number}.png"), picture)
    seconds = iter((3.0, 2.0))

    def run_in_turn(commands, rounds, _advance):
        return {name: [Ran(next(seconds), 1.0)] * rounds for name in commands}

    monkeypatch.setattr("lgg_bench.throughput.run_in_turn", run_in_turn)
    settings = ThroughputSettings(rounds=2, first_look=artifact)
    record = measure_throughput(tmp_path, [artifact], None, settings, progress=False)
    assert (record.results["slices"], record.results["studies"]) == (6, 2)
    (table,) = tabulate(record)
    assert [row[1] for row in table.rows] == ["3.00 (3.00-3.00)", "2.00 (2.00-2.00)"]
