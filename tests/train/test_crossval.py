"""Cross-validation: every patient tested once, broken off and gone on with, recounted."""

import json
import re
import shutil

import numpy as np
import pytest

from lgg_runtime.errors import InputError, UsageError
from lgg_runtime.metrics import Counts, summarise
from lgg_train.assessment import bootstrap, by_institution
from lgg_train.crossval import SCORES, gather
from lgg_train.phantom import PhantomSettings, write_phantoms
from stand_ins.run_folder import LEAST, read_config
from stand_ins.signals import break_off

BRIEF = ["--epochs", "0.3", "--rate", "0.01", "--validations", "1"]
TWO_FOLDS = ["--folds", "2", *LEAST, *BRIEF, "--precision", "fp32"]


def record_of(counts, threshold=0.4):
    """The scores of a fold as evaluation writes them."""
    return summarise(counts) | {
        "decision": {"threshold": threshold, "cleanup": {}, "how": "by hand"},
        "assessment": {"calibration": {"expected_error": threshold / 10}},
    }


def make_fold(rng, names):
    counts = {
        name: Counts(*(int(n) for n in rng.integers((0, 0, 0, 900), (90, 30, 30, 2000))))
        for name in names
    }
    return counts, record_of(counts)


NO_NUMBER = make_fold(np.random.default_rng(0), ("A",))[1]
NO_NUMBER["per_patient_dice"]["by_patient"]["A"] = "x"


def write_scores(folder, record):
    for name in SCORES:
        (folder / name).write_text(json.dumps(record))


def test_gathered_scores_are_those_of_all_patients_counted_at_once():
    rng = np.random.default_rng(0)
    folds = [make_fold(rng, names)[0] for names in (("A", "B"), ("C",), ("D", "E", "F"))]
    every = {name: c for counts in folds for name, c in counts.items()}
    whole = summarise(every)
    records = [record_of(*fold) for fold in zip(folds, (0.3, 0.4, 0.5), strict=True)]
    found = gather(records, records[::-1])
    assert found["pooled"] == whole["pooled"]
    assert found["per_patient_dice"] == whole["per_patient_dice"]
    assert found["flair_only"] == whole
    dice = {name: c.dice for name, c in every.items()}
    assert found["intervals"] == bootstrap(list(dice.values()))
    assert found["by_institution"] == by_institution(dice)
    assert [tuple(fold.values()) for fold in found["folds"]] == [
        (len(counts), np.mean([c.dice for c in counts.values()]), record["decision"], at / 10)
        for counts, record, at in zip(folds, records, (0.3, 0.4, 0.5), strict=True)
    ]


@pytest.mark.parametrize(("tp", "fn"), [(15, 7), (1, 48), (31, 24)])
def test_a_ratio_that_falls_short_of_its_pixels_by_rounding_gives_all_of_them_back(tp, fn):
    counts = Counts(tp, 3, fn, 90)
    assert counts.recall * (tp + fn) < tp
    record = record_of({"A": counts})
    assert gather([record], [record])["pooled"] == record["pooled"]


def test_a_fold_without_tumour_found_or_there_counts_as_it_is():
    nothing = record_of({"A": Counts(tn=50), "B": Counts(fp=3, tn=40)})
    missed = record_of({"C": Counts(fn=7, tn=10)})
    found = gather([nothing, missed], [nothing, missed])
    assert found["pooled"]["support"] == {"tumour": 7, "background": 103}
    assert found["pooled"]["recall"] == found["pooled"]["precision"] == 0


def test_the_command_tests_every_patient_once(tmp_path, phantoms, one_thread, call_cv):
    done = call_cv(*TWO_FOLDS, "--no-progress")
    assert done.code == 0, done.err
    record = json.loads((tmp_path / "cv" / "cv.json").read_text())
    assert record["per_patient_dice"]["patients"] == len(list((phantoms / "kaggle_3m").iterdir()))
    low, high = record["intervals"]["mean"]
    assert f"(95 % interval {low:.4f} to {high:.4f})" in done.out
    alone = record["flair_only"]["per_patient_dice"]
    assert alone["by_patient"].keys() == record["per_patient_dice"]["by_patient"].keys()
    recall = record["flair_only"]["pooled"]["recall"]
    assert f"FLAIR alone: mean Dice {alone['mean']:.4f}, recall {recall:.4f}" in done.out


