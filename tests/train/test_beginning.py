"""What a run begins from: nothing, its own checkpoint, a given split; and what it refuses."""

import functools
import json
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import click
import pytest

from lgg_runtime.errors import InputError, MissingExtraError, ResourceError, UsageError
from lgg_train.checkpoint import load_checkpoint, save_checkpoint
from lgg_train.cli import command
from lgg_train.settings import Machinery
from lgg_train.splits import Split
from stand_ins.run_folder import BRIEF, contents, read_config, read_metrics
from stand_ins.signals import break_off
from stand_ins.tiny_training import assert_same_weights, weights_of


def test_resuming_a_finished_run_finishes_it_again_with_the_same_numbers(run_copy, train_tiny):
    before = contents(run_copy)
    for name in ("model.pt", "metrics_validation.json", "curves.png"):
        (run_copy / name).unlink()
    train_tiny(run_copy, *BRIEF, "--resume")
    after = contents(run_copy)
    assert after.keys() == before.keys()
    for name in ("metrics_validation.json", "split.json", "history.csv", "config.json"):
        assert after[name] == before[name], name


@pytest.fixture
def broken_run(train_tiny, tmp_path, monkeypatch) -> Path:
    """The finished run, broken off at its first validation; each step leaves a checkpoint."""
    each_step = functools.partial(Machinery, checkpoint_minutes=0)
    monkeypatch.setattr("lgg_train.request.Machinery", each_step)
    with monkeypatch.context() as broken, pytest.raises(click.Abort):
        broken.setattr("lgg_train.session._validate", break_off)
        train_tiny(tmp_path / "run", *BRIEF)
    return tmp_path / "run"


def test_a_run_broken_off_and_resumed_ends_as_one_in_one_go(finished_run, broken_run, train_tiny):
    assert not (broken_run / "model.pt").exists()
    train_tiny(broken_run, *BRIEF, "--resume")
    assert read_metrics(broken_run) == read_metrics(finished_run)
    assert_same_weights(weights_of(broken_run), weights_of(finished_run))


def test_a_resumed_run_goes_on_with_its_own_options_and_needs_none_of_them(
    finished_run, broken_run, phantoms
):
    args = ["train", "--data", str(phantoms), "-o", str(broken_run), "--resume"]
    command.main([*args, "--no-progress", "--device", "cpu"], standalone_mode=False)
    assert read_metrics(broken_run) == read_metrics(finished_run)
    assert (broken_run / "config.json").read_text() == (finished_run / "config.json").read_text()


@pytest.mark.parametrize("computes", [True, False])
def test_a_run_records_its_precision_and_keeps_it_on_another_processor(
    phantoms, train_tiny, tmp_path, monkeypatch, computes
):
    monkeypatch.setattr("lgg_train.device.multiplies_bf16", lambda: computes)
    train_tiny(tmp_path / "run", "--epochs", "1", "--precision", "auto")
    before = (tmp_path / "run" / "config.json").read_bytes()
    chosen = "bf16" if computes else "fp32"
    assert json.loads(before)["settings"]["precision"] == chosen
    monkeypatch.setattr("lgg_train.device.multiplies_bf16", lambda: not computes)
    args = ["train", "--data", str(phantoms), "-o", str(tmp_path / "run"), "--resume"]
    command.main([*args, "--no-progress", "--device", "cpu"], standalone_mode=False)
    assert (tmp_path / "run" / "config.json").read_bytes() == before


def test_tensorboard_s_events_are_written_where_asked_for(train_tiny, tmp_path):
    pytest.importorskip("tensorboard")
    for option in ("--tensorboard", "--no-tensorboard"):
        train_tiny(tmp_path / option, "--epochs", "0.2", "--validations", "1", option)
    assert list((tmp_path / "--tensorboard" / "tensorboard").glob("events.out.*"))
    assert not (tmp_path / "--no-tensorboard" / "tensorboard").exists()


def test_a_file_in_the_place_of_tensorboard_s_folder_is_named(train_tiny, tmp_path):
    (tmp_path / "tensorboard").touch()
    with pytest.raises(ResourceError, match=r"^tensorboard: cannot be written: Not a directory$"):
        train_tiny(tmp_path, *BRIEF, "--tensorboard")
    assert [path.name for path in tmp_path.iterdir()] == ["tensorboard"]


