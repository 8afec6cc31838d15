"""A training that was broken off goes on to the same numbers, or says why it cannot."""

import itertools
import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from lgg_runtime.errors import InputError
from lgg_train.checkpoint import load_checkpoint, save_checkpoint
from lgg_train.loop import train
from lgg_train.schedule import Budget
from lgg_train.settings import Origin
from lgg_train.state import DivergedError, TrainingState
from lgg_train.unet import UNetSettings
from stand_ins.tiny_training import (
    EACH_STEP,
    SETTINGS,
    Probe,
    assert_same_weights,
    make_slices,
    no_scores,
    read_rows,
)

pytestmark = pytest.mark.usefixtures("one_thread")

RESUMED = Origin(resume=True)


def without_time(rows):
    return [{k: v for k, v in row.items() if k != "minutes"} for row in rows]


def train_in_one_go(folder):
    folder.mkdir()
    network = train(make_slices(), SETTINGS, EACH_STEP, folder, Probe())
    return network.state_dict(), load_checkpoint(folder / "last.pt")


@pytest.mark.parametrize("validation", [1, 2, 3])
def test_a_run_broken_off_while_validating_resumes_to_the_same_numbers(tmp_path, validation):
    whole, last = train_in_one_go(tmp_path / "whole")
    folder = tmp_path / "broken"
    folder.mkdir()
    with pytest.raises(KeyboardInterrupt):
        train(make_slices(), SETTINGS, EACH_STEP, folder, Probe(break_at=validation))
    assert load_checkpoint(folder / "last.pt")["counters"]["step"] == 4 * validation - 1
    network = train(make_slices(), SETTINGS, EACH_STEP, folder, Probe(), origin=RESUMED)
    assert_same_weights(whole, network.state_dict())
    held = load_checkpoint(folder / "last.pt")
    assert_same_weights(last["model"], held["model"])
    assert held["mean_loss"] == last["mean_loss"]
    assert without_time(held["history"]) == without_time(last["history"])
    assert without_time(read_rows(folder)) == without_time(read_rows(tmp_path / "whole"))


def test_a_run_broken_off_twice_between_steps_resumes_to_the_same_numbers(tmp_path):
    whole, last = train_in_one_go(tmp_path / "whole")
    folder = tmp_path / "broken"
    folder.mkdir()
    for step, resume in ((3, False), (9, True)):
        data = make_slices()
        data.batch = stop_at(data.batch, step)
        with pytest.raises(OSError, match="out of luck"):
            train(data, SETTINGS, EACH_STEP, folder, Probe(), origin=Origin(resume=resume))
        assert load_checkpoint(folder / "last.pt")["counters"]["step"] == step
    network = train(make_slices(), SETTINGS, EACH_STEP, folder, Probe(), origin=RESUMED)
    assert_same_weights(whole, network.state_dict())
    held = load_checkpoint(folder / "last.pt")
    assert without_time(held["history"]) == without_time(last["history"])


def stop_at(batch, last):
    def make(step):
        if step == last:
            raise OSError("out of luck")
        return batch(step)

    return make


def test_a_resumed_run_goes_on_with_the_scale_that_an_overflow_left(tmp_path, monkeypatch):
    settings = replace(SETTINGS, precision="fp16")
    state, fresh = (TrainingState(settings, EACH_STEP, Origin()) for _ in range(2))
    with monkeypatch.context() as patch:
        patch.setattr("lgg_train.state.segmentation_loss", lambda logits, _: 1e38 * logits.sum())
        state.take_step(make_slices().batch(0), 0.01)
    state.take_step(make_slices().batch(1), 0.01)
    state.save(tmp_path / "last.pt", [])
    resumed = TrainingState(settings, EACH_STEP, Origin())
    resumed.load(tmp_path / "last.pt")
    assert resumed.scaler.state_dict() == state.scaler.state_dict()
    assert resumed.scaler.get_scale() == fresh.scaler.get_scale() / 2


