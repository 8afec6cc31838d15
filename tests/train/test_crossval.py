"""Cross-validation: every patient tested once, broken off and gone on with, recounted."""

import json

import numpy as np
import pytest

from lgg_runtime.metrics import Counts, summarise
from lgg_train.cli import train
from lgg_train.crossval import cross_validate, gather

BRIEF = ["--epochs", "0.3", "--rate", "0.01", "--validations", "1"]


def make_fold(rng, names):
    counts = {
        name: Counts(*(int(n) for n in rng.integers((0, 0, 0, 900), (90, 30, 30, 2000))))
        for name in names
    }
    record = summarise(counts)
    record["decision"] = {"threshold": 0.4}
    record["assessment"] = {"calibration": {"expected_error": 0.01}}
    return counts, record


def test_gathered_scores_are_those_of_all_patients_counted_at_once():
    rng = np.random.default_rng(0)
    folds = [make_fold(rng, names) for names in (("A", "B"), ("C",), ("D", "E", "F"))]
    every = {name: c for counts, _ in folds for name, c in counts.items()}
    whole = summarise(every)
    found = gather([record for _, record in folds])
    assert found["pooled"] == whole["pooled"]
    assert found["per_patient_dice"] == whole["per_patient_dice"]
    assert [fold["patients"] for fold in found["folds"]] == [2, 1, 3]


def test_a_fold_without_tumour_found_or_there_counts_as_it_is():
    nothing = summarise({"A": Counts(tn=50), "B": Counts(fp=3, tn=40)})
    nothing["decision"], nothing["assessment"] = {}, {"calibration": {"expected_error": 0.0}}
    missed = summarise({"C": Counts(fn=7, tn=10)})
    missed["decision"], missed["assessment"] = {}, {"calibration": {"expected_error": 0.0}}
    found = gather([nothing, missed])
    assert found["pooled"]["support"] == {"tumour": 7, "background": 103}
    assert found["pooled"]["recall"] == found["pooled"]["precision"] == 0


def test_only_what_is_missing_is_run_and_what_was_begun_goes_on(tmp_path):
    rng = np.random.default_rng(1)
    (tmp_path / "fold_0").mkdir()
    _, done = make_fold(rng, ("A",))
    (tmp_path / "fold_0" / "metrics_test.json").write_text(json.dumps(done))
    (tmp_path / "fold_1").mkdir()
    (tmp_path / "fold_1" / "last.pt").touch()
    ran = []

    def run_fold(folder, fold, resume):
        ran.append((fold, resume))
        folder.mkdir(exist_ok=True)
        _, record = make_fold(rng, (f"P{fold}",))
        (folder / "metrics_test.json").write_text(json.dumps(record))

    text = cross_validate(tmp_path, 3, run_fold)
    assert ran == [(1, True), (2, False)]
    assert "Research use only" in text and "3 patients" in text
    assert json.loads((tmp_path / "cv.json").read_text())["per_patient_dice"]["patients"] == 3


def test_the_command_tests_every_patient_once(tmp_path, phantoms, one_thread, call_main):
    size = ["--features", "4", "--depth", "1", "--crop", "16", "--batch", "4", "--tumour", "3"]
    args = ["cv", "--data", str(phantoms), "-o", str(tmp_path / "cv"), "--folds", "2", *size]
    done = call_main(*args, *BRIEF, "--precision", "fp32", "--device", "cpu", "--no-progress")
    assert done.code == 0, done.err
    record = json.loads((tmp_path / "cv" / "cv.json").read_text())
    assert record["per_patient_dice"]["patients"] == len(list((phantoms / "kaggle_3m").iterdir()))
    assert "95 % interval" in done.out


@pytest.mark.parametrize(
    ("given", "features", "depth", "mirror"),
    [
        ([], 16, 4, False),
        (["--recipe", "standard"], 32, 3, True),
        (["--features", "8", "--recipe", "standard"], 8, 3, True),
    ],
)
def test_a_recipe_gives_defaults_that_given_options_override(given, features, depth, mirror):
    context = train.make_context("train", ["--data", "d", "--out", "o", *given])
    found = context.params
    assert (found["features"], found["depth"], found["mirror"]) == (features, depth, mirror)