def test_a_resumed_run_goes_on_with_tensorboard(run_copy, train_tiny, monkeypatch):
    config = read_config(run_copy)
    config["options"]["tensorboard"] = True
    (run_copy / "config.json").write_text(json.dumps(config))
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingExtraError, match="tensorboard"):
        train_tiny(run_copy, "--resume")
    assert read_config(run_copy) == config


def test_a_run_that_recorded_no_options_is_resumed_with_them_given_again(run_copy, train_tiny):
    config = read_config(run_copy)
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
        ("options", {"epochs": 4, "mirror": 5}, "no option of a run: mirror 5"),
        ("options", {"epochs": 4, "precision": "int8"}, "no option of a run: precision 'int8'"),
    ],
)
def test_a_config_that_was_damaged_is_named(run_copy, phantoms, call_main, entry, value, reason):
    config = read_config(run_copy)
    (run_copy / "config.json").write_text(json.dumps(config | {entry: value}))
    before = contents(run_copy)
    done = call_main("train", "--data", str(phantoms), "-o", str(run_copy), "--resume")
    assert done.code == 3
    assert re.search(rf"{run_copy}/config\.json: {reason}; train it again", done.err)
    assert contents(run_copy) == before


def test_a_checkpoint_of_a_run_on_another_split_is_refused(run_copy, train_tiny):
    """Of another fold, say: its weights were trained on whom this run tests."""
    state = load_checkpoint(run_copy / "last.pt")
    assert state["training"] == read_config(run_copy)["training"]
    state["training"]["split"] = "0" * 64
    save_checkpoint(run_copy / "last.pt", state)
    with pytest.raises(InputError, match=r"run/last\.pt: of a run on other data or another split"):
        train_tiny(run_copy, "--resume")
    del state["training"]  # as of a run from before it was told
    save_checkpoint(run_copy / "last.pt", state)
    train_tiny(run_copy, "--resume")


@pytest.mark.parametrize("budget", [("--epochs", "9"), ("--minutes", "1")])
def test_resuming_with_another_budget_is_refused_and_changes_nothing(run_copy, train_tiny, budget):
    before = contents(run_copy)
    with pytest.raises(InputError, match="made with other settings: epochs"):
        train_tiny(run_copy, *budget, "--resume")
    assert contents(run_copy) == before


def test_resuming_on_data_without_a_patient_or_a_slice_names_whose(
    run_copy, phantoms, tmp_path, train_tiny
):
    missing, short = Split.read(run_copy / "split.json").patients("train")[:2]
    other = shutil.copytree(phantoms, tmp_path / "other")
    shutil.rmtree(other / "kaggle_3m" / missing)
    for path in (other / "kaggle_3m" / short).glob("*_6*.tif"):
        path.unlink()
    before = contents(run_copy)
    with pytest.raises(InputError, match=f"do not hold all slices .* {missing}, {short}$"):
        train_tiny(run_copy, *BRIEF, "--resume", "--data", str(other))
    assert contents(run_copy) == before


def test_resuming_what_was_never_begun_is_refused(tmp_path, train_tiny):
    for more in (BRIEF, ()):
        with pytest.raises(InputError, match=r"run: no run to go on with; leave --resume out"):
            train_tiny(tmp_path / "run", *more, "--resume")
    assert not (tmp_path / "run").exists()


def test_a_split_by_all_that_leaves_slices_out_is_refused(tmp_path, run_copy, train_tiny):
    split = Split.read(run_copy / "split.json")
    given = tmp_path / "given.json"
    replace(split, by="all", parts=split.parts | {"validation": {}, "test": {}}).write(given)
    with pytest.raises(InputError, match="the split, by all, leaves slices of the data out"):
        train_tiny(tmp_path / "all", *BRIEF, "--split", str(given), "--start", str(run_copy))


def write_split(path, **parts):
    record = {"schema": 1, "by": "patient", "seed": 1, "parts": parts}
    path.write_text(json.dumps(record))
    return str(path)


