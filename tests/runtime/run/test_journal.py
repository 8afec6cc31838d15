"""run.json and summary.csv: what was done, in any case valid text."""

from __future__ import annotations

import csv
import json
import os
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

from lgg_runtime.errors import ResourceError
from lgg_runtime.run.journal import DONE, FAILED, SKIPPED_MASK, InputRecord, Journal
from lgg_runtime.run.summary import summarise_volume
from lgg_runtime.volume import Segmentation


def segmentation(tumour: bool) -> Segmentation:
    mask = np.full((1, 2, 3), tumour)
    return Segmentation(mask, mask.astype(np.float32), 0.5)


@pytest.fixture
def journal() -> Journal:
    """Two patients, one with tumour; two slices done, one failed, one mask passed over."""
    journal = Journal({"input": "in"}, skipped_files=7)
    journal.inputs += [
        InputRecord("b_1.png", DONE, outputs=("b_1_mask.png",)),
        InputRecord("b_2.png", FAILED, "b_2.png: damaged"),
        InputRecord("a_1.png", DONE, "", ("one channel, taken as FLAIR",), ("a_1_mask.png",)),
        InputRecord("a_1_mask.png", SKIPPED_MASK),
    ]
    journal.rows += summarise_volume("b", ["b_1"], segmentation(True), [None])
    journal.rows += summarise_volume("a", ["a_1"], segmentation(False), [None])
    journal.seconds = {"total": 1.23456789}
    return journal


def test_inputs_are_counted_by_their_fate(journal: Journal) -> None:
    assert journal.to_json("complete")["counts"] == {
        "inputs": 4,
        "done": 2,
        "failed": 1,
        "skipped_masks": 1,
        "skipped_files": 7,
        "patients": 2,
        "patients_with_tumour": 1,
    }
    assert [record.name for record in journal.failures] == ["b_2.png"]
    assert [row.patient for row in journal.patients] == ["b", "a"]


def test_both_files_read_back(tmp_path: Path, journal: Journal) -> None:
    journal.write(tmp_path, "complete")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run.json", "summary.csv"]
    run = json.loads((tmp_path / "run.json").read_bytes())
    assert (run["schema"], run["state"]) == (1, "complete")
    assert run["use"] == "research use only, not for diagnosis"
    assert [entry["name"] for entry in run["inputs"]] == [
        "a_1.png",
        "a_1_mask.png",
        "b_1.png",
        "b_2.png",
    ]
    assert run["inputs"][0] == {
        "name": "a_1.png",
        "fate": "done",
        "reason": "",
        "notes": ["one channel, taken as FLAIR"],
        "outputs": ["a_1_mask.png"],
    }
    assert (run["settings"], run["metrics"]) == ({"input": "in"}, None)
    assert run["seconds"] == {"total": 1.2346}
    assert run["versions"]["lgg-edge"] == version("lgg-edge")
    with (tmp_path / "summary.csv").open(newline="", encoding="utf-8") as table:
        assert [row["patient"] for row in csv.DictReader(table)] == ["b", "b", "a", "a"]


def test_a_run_that_did_nothing_is_told_too(tmp_path: Path) -> None:
    Journal({}).write(tmp_path, "interrupted")
    run = json.loads((tmp_path / "run.json").read_bytes())
    assert (run["state"], run["counts"]["inputs"], run["inputs"]) == ("interrupted", 0, [])
    assert (tmp_path / "summary.csv").read_text().count("\n") == 1


@pytest.mark.parametrize("name", ["naïve 日本", 'a"\\\n\t', os.fsdecode(b"caf\xe9")])
def test_any_name_leaves_both_files_valid_text(tmp_path: Path, name: str) -> None:
    journal = Journal({"input": name})
    journal.inputs.append(InputRecord(name, DONE))
    journal.rows += summarise_volume(name, [name], segmentation(True), [None])
    journal.write(tmp_path, "complete")
    run = json.loads((tmp_path / "run.json").read_bytes())
    assert (run["inputs"][0]["name"], run["settings"]["input"]) == (name, name)
    shown = name.encode("utf-8", "backslashreplace").decode()
    with (tmp_path / "summary.csv").open(newline="", encoding="utf-8") as table:
        assert next(csv.DictReader(table))["patient"] == shown


def test_the_files_of_an_earlier_run_are_replaced(tmp_path: Path, journal: Journal) -> None:
    journal.write(tmp_path, "interrupted")
    journal.write(tmp_path, "complete")
    assert json.loads((tmp_path / "run.json").read_bytes())["state"] == "complete"


def test_a_folder_that_is_gone_is_an_error(tmp_path: Path, journal: Journal) -> None:
    with pytest.raises(ResourceError, match=r"summary\.csv: cannot be written"):
        journal.write(tmp_path / "gone", "complete")


def test_the_contract_page_names_each_field_of_the_record(journal: Journal, tmp_path: Path) -> None:
    journal.write(tmp_path, "complete")
    page = Path(__file__).parents[3] / "docs" / "contract.md"
    section = page.read_text(encoding="utf-8").partition("## The fields of `run.json`")[2]
    first_cells = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    named = [name.strip("` ") for cell in first_cells for name in cell.split(",")]

    assert named == list(json.loads((tmp_path / "run.json").read_text()))
