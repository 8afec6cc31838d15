"""A decision over all patients of a cross-validation, each by the network that never saw it."""

import json
import shutil
from dataclasses import replace

import cv2
import pytest

from lgg_runtime.errors import InputError
from lgg_runtime.intensity import IntensitySettings
from lgg_train.cases import find_cases, load_cases
from lgg_train.decision import choose_decision
from lgg_train.evaluation import predict_cases
from lgg_train.fold_decision import load_decided
from lgg_train.splits import Split
from lgg_train.trained import load_model, save_model
from stand_ins.tiny_training import assert_same_weights


@pytest.fixture(scope="module")
def folds(train_tiny, tmp_path_factory):
    """A cross-validation of two folds, with one network a fold."""
    root = tmp_path_factory.mktemp("cv")
    for fold in (0, 1):
        train_tiny(root / f"fold_{fold}", "--folds", "2", "--fold", str(fold), "--epochs", "1")
    return root


def test_the_decision_is_the_rule_s_over_every_patient_by_its_own_fold(
    folds, phantoms, call_main, monkeypatch
):
    asked = []

    def watched(network, *given, **options):
        asked.append(network)
        return predict_cases(network, *given, **options)

    monkeypatch.setattr("lgg_train.fold_decision.predict_cases", watched)
    done = call_main("decide", str(folds), "--data", str(phantoms), "--device", "cpu")
    assert done.code == 0, done.err
    files = {case.patient: case for case in find_cases(phantoms)}
    found, seen = [], []
    for fold in (0, 1):
        model, split = (
            load_model(folds / f"fold_{fold}"),
            Split.read(folds / f"fold_{fold}/split.json"),
        )
        cases = load_cases([files[name] for name in split.patients("test")], False)
        seen += split.patients("test")
        assert_same_weights(asked[fold].state_dict(), model.network.state_dict())
        for p in predict_cases(model.network, cases, split.parts["test"], model.intensity):
            found.append((p.probability, p.truth, p.used))
    assert sorted(seen) == sorted(files)
    expected = choose_decision(found)
    decided = load_decided(folds).decision
    assert (decided.threshold, decided.cleanup) == (expected.threshold, expected.cleanup)
    assert "on 12 patients of 2 folds that did not train on them" in decided.how
    assert f"threshold {decided.threshold:g}" in done.out


def test_a_run_on_all_patients_takes_the_folds_decision(
    folds, phantoms, call_main, finished_run, train_tiny, tmp_path
):
    assert call_main("decide", str(folds), "--data", str(phantoms), "--device", "cpu").code == 0
    everyone = ["--split-by", "all", "--start", str(finished_run), "--epochs", "0.5"]
    train_tiny(tmp_path / "all", *everyone, "--decision", str(folds))
    taken, decided = load_model(tmp_path / "all").decision, load_decided(folds).decision
    assert (taken.threshold, taken.cleanup) == (decided.threshold, decided.cleanup)
    assert taken.how == f"{decided.how}; then trained on all 12 patients"


def test_a_decision_over_other_folds_is_not_taken(folds, phantoms, call_main, tmp_path):
    assert call_main("decide", str(folds), "--data", str(phantoms), "--device", "cpu").code == 0
    other = shutil.copytree(folds, tmp_path / "cv")
    load_decided(other)
    held = json.loads((other / "decision.json").read_text())
    for models in (5, [], "ab"):
        (other / "decision.json").write_text(json.dumps(held | {"models": models}))
        with pytest.raises(InputError, match=r"decision\.json: no decision: models is no list"):
            load_decided(other)
    (other / "decision.json").write_text(json.dumps(held))
    shutil.copy(other / "fold_0" / "model.pt", other / "fold_1" / "model.pt")
    with pytest.raises(InputError, match=r"decision\.json: chosen over other networks than"):
        load_decided(other)


def test_a_decision_that_cannot_be_written_is_refused_before_the_data_are_read(
    folds, tmp_path, call_main
):
    folder = shutil.copytree(folds, tmp_path / "cv")
    (folder / "decision.json").unlink(missing_ok=True)
    (folder / "decision.json").mkdir()
    done = call_main("decide", str(folder), "--data", str(tmp_path / "gone"), "--device", "cpu")
    assert done.code == 7
    assert done.err == "lgg-train: decision.json: cannot be written: Is a directory\n"


