"""A run that begins with another run's weights, and the runs whose weights it refuses."""

import hashlib
import json
import shutil
from dataclasses import replace

import click
import pytest
import torch

from lgg_runtime.errors import InputError, UsageError
from lgg_runtime.intensity import IntensitySettings
from lgg_train.checkpoint import load_checkpoint
from lgg_train.history import read_rounds
from lgg_train.report import run_evaluation
from lgg_train.trained import load_model, save_model
from stand_ins.run_folder import read_config
from stand_ins.signals import break_off
from stand_ins.tiny_training import assert_same_weights, weights_of

# A rate of almost nothing, so that what the run began with is what it ends with.
STILL = ["--epochs", "0.1", "--rate", "1e-12", "--validations", "1"]


def test_the_weights_of_the_other_run_are_what_training_begins_with(
    finished_run, train_tiny, tmp_path
):
    train_tiny(tmp_path / "run", *STILL, "--start", str(finished_run), "--mirror")
    assert read_rounds(tmp_path / "run")[:-1] == read_rounds(finished_run) != []
    began = weights_of(finished_run)
    ended = load_checkpoint(tmp_path / "run" / "last.pt")["model"]
    for name, weights in began.items():
        if "running" not in name and "num_batches" not in name:
            torch.testing.assert_close(ended[name], weights)
    anew = tmp_path / "anew"
    train_tiny(anew, *STILL)
    first = load_checkpoint(anew / "last.pt")["model"]["down.0.0.weight"]
    assert not torch.allclose(first, began["down.0.0.weight"])


def test_the_config_tells_the_digest_of_the_model_it_began_with(finished_run, train_tiny, tmp_path):
    train_tiny(tmp_path / "run", *STILL, "--start", str(finished_run))
    settings = read_config(tmp_path / "run")["settings"]
    assert settings["start"] == hashlib.sha256((finished_run / "model.pt").read_bytes()).hexdigest()
    assert read_config(finished_run)["settings"]["start"] is None


def test_weights_that_saw_other_patients_are_refused(finished_run, train_tiny, tmp_path):
    with pytest.raises(InputError, match="--start: that run was trained on other data or another"):
        train_tiny(tmp_path / "run", *STILL, "--start", str(finished_run), "--split-seed", "3")
    assert not (tmp_path / "run" / "last.pt").exists()


def test_weights_of_another_size_are_refused(finished_run, train_tiny, tmp_path):
    with pytest.raises(UsageError, match="4 features, a depth of 2 and a stride of 1, this one 8,"):
        train_tiny(tmp_path / "run", *STILL, "--start", str(finished_run), "--features", "8")
    assert not (tmp_path / "run").exists()


def test_weights_trained_on_other_intensities_are_refused(finished_run, train_tiny, tmp_path):
    other = replace(load_model(finished_run), intensity=IntensitySettings(centre=90.0))
    (tmp_path / "other").mkdir()
    save_model(tmp_path / "other", other)
    with pytest.raises(InputError, match="--start: that run was trained on other intensities"):
        train_tiny(tmp_path / "run", *STILL, "--start", str(tmp_path / "other"))


def test_a_run_begun_so_resumes_from_its_own_checkpoint(
    finished_run, train_tiny, tmp_path, monkeypatch
):
    start = ["--epochs", "1", "--rate", "0.01", "--validations", "2", "--start", str(finished_run)]
    train_tiny(tmp_path / "whole", *start)
    with monkeypatch.context() as broken, pytest.raises(click.Abort):
        broken.setattr("lgg_train.session._finish", break_off)
        train_tiny(tmp_path / "run", *start)
    shutil.copytree(tmp_path / "run", tmp_path / "again")
    train_tiny(tmp_path / "run", "--resume")
    assert_same_weights(weights_of(tmp_path / "run"), weights_of(tmp_path / "whole"))
    with pytest.raises(InputError, match="made with other settings: start"):
        train_tiny(tmp_path / "again", "--start", str(tmp_path / "whole"), "--resume")


def test_a_run_begun_anew_inherits_nothing_of_an_abandoned_one(
    finished_run, train_tiny, tmp_path, monkeypatch
):
    run = tmp_path / "run"
    with monkeypatch.context() as broken, pytest.raises(click.Abort):
        broken.setattr("lgg_train.state.TrainingState.save", break_off)
        train_tiny(run, *STILL, "--start", str(finished_run))
    assert {"earlier.csv", "history.csv"} <= {path.name for path in run.iterdir()}
    with monkeypatch.context() as broken, pytest.raises(click.Abort):
        broken.setattr("lgg_train.session.train", break_off)
        train_tiny(run, *STILL)
    assert {path.name for path in run.iterdir()} == {
        "config.json", "split.json", ".lgg-train.lock",
    }  # fmt: skip