@pytest.fixture
def folds_told(monkeypatch):
    """The requests that `cv` makes for the folds; training and scoring are left out."""
    told = []

    def run_training(_data, folder, request):
        folder.mkdir(parents=True, exist_ok=True)
        told.append(request)
        return ""

    def run_evaluation(folder, _data, part, _device, flair_only, _progress):
        scores = folder / f"metrics_{part}{'_flair_only' if flair_only else ''}.json"
        assert not scores.exists()
        rng = np.random.default_rng(2 + flair_only)
        scores.write_text(json.dumps(make_fold(rng, (folder.name,))[1]))

    monkeypatch.setattr("lgg_train.crossval.run_training", run_training)
    monkeypatch.setattr("lgg_train.crossval.run_evaluation", run_evaluation)
    return told


def make_folds(folder, folds):
    for fold in range(folds):
        (folder / f"fold_{fold}").mkdir(parents=True)
        (folder / f"fold_{fold}" / "model.pt").touch()
    return folder


@pytest.fixture
def call_cv(call_main, phantoms, tmp_path):
    """Calls `cv` for two folds in `cv`, with more options."""
    common = ["cv", "--data", str(phantoms), "-o", str(tmp_path / "cv"), "--folds", "2", *BRIEF]
    return lambda *more: call_main(*common, *more)


def test_each_fold_starts_from_and_is_taught_by_its_own(folds_told, call_cv, tmp_path):
    start, one, two = (make_folds(tmp_path / name, 2) for name in ("start", "one", "two"))
    given = ["--start", str(start), "--teacher", str(one), "--teacher", str(two)]
    done = call_cv(*given)
    assert done.code == 0, done.err
    for fold, request in enumerate(folds_told):
        name = f"fold_{fold}"
        assert request.split.fold == fold
        assert request.start == start / name
        assert request.teachers == (one / name, two / name)
    assert len(folds_told) == 2


def test_folds_without_more_start_at_random_and_learn_the_masks_alone(folds_told, call_cv):
    assert call_cv().code == 0
    assert [(told.start, told.teachers) for told in folds_told] == [(None, ())] * 2


def test_the_scores_with_all_sequences_come_first_and_with_flair_alone_beside_them(
    folds_told, call_cv, tmp_path
):
    assert call_cv().code == 0
    record = json.loads((tmp_path / "cv" / "cv.json").read_text())
    means = []
    for name, found in (("", record), ("_flair_only", record["flair_only"])):
        paths = [tmp_path / "cv" / f"fold_{fold}" / f"metrics_test{name}.json" for fold in (0, 1)]
        scored = [json.loads(path.read_text())["per_patient_dice"]["by_patient"] for path in paths]
        assert found["per_patient_dice"]["by_patient"] == scored[0] | scored[1]
        means.append(found["per_patient_dice"]["mean"])
    assert means[0] != means[1]


def test_only_what_is_missing_is_run_and_what_was_begun_goes_on(folds_told, call_cv, tmp_path):
    for fold in range(2):
        (tmp_path / "cv" / f"fold_{fold}").mkdir(parents=True)
    _, done = make_fold(np.random.default_rng(1), ("A",))
    write_scores(tmp_path / "cv" / "fold_0", done)
    (tmp_path / "cv" / "fold_0" / "model.pt").touch()
    (tmp_path / "cv" / "fold_1" / "last.pt").touch()
    called = call_cv("--folds", "3")
    assert called.code == 0, called.err
    assert [(told.split.fold, told.resume) for told in folds_told] == [(1, True), (2, False)]
    assert called.err.splitlines() == ["fold 1 of 3", "fold 2 of 3"]
    assert "Research use only" in called.out and "3 patients" in called.out
    record = json.loads((tmp_path / "cv" / "cv.json").read_text())
    assert record["per_patient_dice"]["patients"] == 3


@pytest.mark.parametrize("name", ["metrics_test.json", "last.pt"])
def test_what_the_disk_does_not_give_a_look_at_is_neither_there_nor_gone(
    folds_told, call_cv, tmp_path, name
):
    folds = make_folds(tmp_path / "cv", 2)
    if name == "last.pt":
        (folds / "fold_0" / "model.pt").unlink()
    (folds / "fold_0" / name).unlink(missing_ok=True)
    (folds / "fold_0" / name).symlink_to("n" * 300)
    done = call_cv()
    assert (done.code, folds_told) == (3, [])
    assert done.err.endswith("fold_0: cannot be read (File name too long)\n")