def test_resuming_a_finished_run_takes_no_step_and_gives_its_model(tmp_path):
    first = train(make_slices(), SETTINGS, EACH_STEP, tmp_path, Probe())
    before = (tmp_path / "last.pt").read_bytes(), (tmp_path / "history.csv").read_bytes()
    data = make_slices()
    data.batch = stop_at(data.batch, 12)
    again = train(data, SETTINGS, EACH_STEP, tmp_path, Probe(break_at=1), origin=RESUMED)
    assert_same_weights(first.state_dict(), again.state_dict())
    assert before == (
        (tmp_path / "last.pt").read_bytes(),
        (tmp_path / "history.csv").read_bytes(),
    )


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"peak_rate": 0.02}, "peak_rate"),
        ({"unet": UNetSettings(2, 2)}, "features"),
        ({"teachers": ("a" * 64,)}, "teachers"),
        ({"budget": Budget(epochs=7), "seed": 3}, "epochs, seed"),
    ],
)
def test_resuming_with_other_settings_is_refused_by_their_names(tmp_path, change, named):
    train(make_slices(), SETTINGS, EACH_STEP, tmp_path, no_scores)
    with pytest.raises(InputError, match=rf"made with other settings: {named}; leave them out$"):
        train(
            make_slices(),
            replace(SETTINGS, **change),
            EACH_STEP,
            tmp_path,
            no_scores,
            origin=RESUMED,
        )


def test_a_checkpoint_that_does_not_tell_a_setting_had_its_default(tmp_path):
    whole = train(make_slices(), SETTINGS, EACH_STEP, tmp_path, no_scores)
    held = load_checkpoint(tmp_path / "last.pt")
    del held["settings"]["teachers"]
    del held["settings"]["samples"]["augmentation"], held["settings"]["samples"]["draw"]
    save_checkpoint(tmp_path / "last.pt", held)
    again = train(make_slices(), SETTINGS, EACH_STEP, tmp_path, no_scores, origin=RESUMED)
    assert_same_weights(whole.state_dict(), again.state_dict())
    taught = replace(SETTINGS, teachers=("a" * 64,))
    with pytest.raises(InputError, match=r"made with other settings: teachers; leave them out$"):
        train(make_slices(), taught, EACH_STEP, tmp_path, no_scores, origin=RESUMED)


def test_a_checkpoint_with_a_setting_of_another_version_is_refused_by_its_name(tmp_path):
    train(make_slices(), SETTINGS, EACH_STEP, tmp_path, no_scores)
    held = load_checkpoint(tmp_path / "last.pt")
    held["settings"]["temperature"] = 2.0
    save_checkpoint(tmp_path / "last.pt", held)
    with pytest.raises(InputError, match=r"made with other settings: temperature; leave them out$"):
        train(make_slices(), SETTINGS, EACH_STEP, tmp_path, no_scores, origin=RESUMED)


def test_a_checkpoint_that_lacks_what_a_run_needs_is_refused(tmp_path):
    train(make_slices(), SETTINGS, EACH_STEP, tmp_path, no_scores)
    whole = load_checkpoint(tmp_path / "last.pt")
    for held in ({k: v for k, v in whole.items() if k != "scaler"}, whole | {"settings": None}):
        save_checkpoint(tmp_path / "last.pt", held)
        with pytest.raises(InputError, match=r"/last\.pt: not a checkpoint of this version"):
            train(make_slices(), SETTINGS, EACH_STEP, tmp_path, no_scores, origin=RESUMED)


def test_a_checkpoint_with_a_tensor_for_a_setting_is_refused(tmp_path):
    train(make_slices(), SETTINGS, EACH_STEP, tmp_path, no_scores)
    held = load_checkpoint(tmp_path / "last.pt")
    held["settings"]["budget"]["epochs"] = torch.zeros(2)
    save_checkpoint(tmp_path / "last.pt", held)
    with pytest.raises(InputError, match=r"last\.pt: not a checkpoint of this version \("):
        train(make_slices(), SETTINGS, EACH_STEP, tmp_path, no_scores, origin=RESUMED)


