"""The accuracy page is what the run folders say, and nothing else."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from lgg_bench.accuracy import Evidence, write_accuracy
from lgg_bench.document import fill_blocks
from lgg_bench.run_record import RunRecord
from lgg_runtime.errors import InputError, UsageError

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "train" / "shipped"
RUNS = [SHIPPED / name for name in ("standard", "lite", "tiny")]
FOLDS = sorted(SHIPPED.glob("cv-*.json"))
LEAKS = sorted(SHIPPED.glob("*-by-*"))
PAGE = ROOT / "docs" / "accuracy.md"


def test_the_committed_page_is_the_one_that_the_runs_give():
    text = PAGE.read_text(encoding="utf-8")
    assert fill_blocks(text, Evidence.read(RUNS, FOLDS, LEAKS).blocks()) == text


def test_a_changed_score_changes_the_page_and_the_pictures_are_pictures(tmp_path):
    run = shutil.copytree(RUNS[0], tmp_path / "standard")
    scores = run / "metrics_test.json"
    record = RunRecord.read(run)
    low = record.scores["test"]["assessment"]["intervals"]["mean"][0]
    scores.write_text(scores.read_text().replace(str(low), "0.123"))
    page = tmp_path / "accuracy.md"
    page.write_bytes(PAGE.read_bytes())
    write_accuracy(Evidence.read([run], FOLDS), page)
    assert "0.123" in page.read_text()
    for name in ("patients", "calibration", "curves", *(["folds"] if FOLDS else [])):
        picture = cv2.imread(str(tmp_path / "accuracy" / f"{name}.png"))
        assert len(np.unique(picture)) > 2


@pytest.mark.parametrize("part", ["validation", "test"])
def test_a_run_that_was_not_scored_is_refused(tmp_path, part):
    run = shutil.copytree(RUNS[0], tmp_path / "standard")
    (run / f"metrics_{part}.json").unlink()
    with pytest.raises(InputError, match=rf"no metrics_{part}\.json; `lgg-train evaluate` writes"):
        RunRecord.read(run)


def test_a_run_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(InputError, match=r"n: cannot be read \(File name too long\)$"):
        RunRecord.read(tmp_path / ("n" * 300))


def test_a_run_without_a_history_or_tested_on_others_is_refused(tmp_path):
    run = shutil.copytree(RUNS[1], tmp_path / "lite")
    path = run / "metrics_test.json"
    record = json.loads(path.read_text())
    dice = record["per_patient_dice"]["by_patient"]
    dice["another"] = dice.popitem()[1]
    path.write_text(json.dumps(record))
    with pytest.raises(InputError, match="lite: tested on other patients than"):
        Evidence.read([RUNS[0], run])
    (run / "history.csv").unlink()
    with pytest.raises(InputError, match=r"lite: no history\.csv"):
        Evidence.read([run])


@pytest.mark.parametrize(("source", "given"), [(RUNS[0], "runs"), (LEAKS[0], "leaks")])
def test_scores_of_two_networks_in_one_run_are_refused(tmp_path, source, given):
    run = shutil.copytree(source, tmp_path / source.name)
    for part, network in (("validation", "a"), ("test", "a"), ("test", "b")):
        path = run / f"metrics_{part}.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"model": network}))
        folders = {"runs": [RUNS[0]]} | {given: [run]}
        if network == "a":
            Evidence.read(**folders)
    with pytest.raises(InputError, match=f"{source.name}: scores of 2 networks; `lgg-train eval"):
        Evidence.read(**folders)


def test_a_distance_without_a_finding_is_a_dash(tmp_path):
    run = shutil.copytree(RUNS[0], tmp_path / "standard")
    path = run / "metrics_test.json"
    record = json.loads(path.read_text())
    record["assessment"]["hd95_pixels"]["median"] = None
    path.write_text(json.dumps(record))
    assert "| - |" in Evidence.read([run]).blocks()["trust"]


def test_a_file_that_is_no_cross_validation_is_refused():
    with pytest.raises(InputError, match="another kind or version: KeyError"):
        Evidence([], {"lite": {"folds": []}}).blocks()


@pytest.mark.parametrize(
    ("name", "held", "told"),
    [
        ("config.json", {"training": {}, "settings": {}}, "standard: a run of another kind or ver"),
        (
            "config.json",
            {"settings": {"unet": None}},
            r"standard: scores of .* version: Attrib",
        ),
        ("metrics_test.json", {"per_patient_dice": {}}, r"metrics_test\.json: holds no scores"),
        ("metrics_test.json", {"pooled": {"iou": "high"}}, r"metrics_test\.json: holds no scores"),
    ],
)
def test_files_of_a_run_that_hold_something_else_are_refused(tmp_path, name, held, told):
    run = shutil.copytree(RUNS[0], tmp_path / "standard")
    (run / name).write_text(json.dumps(json.loads((run / name).read_text()) | held))
    with pytest.raises(InputError, match=told):
        Evidence.read([run]).blocks()


def test_scores_that_cannot_be_drawn_are_refused_before_the_page_is_touched(tmp_path):
    run = shutil.copytree(RUNS[0], tmp_path / "standard")
    scores = json.loads((run / "metrics_test.json").read_text())
    scores["assessment"]["calibration"]["bins"] = [{"probability": {}, "tumour": 0}]
    (run / "metrics_test.json").write_text(json.dumps(scores))
    page = tmp_path / "accuracy.md"
    page.write_bytes(PAGE.read_bytes())
    with pytest.raises(InputError, match=r"standard, cv-.*: scores of another kind .* TypeError"):
        write_accuracy(Evidence.read([run], FOLDS), page)
    assert page.read_bytes() == PAGE.read_bytes()


def test_a_page_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"accuracy\.md: cannot be read"):
        write_accuracy(Evidence.read([RUNS[0]]), tmp_path / "accuracy.md")


def test_a_run_by_slice_stands_behind_the_folds_of_its_recipe_and_augmentation():
    leaks = [RunRecord.read(run) for run in LEAKS]
    pooled = {"iou": 0.1, "recall": 0.2, "precision": 0.3, "f1": 0.4}
    folds = {"pooled": pooled | {"support": {"tumour": 1, "background": 999}}}
    record = json.loads(FOLDS[0].read_text()) | folds
    cross_validated = {"lite-plain": record, "standard-strong": record, "wide-mild": record}
    evidence = Evidence([], cross_validated, leaks)
    rows = [line for line in evidence.blocks()["leak"].splitlines() if line.startswith("| ")][2:]
    assert [row.split("|")[1:3] for row in rows] == [
        [" lite ", " patient, in folds "], [" lite ", " slice "], [" standard ", " slice "],
        [" wide-mild ", " patient, in folds "], [" wide-mild ", " slice "],
    ]  # fmt: skip
    assert "| 1,000 | 0.1000 | 0.2000 | 0.3000 | 0.4000 |" in rows[0]


@pytest.mark.parametrize(
    ("name", "augmentation", "folds"),
    [("lite", "flair", "lite"), ("tiny", "plain", "tiny"), ("tiny-mild", "mild", "tiny-mild")],
)
def test_a_recipe_s_own_augmentation_is_not_in_the_name_of_its_folds(
    tmp_path, name, augmentation, folds
):
    run = shutil.copytree(LEAKS[0], tmp_path / f"{name}-by-slice")
    config = json.loads((run / "config.json").read_text())
    config["settings"]["samples"]["augmentation"] = augmentation
    (run / "config.json").write_text(json.dumps(config))
    given = {folds: json.loads(FOLDS[0].read_text())}
    block = Evidence([], given, [RunRecord.read(run)]).blocks()["leak"]
    assert f"| {name} | patient, in folds |" in block


def test_what_flair_alone_costs_is_told_of_cross_validations_that_scored_it():
    record = json.loads(FOLDS[0].read_text()) | {"flair_only": None}
    pooled = record["pooled"] | {"recall": 0.5}
    dice = record["per_patient_dice"] | {"mean": record["per_patient_dice"]["mean"] - 0.25}
    scored = record | {"flair_only": {"pooled": pooled, "per_patient_dice": dice}}
    block = Evidence([], {"lite": record, "lite-strong": scored}).blocks()["flair"]
    rows = [line for line in block.splitlines() if line.startswith("| ")][2:]
    assert len(rows) == 1
    cells = [cell.strip() for cell in rows[0].split("|")[1:-1]]
    assert cells[:3] == ["lite-strong", "every patient, in folds", "98"]
    assert cells[5] == "-0.250"
    assert cells[7] == "0.500"


def test_a_run_by_slice_is_not_taken_for_one_by_patient():
    with pytest.raises(InputError, match="split by slice; --leak takes those by slice"):
        Evidence.read([LEAKS[0]])


@pytest.mark.parametrize("what", ["runs", "folds", "leaks"])
def test_two_of_one_name_are_refused_where_one_would_hide_the_other(tmp_path, what):
    """`lgg-train cv` calls each one's file cv.json."""
    sources = {"runs": RUNS[:2], "folds": FOLDS[:2], "leaks": LEAKS[:2]}[what]
    given = {"runs": RUNS[:1], what: [tmp_path / str(n) / "cv.json" for n in range(2)]}
    for source, copy in zip(sources, given[what], strict=True):
        copy.parent.mkdir()
        (shutil.copytree if source.is_dir() else shutil.copyfile)(source, copy)
    with pytest.raises(UsageError, match=r"two are called cv(\.json)?: give each a name"):
        Evidence.read(**given)


def test_a_damaged_config_is_named(tmp_path):
    run = shutil.copytree(RUNS[0], tmp_path / "run")
    (run / "config.json").write_text("{}")
    with pytest.raises(InputError, match=r"config\.json: holds no training and settings of a run"):
        Evidence.read([run])