def test_scores_without_a_model_are_of_none_that_will_be_and_go(folds_told, call_cv, tmp_path):
    folds = make_folds(tmp_path / "cv", 2)
    for fold in range(2):
        _, scores = make_fold(np.random.default_rng(1), (f"then_{fold}",))
        write_scores(folds / f"fold_{fold}", scores)
    (folds / "fold_1" / "model.pt").unlink()
    assert call_cv().code == 0
    assert [told.split.fold for told in folds_told] == [1]
    record = json.loads((folds / "cv.json").read_text())
    assert record["per_patient_dice"]["by_patient"].keys() == {"then_0", "fold_1"}


def test_folds_that_are_trained_are_scored_and_not_trained_again(folds_told, call_cv, tmp_path):
    make_folds(tmp_path / "cv", 2)
    _, scored = make_fold(np.random.default_rng(2), ("fold_0",))
    (tmp_path / "cv" / "fold_0" / "metrics_test.json").write_text(json.dumps(scored))
    assert call_cv().code == 0
    assert not folds_told
    record = json.loads((tmp_path / "cv" / "cv.json").read_text())
    assert record["per_patient_dice"]["patients"] == 2


@pytest.mark.parametrize("option", ["--start", "--teacher"])
def test_a_fold_that_is_missing_is_named_before_any_is_trained(
    folds_told, call_cv, tmp_path, option
):
    done = call_cv(option, str(make_folds(tmp_path / "short", 1)))
    assert done.code == 3
    assert f"{option} {tmp_path / 'short' / 'fold_1'}: no model.pt in it" in done.err
    assert not folds_told


def test_more_folds_than_patients_are_refused_before_any_is_trained(folds_told, call_cv):
    done = call_cv("--folds", "13")
    assert done.code == 3
    assert "12 patients leave nothing for" in done.err
    assert not folds_told


def test_a_patient_whom_two_folds_tested_is_refused():
    rng = np.random.default_rng(4)
    folds = [make_fold(rng, names)[1] for names in (("A", "B"), ("B", "C"))]
    with pytest.raises(InputError, match="1 patient tested in two folds: not one split"):
        gather(folds, folds)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (["--folds", "3"], "fold_0: a run with another split"),
        (["--split-seed", "4"], "fold_0: a run with another split"),
        (["--folds", "2", "--features", "2"], r"fold_0: a run with other settings \(features\)"),
        (["--folds", "2", "--seed", "9"], r"fold_0: a run with other settings \(seed\)"),
    ],
)
def test_folds_of_another_cross_validation_are_not_taken(
    one_fold, call_cv, tmp_path, change, reason
):
    folder = shutil.copytree(one_fold, tmp_path / "cv")
    done = call_cv(*TWO_FOLDS, *change)
    assert done.code == 3
    assert re.search(reason, done.err)
    assert [path.name for path in folder.iterdir()] == ["fold_0"]


@pytest.mark.parametrize(
    ("missing", "change"),
    [
        ("samples draw", []),
        ("unet stride", []),
        ("teachers", []),
        ("samples draw", ["--draw", "patient"]),
        ("unet mirror", ["--mirror"]),
        ("peak_rate", []),
    ],
)
def test_a_fold_that_does_not_tell_a_setting_had_its_default(
    one_fold, folds_told, call_cv, tmp_path, missing, change
):
    folder = shutil.copytree(one_fold, tmp_path / "cv")
    config = read_config(folder / "fold_0")
    *groups, name = missing.split()
    held = config["settings"]
    for group in groups:
        held = held[group]
    del held[name]
    (folder / "fold_0" / "config.json").write_text(json.dumps(config))
    done = call_cv(*TWO_FOLDS, *change)
    is_other = bool(change) or name == "peak_rate"  # of which the call has not the default
    assert done.code == (3 if is_other else 0), done.err
    assert not is_other or f"fold_0: a run with other settings ({name})" in done.err
    assert [told.split.fold for told in folds_told] == ([] if is_other else [1])