def test_a_given_split_is_used_as_it_is_and_what_it_leaves_out_is_told(
    tmp_path, train_tiny, capsys
):
    parts = {
        "train": {"PHANTOM_A_0001": [1, 2, 3]},
        "validation": {"PHANTOM_B_0002": [0, 2]},
        "test": {"PHANTOM_C_0003": [5]},
    }
    given = write_split(tmp_path / "mine.json", **parts)
    train_tiny(tmp_path / "run", "--epochs", "1", "--split", given)
    told = "Warning: the split leaves 66 of 72 slices out, 9 whole patients among them"
    assert told in capsys.readouterr().err.splitlines()
    assert json.loads((tmp_path / "run" / "split.json").read_text())["parts"] == parts
    support = read_metrics(tmp_path / "run")["pooled"]["support"]
    assert support["tumour"] + support["background"] == 2 * 64 * 64


@pytest.mark.parametrize("bare", [(), ("validation",), ("test",), ("validation", "test")])
def test_a_part_without_tumour_is_told_before_training(tmp_path, train_tiny, capsys, bare):
    parts = {
        "train": {"PHANTOM_A_0001": [1, 2, 3]},
        "validation": {"PHANTOM_B_0002": [0] if "validation" in bare else [0, 3]},
        "test": {"PHANTOM_C_0003": [0] if "test" in bare else [0, 3]},
    }
    given = write_split(tmp_path / "mine.json", **parts)
    train_tiny(tmp_path / "run", "--epochs", "0.1", "--split", given)
    told = capsys.readouterr().err
    assert re.findall(r"^Warning: the (\w+) part holds no tumour; .+", told, re.M) == list(bare)


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
    ("more", "named"),
    [
        ("--folds 3", "folds"),
        ("--split-by slice", "split-by"),
        ("--split-by patient", "split-by"),
        ("--split-seed 3", "split-seed"),
        ("--split-seed 20", "split-seed"),
        ("--folds 3 --fold 2", "folds"),
        ("--fold 0", "fold"),
    ],
)
def test_a_given_split_and_a_way_to_split_exclude_each_other(tmp_path, train_tiny, more, named):
    given = ("--split", str(tmp_path / "s.json"), *more.split())
    with pytest.raises(click.UsageError, match=f"--split names the slices; leave --{named} out"):
        train_tiny(tmp_path / "run", "--epochs", "1", *given)


def test_a_run_that_was_broken_off_before_its_first_checkpoint_is_begun_anew(run_copy, train_tiny):
    for name in ("last.pt", "model.pt"):
        (run_copy / name).unlink()
    with pytest.raises(InputError, match=r"no last\.pt to go on from; leave --resume out to begin"):
        train_tiny(run_copy, "--resume")


def test_a_finished_run_is_not_written_over(run_copy, train_tiny):
    (run_copy / "last.pt").unlink()
    before = contents(run_copy)
    with pytest.raises(UsageError, match="holds a finished run; choose another folder"):
        train_tiny(run_copy, "--epochs", "1", "--split-seed", "5")
    assert contents(run_copy) == before


def test_a_new_run_in_the_folder_of_one_without_weights_has_none_of_its_scores(
    run_copy, train_tiny
):
    for name in ("last.pt", "model.pt"):
        (run_copy / name).unlink()
    stale = [run_copy / name for name in ("metrics_test.json", "panels_test.png", "pr_test.png")]
    for path in stale:
        path.write_bytes(b"of another model")
    train_tiny(run_copy, "--epochs", "1", "--split-seed", "5")
    assert (run_copy / "model.pt").is_file()
    assert not [path.name for path in stale if path.exists()]


def test_a_refused_run_leaves_no_folder(tmp_path, train_tiny, finished_run):
    with pytest.raises(InputError, match="other data or another split"):
        train_tiny(
            tmp_path / "run", "--epochs", "1", "--split-seed", "5", "--start", str(finished_run)
        )
    with pytest.raises(InputError, match="no such split file"):
        train_tiny(tmp_path / "run", "--epochs", "1", "--split", str(tmp_path / "gone.json"))
    given = write_split(
        tmp_path / "empty.json",
        train={"PHANTOM_A_0001": [0]},
        validation={"PHANTOM_B_0002": [2]},
        test={"PHANTOM_C_0003": [2]},
    )
    with pytest.raises(InputError, match="the training slices hold no tumour"):
        train_tiny(tmp_path / "run", "--epochs", "1", "--split", given)
    assert not (tmp_path / "run").exists()