def test_a_run_on_all_patients_goes_on_from_a_run_of_a_split_and_keeps_its_decision(
    train_tiny, finished_run, phantoms, tmp_path
):
    run = tmp_path / "all"
    train_tiny(run, *STILL, "--split-by", "all", "--start", str(finished_run))
    before, after = load_model(finished_run), load_model(run)
    assert after.training.patients == {"train": 12, "validation": 0, "test": 0}
    assert after.training.data == before.training.data
    assert (after.decision.threshold, after.decision.cleanup) == (
        before.decision.threshold,
        before.decision.cleanup,
    )
    assert after.decision.how == f"{before.decision.how}; then trained on all 12 patients"
    with pytest.raises(InputError, match=r"by all, leaves nothing for test; all slices train$"):
        run_evaluation(run, phantoms, "test", "cpu")


def test_a_run_on_all_patients_needs_one_that_decided(train_tiny, finished_run, tmp_path):
    told = r"it goes on from the weights of a run that did; name its folder by --start$"
    for more in ((), ("--decision", str(finished_run))):
        with pytest.raises(UsageError, match=told):
            train_tiny(tmp_path / "all", *STILL, "--split-by", "all", *more)


@pytest.fixture
def another(finished_run, tmp_path):
    """A run of the same data and split that decided otherwise."""
    held = load_model(finished_run)
    (tmp_path / "another").mkdir()
    decision = replace(held.decision, threshold=0.85, how="as it happened")
    save_model(tmp_path / "another", replace(held, decision=decision))
    return tmp_path / "another"


def test_a_run_on_all_patients_goes_on_from_none_on_other_data(train_tiny, another, tmp_path):
    held = load_model(another)
    save_model(another, replace(held, training=replace(held.training, data="0" * 64)))
    with pytest.raises(InputError, match="--start: that run was trained on other data or another"):
        train_tiny(tmp_path / "all", *STILL, "--split-by", "all", "--start", str(another))
    assert not (tmp_path / "all").exists()


def test_a_second_run_on_all_patients_takes_the_decision_of_the_run_that_is_named(
    train_tiny, finished_run, another, tmp_path
):
    by_all = [*STILL, "--split-by", "all"]
    train_tiny(tmp_path / "first", *by_all, "--start", str(finished_run))
    on = ["--start", str(tmp_path / "first")]
    train_tiny(tmp_path / "second", *by_all, *on, "--decision", str(another))
    decision = load_model(tmp_path / "second").decision
    assert decision.threshold == 0.85
    assert decision.how == "as it happened; then trained on all 12 patients"
    train_tiny(tmp_path / "third", *by_all, *on)
    decision = load_model(tmp_path / "third").decision
    assert decision.threshold == load_model(finished_run).decision.threshold
    assert decision.how.count("then trained on all 12 patients") == 1


@pytest.fixture
def decided(train_tiny, finished_run, another, tmp_path):
    """A run on all patients with the decision of `another`, not finished yet."""
    given = ["--split-by", "all", "--start", str(finished_run), "--decision", str(another)]
    train_tiny(tmp_path / "run", *STILL, *given)
    (tmp_path / "run" / "model.pt").unlink()
    return tmp_path / "run"


def test_a_run_on_all_patients_is_not_resumed_with_another_decision(
    train_tiny, decided, finished_run
):
    with pytest.raises(InputError, match="run: the run was begun with another threshold or clean"):
        train_tiny(decided, "--resume", "--decision", str(finished_run))
    assert not (decided / "model.pt").exists()
    train_tiny(decided, "--resume")
    assert load_model(decided).decision.threshold == 0.85


def test_a_decision_that_was_changed_in_between_is_not_taken(train_tiny, decided, another):
    held = load_model(another)
    save_model(another, replace(held, decision=replace(held.decision, threshold=0.2)))
    with pytest.raises(InputError, match="run: the run was begun with another threshold or clean"):
        train_tiny(decided, "--resume")


def test_a_run_that_did_not_record_its_decision_is_resumed_with_the_one_given(
    train_tiny, decided, finished_run
):
    config = read_config(decided)
    del config["decided"]
    (decided / "config.json").write_text(json.dumps(config))
    train_tiny(decided, "--resume", "--decision", str(finished_run))
    theirs = load_model(finished_run).decision
    assert load_model(decided).decision.threshold == theirs.threshold
    recorded = read_config(decided)["decided"]
    assert recorded["threshold"] == theirs.threshold


def test_a_run_that_validates_decides_itself(train_tiny, another, tmp_path):
    with pytest.raises(UsageError, match="--decision: a run that validates decides itself"):
        train_tiny(tmp_path / "run", *STILL, "--decision", str(another))
    assert not (tmp_path / "run" / "last.pt").exists()


@pytest.mark.parametrize("part", ["data", "intensity"])
def test_a_decision_of_other_data_or_intensities_is_refused(
    train_tiny, finished_run, another, tmp_path, part
):
    held = load_model(another)
    if part == "data":
        held = replace(held, training=replace(held.training, data="0" * 64))
    else:
        held = replace(held, intensity=IntensitySettings(centre=90.0))
    save_model(another, held)
    with pytest.raises(InputError, match="--decision: that run was trained on other data"):
        train_tiny(
            tmp_path / "run", *STILL, "--split-by", "all", "--start", str(finished_run),
            "--decision", str(another),
        )  # fmt: skip
