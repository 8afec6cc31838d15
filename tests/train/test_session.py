"""From phantoms to a finished run folder, resumed, scored, split in each way."""

import csv
import functools
import hashlib
import json
import re
import shutil
import sys
from dataclasses import replace

import click
import cv2
import numpy as np
import pytest
import torch
from scipy import ndimage

from lgg_runtime.errors import InputError, MissingExtraError, UsageError
from lgg_runtime.intensity import IntensitySettings, normalise
from lgg_train.cases import digest_cases, find_cases, load_cases
from lgg_train.checkpoint import load_checkpoint
from lgg_train.cli import command
from lgg_train.decision import choose_decision
from lgg_train.evaluation import predict_cases
from lgg_train.phantom import PhantomSettings, write_phantoms
from lgg_train.report import run_evaluation
from lgg_train.run import load_model
from lgg_train.settings import Machinery
from lgg_train.splits import Split

DOCUMENTED = {
    "config.json", "split.json", "last.pt", "history.csv", "model.pt", "metrics_validation.json",
    "curves.png", "pr_validation.png", "panels_validation.png",
}  # fmt: skip
BRIEF = ("--epochs", "4", "--rate", "0.01", "--validations", "2")


@pytest.fixture
def run_copy(finished_run, tmp_path):
    return shutil.copytree(finished_run, tmp_path / "run")


def read_metrics(folder, part="validation"):
    return json.loads((folder / f"metrics_{part}.json").read_text())


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_training_writes_every_documented_file_and_no_other(finished_run):
    assert {path.name for path in finished_run.iterdir()} == DOCUMENTED
    for name in ("curves", "pr_validation", "panels_validation"):
        assert cv2.imread(str(finished_run / f"{name}.png")) is not None


def test_the_config_tells_data_settings_and_versions(finished_run, phantoms):
    config = json.loads((finished_run / "config.json").read_text())
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
    assert settings["samples"] == crops | {"seed": 0, "augmentation": "plain"}
    assert settings["budget"] == {"epochs": 4.0, "minutes": None}
    assert settings["peak_rate"] == 0.01
    assert config["versions"]["torch"] == torch.__version__
    assert config["device"] == "cpu"


def test_the_history_holds_the_validations(finished_run):
    with (finished_run / "history.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    # Nine patients of six slices in batches of four: 14 steps an epoch.
    assert [int(row["step"]) for row in rows] == [28, 56]
    for name in ("dice_mean", "dice_median", "dice_mean_largest", "f1", "recall"):
        assert all(0 <= float(row[name]) <= 1 for row in rows)


def test_the_model_is_the_average_of_the_last_checkpoint(finished_run):
    averaged = load_checkpoint(finished_run / "last.pt")["averaged"]
    for name, value in load_model(finished_run).network.state_dict().items():
        assert torch.equal(value, averaged[name]), name


def test_the_model_tells_its_training_as_the_config_does(finished_run):
    config = json.loads((finished_run / "config.json").read_text())
    training = load_model(finished_run).training
    assert training.data == config["training"]["data"]
    assert training.patients == config["training"]["patients"]


def test_a_second_run_in_the_folder_is_refused_and_changes_nothing(run_copy, train_tiny):
    before = contents(run_copy)
    with pytest.raises(UsageError, match="holds a run already; --resume goes on with it"):
        train_tiny(run_copy, *BRIEF)
    assert contents(run_copy) == before


def test_resuming_a_finished_run_finishes_it_again_with_the_same_numbers(run_copy, train_tiny):
    before = contents(run_copy)
    for name in ("model.pt", "metrics_validation.json", "curves.png"):
        (run_copy / name).unlink()
    train_tiny(run_copy, *BRIEF, "--resume")
    after = contents(run_copy)
    assert after.keys() == before.keys()
    for name in ("metrics_validation.json", "split.json", "history.csv", "config.json"):
        assert after[name] == before[name], name


def test_a_run_broken_off_and_resumed_ends_as_one_in_one_go(
    finished_run, train_tiny, tmp_path, monkeypatch
):
    each_step = functools.partial(Machinery, checkpoint_minutes=0)
    monkeypatch.setattr("lgg_train.request.Machinery", each_step)
    with monkeypatch.context() as broken, pytest.raises(click.Abort):
        broken.setattr("lgg_train.session._validate", break_off)
        train_tiny(tmp_path / "run", *BRIEF)
    assert not (tmp_path / "run" / "model.pt").exists()
    train_tiny(tmp_path / "run", *BRIEF, "--resume")
    assert read_metrics(tmp_path / "run") == read_metrics(finished_run)
    whole = load_model(finished_run).network.state_dict()
    for name, value in load_model(tmp_path / "run").network.state_dict().items():
        assert torch.equal(value, whole[name]), name


def test_a_resumed_run_goes_on_with_its_own_options_and_needs_none_of_them(
    finished_run, phantoms, train_tiny, tmp_path, monkeypatch
):
    each_step = functools.partial(Machinery, checkpoint_minutes=0)
    monkeypatch.setattr("lgg_train.request.Machinery", each_step)
    with monkeypatch.context() as broken, pytest.raises(click.Abort):
        broken.setattr("lgg_train.session._validate", break_off)
        train_tiny(tmp_path / "run", *BRIEF)
    args = ["train", "--data", str(phantoms), "-o", str(tmp_path / "run"), "--resume"]
    command.main([*args, "--no-progress", "--device", "cpu"], standalone_mode=False)
    assert read_metrics(tmp_path / "run") == read_metrics(finished_run)
    assert (tmp_path / "run" / "config.json").read_text() == (
        finished_run / "config.json"
    ).read_text()


def test_a_resumed_run_goes_on_with_tensorboard(run_copy, train_tiny, monkeypatch):
    config = json.loads((run_copy / "config.json").read_text())
    config["options"]["tensorboard"] = True
    (run_copy / "config.json").write_text(json.dumps(config))
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingExtraError, match="tensorboard"):
        train_tiny(run_copy, "--resume")
    assert json.loads((run_copy / "config.json").read_text()) == config


