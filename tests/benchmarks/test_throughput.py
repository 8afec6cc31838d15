"""Which patients of a folder a whole command is timed on."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from lgg_bench.record import Record
from lgg_bench.throughput import copy_slices, tabulate
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