def test_a_fold_whose_config_is_damaged_is_named(one_fold, call_cv, tmp_path):
    folder = shutil.copytree(one_fold, tmp_path / "cv")
    config = read_config(folder / "fold_0")
    (folder / "fold_0" / "config.json").write_text(json.dumps(config | {"settings": None}))
    done = call_cv(*TWO_FOLDS)
    assert done.code == 3
    assert "fold_0/config.json: holds no settings of a run; train it again" in done.err


@pytest.mark.parametrize("held", ["{}", "[]", '{"per_patient_dice": {}}', json.dumps(NO_NUMBER)])
def test_a_fold_s_file_without_scores_is_named(folds_told, call_cv, tmp_path, held):
    first = make_folds(tmp_path / "cv", 2) / "fold_0"
    (first / "metrics_test.json").write_text(held)
    done = call_cv()
    assert done.code == 3
    assert f"{first / 'metrics_test.json'}: holds no scores; take it away" in done.err


def test_a_fold_whose_network_is_another_than_was_scored_is_named(one_fold, call_cv, tmp_path):
    folder = shutil.copytree(one_fold, tmp_path / "cv")
    first, second = folder / "fold_0", folder / "fold_1"
    assert call_cv(*TWO_FOLDS).code == call_cv(*TWO_FOLDS).code == 0
    shutil.copy(first / "model.pt", second / "model.pt")
    done = call_cv(*TWO_FOLDS)
    assert done.code == 3
    named = f"{second / 'metrics_test.json'}: scores of another network than model.pt beside it"
    assert named in done.err


def test_folds_on_other_data_are_not_taken(one_fold, tmp_path, call_main):
    other = tmp_path / "other"
    write_phantoms(other, PhantomSettings(patients=12, slices=6, size=64, seed=6))
    folder = shutil.copytree(one_fold, tmp_path / "cv")
    done = call_main("cv", "--data", str(other), "-o", str(folder), *TWO_FOLDS, "--folds", "2")
    assert done.code == 3
    assert "fold_0: a run on other data" in done.err


def test_a_cross_validation_and_a_run_do_not_share_a_folder(
    one_fold, finished_run, train_tiny, phantoms, call_main
):
    with pytest.raises(UsageError, match=r"holds a cross-validation; choose another folder$"):
        train_tiny(one_fold, *BRIEF)
    assert [path.name for path in one_fold.iterdir()] == ["fold_0"]
    done = call_main("cv", "--data", str(phantoms), "-o", str(finished_run), *TWO_FOLDS)
    assert done.code == 2
    assert done.err == f"lgg-train: {finished_run} holds a run; choose another folder\n"
    assert not (finished_run / "fold_0").exists()


def test_a_fold_of_the_same_cross_validation_is_taken(one_fold, call_cv, tmp_path):
    folder = shutil.copytree(one_fold, tmp_path / "cv")
    before = (folder / "fold_0" / "model.pt").read_bytes()
    done = call_cv(*TWO_FOLDS)
    assert done.code == 0, done.err
    assert (folder / "fold_0" / "model.pt").read_bytes() == before
    assert json.loads((folder / "cv.json").read_text())["per_patient_dice"]["patients"] == 12


def test_a_fold_that_was_broken_off_before_its_reports_gets_them(
    tmp_path, one_thread, call_cv, monkeypatch
):
    for name in ("score", "draw_panels"):
        with monkeypatch.context() as broken:
            broken.setattr(f"lgg_train.report.{name}", break_off)
            assert call_cv(*TWO_FOLDS, "--no-progress").code == 130
    assert (tmp_path / "cv" / "fold_0" / "model.pt").is_file()
    done = call_cv(*TWO_FOLDS, "--no-progress")
    assert done.code == 0, done.err
    one, two = ({path.name for path in (tmp_path / "cv").glob(f"fold_{n}/*")} for n in range(2))
    assert one == two
    assert {"metrics_validation.json", "panels_validation.png", "curves.png"} <= one


@pytest.fixture(scope="module")
def one_fold(phantoms, train_tiny, tmp_path_factory):
    """The first of two folds, trained and not scored."""
    root = tmp_path_factory.mktemp("cv")
    train_tiny(root / "fold_0", *TWO_FOLDS, "--fold", "0")
    return root