def test_a_run_that_recorded_no_options_is_resumed_with_them_given_again(run_copy, train_tiny):
    config = json.loads((run_copy / "config.json").read_text())
    del config["options"]
    (run_copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(UsageError, match="expected one budget"):
        train_tiny(run_copy, "--resume")
    train_tiny(run_copy, *BRIEF, "--resume")


@pytest.mark.parametrize(
    ("entry", "value", "reason"),
    [
        ("training", None, "holds no training of a run"),
        ("options", 5, "holds no options of a run"),
        ("options", {"epochs": 4, "start": 5}, "no option of a run: start 5"),
        ("options", {"epochs": [4]}, r"no option of a run: epochs \[4\]"),
        ("options", {"epochs": 4, "teachers": 5}, "no option of a run: teachers 5"),
        ("options", {"epochs": 4, "precision": "int8"}, "no option of a run: precision 'int8'"),
    ],
)
def test_a_config_that_was_damaged_is_named(run_copy, phantoms, call_main, entry, value, reason):
    config = json.loads((run_copy / "config.json").read_text())
    (run_copy / "config.json").write_text(json.dumps(config | {entry: value}))
    before = contents(run_copy)
    done = call_main("train", "--data", str(phantoms), "-o", str(run_copy), "--resume")
    assert done.code == 3
    assert re.search(rf"config\.json: {reason}; train it again", done.err)
    assert contents(run_copy) == before


def break_off(_predictions):
    raise KeyboardInterrupt


@pytest.mark.parametrize("budget", [("--epochs", "9"), ("--minutes", "1")])
def test_resuming_with_another_budget_is_refused(run_copy, train_tiny, budget):
    with pytest.raises(InputError, match="made with other settings: budget"):
        train_tiny(run_copy, *budget, "--resume")


def test_resuming_on_other_data_is_refused(run_copy, phantoms, tmp_path, train_tiny):
    other = shutil.copytree(phantoms, tmp_path / "other")
    path = next(iter(sorted(other.rglob("*_3.tif"))))
    image = cv2.imread(str(path))
    image[5, 5] = 255 - image[5, 5]
    cv2.imwrite(str(path), image)
    before = contents(run_copy)
    with pytest.raises(InputError, match="begun on other data or another split"):
        train_tiny(run_copy, *BRIEF, "--resume", "--data", str(other))
    assert contents(run_copy) == before


def test_resuming_what_was_never_begun_is_refused(tmp_path, train_tiny):
    for more in (BRIEF, ()):
        with pytest.raises(InputError, match=r"run: no run to go on with; leave --resume out"):
            train_tiny(tmp_path / "run", *more, "--resume")
    assert not (tmp_path / "run").exists()


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


def test_a_split_by_all_that_leaves_slices_out_is_refused(tmp_path, run_copy, train_tiny):
    split = Split.read(run_copy / "split.json")
    given = tmp_path / "given.json"
    replace(split, by="all", parts=split.parts | {"validation": {}, "test": {}}).write(given)
    with pytest.raises(InputError, match="the split, by all, leaves slices of the data out"):
        train_tiny(tmp_path / "all", *BRIEF, "--split", str(given), "--start", str(run_copy))


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


def test_evaluation_of_an_unfinished_run_is_refused(tmp_path, phantoms):
    with pytest.raises(InputError, match="finish the training with --resume"):
        run_evaluation(tmp_path, phantoms, "test", "cpu")


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


def test_folds_test_their_own_patients(tmp_path, train_tiny, phantoms):
    tested = []
    for fold in range(2):
        out = tmp_path / str(fold)
        train_tiny(out, "--epochs", "0.1", "--folds", "2", "--fold", str(fold))
        tested += Split.read(out / "split.json").patients("test")
    assert sorted(tested) == [case.patient for case in find_cases(phantoms)]


def write_split(path, **parts):
    record = {"schema": 1, "by": "patient", "seed": 1, "parts": parts}
    path.write_text(json.dumps(record))
    return str(path)


def test_a_given_split_is_used_as_it_is(tmp_path, train_tiny):
    parts = {
        "train": {"PHANTOM_A_0001": [1, 2, 3]},
        "validation": {"PHANTOM_B_0002": [0, 2]},
        "test": {"PHANTOM_C_0003": [5]},
    }
    given = write_split(tmp_path / "mine.json", **parts)
    train_tiny(tmp_path / "run", "--epochs", "1", "--split", given)
    assert json.loads((tmp_path / "run" / "split.json").read_text())["parts"] == parts
    support = read_metrics(tmp_path / "run")["pooled"]["support"]
    assert support["tumour"] + support["background"] == 2 * 64 * 64


@pytest.mark.parametrize("slices", [{"NOBODY": [0]}, {"PHANTOM_C_0003": [0, 6]}])
def test_a_given_split_of_other_data_is_refused_by_patient(tmp_path, train_tiny, slices):
    given = write_split(
        tmp_path / "mine.json",
        train={"PHANTOM_A_0001": [1, 2]},
        validation={"PHANTOM_B_0002": [0]},
        test=slices,
    )
    with pytest.raises(InputError, match=f"do not hold all slices .* {next(iter(slices))}$"):
        train_tiny(tmp_path / "run", "--epochs", "1", "--split", given)
    assert not (tmp_path / "run" / "last.pt").exists()


@pytest.mark.parametrize(
    "more", ["--folds 3", "--split-by slice", "--split-seed 3", "--folds 3 --fold 2"]
)
def test_a_given_split_and_a_way_to_split_exclude_each_other(tmp_path, train_tiny, more):
    with pytest.raises(UsageError, match="leave --split-by, --split-seed, --folds and --fold out"):
        train_tiny(
            tmp_path / "run", "--epochs", "1", "--split", str(tmp_path / "s.json"), *more.split()
        )


def test_a_finished_run_is_not_written_over(run_copy, train_tiny):
    (run_copy / "last.pt").unlink()
    before = contents(run_copy)
    with pytest.raises(UsageError, match="holds a finished run; choose another folder"):
        train_tiny(run_copy, "--epochs", "1", "--split-seed", "5")
    assert contents(run_copy) == before


def test_a_refused_run_leaves_no_folder(tmp_path, train_tiny, finished_run):
    with pytest.raises(InputError, match="other data or another split"):
        train_tiny(
            tmp_path / "run", "--epochs", "1", "--split-seed", "5", "--start", str(finished_run)
        )
    with pytest.raises(InputError, match="no such split file"):
        train_tiny(tmp_path / "run", "--epochs", "1", "--split", str(tmp_path / "gone.json"))
    assert not (tmp_path / "run").exists()


def test_a_run_is_not_evaluated_on_another_split_than_its_own(run_copy, phantoms):
    split = Split.read(run_copy / "split.json")
    parts = split.parts | {"train": split.parts["test"], "test": split.parts["train"]}
    Split(split.by, split.seed, parts).write(run_copy / "split.json")
    with pytest.raises(InputError, match="not the split that this model was trained with"):
        run_evaluation(run_copy, phantoms, "test", "cpu")
    assert not (run_copy / "metrics_test.json").exists()
