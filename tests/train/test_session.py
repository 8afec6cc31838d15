"""A finished run's folder, scored, split in each way."""

import hashlib
import json
import os
import shutil
from dataclasses import asdict

import cv2
import numpy as np
import pytest
import torch
from scipy import ndimage

from lgg_runtime.errors import InputError, ResourceError
from lgg_runtime.intensity import IntensitySettings, normalise
from lgg_train.cases import digest_cases, find_cases, load_cases
from lgg_train.checkpoint import load_checkpoint
from lgg_train.decision import choose_decision
from lgg_train.evaluation import predict_cases
from lgg_train.phantom import PhantomSettings, write_phantoms
from lgg_train.prediction import Prediction
from lgg_train.report import run_evaluation
from lgg_train.session import _validate
from lgg_train.splits import Split
from lgg_train.trained import load_model
from stand_ins.run_folder import LEAST, contents, read_config, read_metrics
from stand_ins.tiny_training import assert_same_weights, read_rows, weights_of

DOCUMENTED = {
    "config.json", "split.json", "last.pt", "history.csv", "model.pt", "metrics_validation.json",
    "curves.png", "pr_validation.png", "panels_validation.png", ".lgg-train.lock",
}  # fmt: skip


def test_training_writes_every_documented_file_and_no_other(finished_run):
    assert {path.name for path in finished_run.iterdir()} == DOCUMENTED
    for name in ("curves", "pr_validation", "panels_validation"):
        assert cv2.imread(str(finished_run / f"{name}.png")) is not None


def test_the_config_tells_data_settings_and_versions(finished_run, phantoms):
    config = read_config(finished_run)
    assert config["data"] == str(phantoms.resolve())
    cases = load_cases(find_cases(phantoms))
    split = (finished_run / "split.json").read_bytes()
    assert config["training"] == {
        "data": digest_cases(cases),
        "split": hashlib.sha256(split).hexdigest(),
        "split_by": "patient",
        "patients": {"train": 9, "validation": 1, "test": 2},
    }
    settings = config["settings"]
    assert settings["unet"]["features"] == 4
    crops = {"batch": 4, "tumour": 3, "crop": 32}
    assert settings["samples"] == crops | {"seed": 0, "augmentation": "plain", "draw": "slice"}
    assert settings["budget"] == {"epochs": 4.0, "minutes": None}
    assert settings["peak_rate"] == 0.01
    assert config["versions"]["torch"] == torch.__version__
    assert config["device"] == "cpu"


def test_the_history_s_numbers_by_hand():
    """A: three of four pixels found, from 0.5 on, and one too many apart from them. B: both
    missed. C: nothing there and nothing found.
    """
    truth, p = np.zeros((3, 1, 4, 8), bool), np.zeros((3, 1, 4, 8), np.float32)
    truth[0, 0, 0, :4] = truth[1, 0, 0, :2] = True
    p[0, 0, 0, :3], p[0, 0, 3, 7] = 0.5, 0.9
    slices = np.zeros((1, 4, 8, 3), np.uint8)
    patients = [
        Prediction(name, slices, p[n], truth[n], (0,), truth[n]) for n, name in enumerate("ABC")
    ]
    assert _validate(patients) == pytest.approx(
        {
            "dice_mean": (6 / 8 + 0 + 1) / 3,
            "dice_median": 6 / 8,
            "dice_mean_largest": (6 / 7 + 0 + 1) / 3,
            "f1": 6 / 10,
            "recall": 3 / 6,
        }
    )


def test_validations_are_in_the_precision_of_training_and_the_decision_in_float32(
    train_tiny, tmp_path, monkeypatch
):
    asked = []

    def watched(*given):
        asked.append(given[4:])
        return predict_cases(*given)

    monkeypatch.setattr("lgg_train.session.predict_cases", watched)
    train_tiny(tmp_path / "run", "--epochs", "0.3", "--validations", "1", "--precision", "bf16")
    assert asked == [("bf16",), ()]