def test_a_file_that_is_named_as_a_fold_is_none(folds, phantoms, tmp_path, call_main):
    folder = shutil.copytree(folds, tmp_path / "cv")
    (folder / "fold_0.zip").touch()
    done = call_main("decide", str(folder), "--data", str(phantoms), "--device", "cpu")
    assert done.code == 0, done.err
    assert "on 12 patients of 2 folds" in done.out


def test_a_folder_without_decision_is_a_run(finished_run):
    assert load_decided(finished_run).decision == load_model(finished_run).decision


def test_a_cross_validation_without_decision_is_told_from_a_run(folds, phantoms, call_main):
    (folds / "decision.json").unlink(missing_ok=True)
    with pytest.raises(InputError, match=r"no decision\.json in it; `lgg-train decide`"):
        load_decided(folds)
    done = call_main("evaluate", str(folds), "--data", str(phantoms))
    assert done.code == 3
    assert f"{folds}: a cross-validation; name the run of a fold, fold_<n> in it" in done.err


def test_slices_of_patients_who_trained_decide_nothing(phantoms, train_tiny, call_main, tmp_path):
    """A file by slice may test each patient once, on slices beside those that trained."""
    last = {case.patient: len(case.slices) - 1 for case in find_cases(phantoms)}
    parts = {
        "train": {name: tuple(range(end - 1)) for name, end in last.items()},
        "validation": {name: (end - 1,) for name, end in last.items()},
        "test": {name: (end,) for name, end in last.items()},
    }
    Split("slice", 0, parts).write(tmp_path / "split.json")
    folder = tmp_path / "cv"
    train_tiny(folder / "fold_0", "--split", str(tmp_path / "split.json"), "--epochs", "0.2")
    done = call_main("decide", str(folder), "--data", str(phantoms), "--device", "cpu")
    assert done.code == 3
    assert "fold_0: split by slice; only one by patient tests patients" in done.err
    assert not (folder / "decision.json").exists()


def copy_fold(root, fold, to):
    shutil.copytree(root / f"fold_{fold}", root / f"fold_{to}", dirs_exist_ok=True)


def say_of_other_data(run):
    model = load_model(run)
    save_model(run, replace(model, training=replace(model.training, data="0" * 64)))


def take_other_intensities(run):
    model = load_model(run)
    save_model(run, replace(model, intensity=IntensitySettings(centre=90)))


@pytest.mark.parametrize(
    ("break_it", "reason"),
    [
        (lambda root: [shutil.rmtree(root / f"fold_{fold}") for fold in (0, 1)],
         "no cross-validation; `lgg-train cv` writes one"),
        (lambda root: (root / "fold_1" / "model.pt").unlink(), "fold_1: no model.pt in it"),
        (lambda root: shutil.rmtree(root / "fold_1"),
         "its folds test 6 patients, the data hold 12; each has to be tested once"),
        (lambda root: copy_fold(root, 0, 1), "its folds test 12 patients, the data hold 12; each "
         "has to be tested once: PHANTOM_"),
        (lambda root: take_other_intensities(root / "fold_1"), "fold_1: another network, or other"),
        (lambda root: copy_fold(root, 0, 2), "its folds test 18 patients, the data hold 12; each"),
        (lambda root: say_of_other_data(root / "fold_1"), "trained on other data than"),
    ],
)  # fmt: skip
def test_folds_that_do_not_test_every_patient_decide_nothing(
    folds, phantoms, call_main, tmp_path, break_it, reason
):
    root = shutil.copytree(folds, tmp_path / "cv")
    (root / "decision.json").unlink(missing_ok=True)
    break_it(root)
    done = call_main("decide", str(root), "--data", str(phantoms))
    assert done.code == 3
    assert reason in done.err
    assert not (root / "decision.json").exists()


def test_folds_of_other_data_decide_nothing(folds, phantoms, call_main, tmp_path):
    other = shutil.copytree(phantoms, tmp_path / "other")
    path = next((other / "kaggle_3m" / "PHANTOM_A_0001").glob("*_1.tif"))
    cv2.imwrite(str(path), cv2.imread(str(path)) // 2)
    done = call_main("decide", str(folds), "--data", str(other))
    assert done.code == 3
    assert f"trained on other data than {other}" in done.err