def test_a_checkpoint_that_holds_something_else_in_a_name_is_refused(tmp_path):
    train(make_slices(), SETTINGS, EACH_STEP, tmp_path, no_scores)
    before = tmp_path / "last.pt"
    held = load_checkpoint(before)
    moments = held["optimiser"]["state"][0]
    places = (
        (held["model"], "head.bias", torch.zeros(2)),
        (held["model"], "head.bias", torch.full((1,), math.nan)),
        (held["averaged"], "head.bias", torch.zeros(1, dtype=torch.int8)),
        (held["averaged"], "new", torch.zeros(2)),
        (moments, "exp_avg", moments["exp_avg"][:1].clone()),
        (moments, "exp_avg", moments["exp_avg"] * math.nan),
        (moments, "step", torch.zeros(2)),
        (held["optimiser"], "state", None),
        (held["optimiser"]["state"], 0, torch.zeros(2)),
        (held, "counters", {"steps": 9}),
        (held["counters"], "step", None),
        (held["counters"], "step", 1.5),
        (held["counters"], "step", -1),
        (held["counters"], "seconds", "5"),
        (held["counters"], "seconds", math.nan),
        (held, "mean_loss", None),
        (held, "history", [4.0]),
        (held, "history", [{"step": "four"}]),
        (held, "averaged", None),
    )
    for part, name, value in places:
        kept = dict(part)
        part[name] = value
        save_checkpoint(before, held)
        with pytest.raises(InputError, match=r"/last\.pt: not a checkpoint of this version"):
            train(make_slices(), SETTINGS, EACH_STEP, tmp_path, no_scores, origin=RESUMED)
        part.clear()
        part.update(kept)


def test_the_optimiser_s_values_are_the_settings_whatever_a_checkpoint_has_for_them(tmp_path):
    whole, _ = train_in_one_go(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(make_slices(), SETTINGS, EACH_STEP, tmp_path, Probe(break_at=2))
    held = load_checkpoint(tmp_path / "last.pt")
    held["optimiser"]["param_groups"] = [{"betas": torch.zeros(2), "lr": torch.zeros(3)}]
    save_checkpoint(tmp_path / "last.pt", held)
    network = train(make_slices(), SETTINGS, EACH_STEP, tmp_path, Probe(), origin=RESUMED)
    assert_same_weights(whole, network.state_dict())


def test_resuming_without_a_checkpoint_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"last\.pt: no such checkpoint"):
        train(make_slices(), SETTINGS, EACH_STEP, tmp_path, no_scores, origin=RESUMED)


def test_a_checkpoint_whose_average_gives_no_finite_answer_gives_no_model(tmp_path):
    train(make_slices(), SETTINGS, EACH_STEP, tmp_path, no_scores)
    held = load_checkpoint(tmp_path / "last.pt")
    held["averaged"]["head.weight"].fill_(3e38)
    save_checkpoint(tmp_path / "last.pt", held)
    with pytest.raises(DivergedError, match=r"the answer is not finite after step 12"):
        train(make_slices(), SETTINGS, EACH_STEP, tmp_path, no_scores, origin=RESUMED)


def test_a_budget_in_minutes_counts_training_time_and_goes_on_with_what_is_left(
    tmp_path, monkeypatch
):
    # Each look at the clock takes a second, and each step looks at its begin and at its end.
    clock = itertools.count()
    monkeypatch.setattr("lgg_train.loop.time", SimpleNamespace(monotonic=lambda: next(clock)))
    settings = replace(SETTINGS, budget=Budget(minutes=0.2), validations=2)
    with pytest.raises(KeyboardInterrupt):
        train(make_slices(), settings, EACH_STEP, tmp_path, Probe(break_at=1))
    assert load_checkpoint(tmp_path / "last.pt")["counters"]["seconds"] == 5
    train(make_slices(), settings, EACH_STEP, tmp_path, Probe(), origin=RESUMED)
    held = load_checkpoint(tmp_path / "last.pt")
    assert held["counters"] == {"step": 12, "seconds": 12, "validated": 2}
    assert [row["minutes"] for row in read_rows(tmp_path)] == [0.1, 0.2]