def test_the_history_holds_the_validations(finished_run):
    rows = read_rows(finished_run)
    # Nine patients of six slices in batches of four: 14 steps an epoch.
    assert [row["step"] for row in rows] == [28, 56]
    for name in ("dice_mean", "dice_median", "dice_mean_largest", "f1", "recall"):
        assert all(0 <= row[name] <= 1 for row in rows)


def test_the_model_is_the_average_of_the_last_checkpoint(finished_run):
    averaged = load_checkpoint(finished_run / "last.pt")["averaged"]
    assert_same_weights(weights_of(finished_run), averaged)


def test_the_model_tells_its_training_as_the_config_does(finished_run):
    assert asdict(load_model(finished_run).training) == read_config(finished_run)["training"]


def recount(run, phantoms, part, sequences=(0, 1, 2)):
    """Counts of a part, by its own code: PyTorch, NumPy and SciPy alone."""
    model = load_model(run)
    names = json.loads((run / "split.json").read_text())["parts"][part]
    beside = ndimage.generate_binary_structure(3, 1)
    beside[1] = True
    counts = {}
    for case in load_cases(find_cases(phantoms)):
        if case.patient not in names:
            continue
        slices = normalise(case.volume.pixels[..., sequences], IntensitySettings())
        x = torch.from_numpy(slices.astype(np.float32) / 255).permute(0, 3, 1, 2)
        with torch.no_grad():
            p = torch.sigmoid(model.network(x))[:, 0].numpy()
        mask = p >= model.decision.threshold
        labels, count = ndimage.label(mask, beside)
        sizes = np.bincount(labels.ravel(), minlength=count + 1)
        sizes[0] = 0
        mask &= (sizes >= model.decision.cleanup.smallest_fraction * sizes.max())[labels]
        truth = case.masks
        counts[case.patient] = np.array(
            [(mask & truth).sum(), (mask & ~truth).sum(), (~mask & truth).sum()]
        )
    return counts


def test_evaluation_agrees_with_an_independent_recount(run_copy, phantoms):
    text = run_evaluation(run_copy, phantoms, "test", "cpu")
    metrics = read_metrics(run_copy, "test")
    counts = recount(run_copy, phantoms, "test")
    assert len(counts) == metrics["per_patient_dice"]["patients"] == 2
    tp, fp, fn = sum(counts.values())
    assert tp > 0
    pooled = metrics["pooled"]
    assert pooled["iou"] == pytest.approx(tp / (tp + fp + fn))
    assert pooled["precision"] == pytest.approx(tp / (tp + fp))
    assert pooled["recall"] == pytest.approx(tp / (tp + fn))
    assert pooled["f1"] == pytest.approx(2 * tp / (2 * tp + fp + fn))
    for name, (a, b, c) in counts.items():
        dice = metrics["per_patient_dice"]["by_patient"][name]
        assert dice == pytest.approx(2 * a / (2 * a + b + c))
    assert f"F1 {pooled['f1']:.4f}" in text
    assert "test, split by patient" in text
    assert "Research use only, not for diagnosis." in text
    for name in ("pr_test", "panels_test"):
        assert cv2.imread(str(run_copy / f"{name}.png")) is not None


def test_flair_alone_is_scored_beside_the_full_input(run_copy, phantoms):
    run_evaluation(run_copy, phantoms, "test", "cpu")
    full = (run_copy / "metrics_test.json").read_bytes()
    text = run_evaluation(run_copy, phantoms, "test", "cpu", flair_only=True)
    assert "test flair only, split by patient" in text
    tp, fp, fn = sum(recount(run_copy, phantoms, "test", sequences=(1, 1, 1)).values())
    pooled = read_metrics(run_copy, "test_flair_only")["pooled"]
    assert pooled["f1"] == pytest.approx(2 * tp / (2 * tp + fp + fn))
    assert (run_copy / "metrics_test.json").read_bytes() == full
    assert json.loads(full)["pooled"]["f1"] != pooled["f1"]


def test_evaluating_the_validation_part_repeats_the_training_s_own_scores(run_copy, phantoms):
    before = read_metrics(run_copy)
    run_evaluation(run_copy, phantoms, "validation", "cpu")
    assert read_metrics(run_copy) == before


def test_evaluation_on_other_data_is_refused_and_changes_nothing(run_copy, tmp_path):
    write_phantoms(tmp_path / "other", PhantomSettings(patients=12, slices=6, size=64, seed=6))
    before = contents(run_copy)
    with pytest.raises(InputError, match=r"trained on other data: PHANTOM_.* differ"):
        run_evaluation(run_copy, tmp_path / "other", "test", "cpu")
    assert contents(run_copy) == before


def test_a_patient_s_folder_may_have_a_name_that_is_neither_utf_8_nor_plain(
    tmp_path, phantoms, call_main
):
    data = shutil.copytree(phantoms, tmp_path / "data")
    for folder in (data / "kaggle_3m").iterdir():
        folder.rename(os.fsdecode(os.fsencode(folder) + b"_\xff$\\frac$"))
    out = tmp_path / "run"
    words = ("--epochs", "0.1", *LEAST, "--no-progress")
    done = call_main("train", "--data", str(data), "-o", str(out), *words)
    assert done.code == 0, done.err
    assert r"_\udcff$\\frac$ " in done.out
    done = call_main("evaluate", str(out), "--data", str(data), "--split", "test")
    assert done.code == 0, done.err
    tested = read_metrics(out, "test")["per_patient_dice"]["by_patient"]
    assert sorted(tested) == Split.read(out / "split.json").patients("test")
    assert all((data / "kaggle_3m" / name).is_dir() for name in tested)


def test_evaluation_without_a_patient_of_the_split_names_it(run_copy, phantoms, tmp_path):
    split = Split.read(run_copy / "split.json")
    missing, short = split.patients("test")
    other = shutil.copytree(phantoms, tmp_path / "other")
    shutil.rmtree(other / "kaggle_3m" / missing)
    for path in (other / "kaggle_3m" / short).glob("*_6*.tif"):
        path.unlink()
    with pytest.raises(InputError, match=f"do not hold all slices .* {missing}, {short}$"):
        run_evaluation(run_copy, other, "test", "cpu")
    assert not (run_copy / "metrics_test.json").exists()


@pytest.mark.parametrize("name", ["pr_test.png", "panels_test.png", "metrics_test.json"])
def test_scores_that_cannot_be_written_are_refused_before_the_data_are_read(
    run_copy, tmp_path, name
):
    (run_copy / name).mkdir()
    with pytest.raises(ResourceError, match=f"^{name}: cannot be written: Is a directory$"):
        run_evaluation(run_copy, tmp_path / "gone", "test", "cpu")


def test_a_split_by_slice_trains_and_scores_its_own_slices_alone(tmp_path, phantoms, train_tiny):
    out = tmp_path / "run"
    train_tiny(out, "--epochs", "1", "--split-by", "slice")
    split = Split.read(out / "split.json")
    assert split.by == "slice"
    assert set(split.patients("train")) & set(split.patients("test"))
    model, held = load_model(out), split.parts["validation"]
    cases = [case for case in load_cases(find_cases(phantoms)) if case.patient in held]
    found = predict_cases(model.network, cases, held, model.intensity)
    chosen = choose_decision([(p.probability, p.truth, p.used) for p in found])
    assert model.decision == chosen, "no slice of another part decides"
    text = run_evaluation(out, phantoms, "test", "cpu")
    assert "test, split by slice" in text
    support = read_metrics(out, "test")["pooled"]["support"]
    used = sum(map(len, split.parts["test"].values()))
    assert support["tumour"] + support["background"] == used * 64 * 64


def test_a_run_is_not_evaluated_on_another_split_than_its_own(run_copy, phantoms):
    split = Split.read(run_copy / "split.json")
    parts = split.parts | {"train": split.parts["test"], "test": split.parts["train"]}
    Split(split.by, split.seed, parts).write(run_copy / "split.json")
    with pytest.raises(InputError, match="not the split that this model was trained with"):
        run_evaluation(run_copy, phantoms, "test", "cpu")
    assert not (run_copy / "metrics_test.json").exists()
