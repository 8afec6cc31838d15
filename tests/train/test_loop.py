"""The loop: it learns, and it says when it cannot go on."""

import copy
import itertools
import math
import os
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from lgg_runtime.errors import UsageError
from lgg_train.checkpoint import load_checkpoint
from lgg_train.dataset import SampleSettings
from lgg_train.loop import STEPS_UNREAD, train
from lgg_train.losses import segmentation_loss
from lgg_train.schedule import Budget
from lgg_train.settings import Origin
from lgg_train.state import DivergedError, TrainingState
from lgg_train.unet import UNet, UNetSettings, scale_slices
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

SELDOM_SAVED = replace(EACH_STEP, checkpoint_minutes=3)


def test_a_few_steps_lower_the_loss_of_the_averaged_model(tmp_path):
    data = make_slices()
    slices, masks, _ = data.batch(10_000)

    def validate(network):
        with torch.no_grad():
            return {"held_out": float(segmentation_loss(network(scale_slices(slices)), masks))}

    settings = replace(SETTINGS, budget=Budget(epochs=40))
    network = train(data, settings, EACH_STEP, tmp_path, validate)
    untrained = UNet(settings.unet).eval()
    before, after = validate(untrained)["held_out"], validate(network)["held_out"]
    assert after < 0.6 * before
    assert after == pytest.approx(read_rows(tmp_path)[-1]["held_out"])


def test_the_history_has_a_row_for_each_validation(tmp_path):
    train(make_slices(), SETTINGS, EACH_STEP, tmp_path, no_scores)
    rows = read_rows(tmp_path)
    assert [row["step"] for row in rows] == [4, 8, 12]
    assert all(row["dice_mean"] == 0.5 and math.isfinite(row["loss"]) for row in rows)
    assert rows[0]["rate"] > rows[1]["rate"] > rows[2]["rate"] > 0
    assert load_checkpoint(tmp_path / "last.pt")["history"] == rows


def test_the_rate_rises_over_the_warm_up_and_falls_after_it(tmp_path):
    """Before the last of 4, 8 and 12 steps of 12, a quarter, 7/12 and 11/12 of them are done."""
    train(make_slices(), replace(SETTINGS, warm_up=0.5), EACH_STEP, tmp_path, no_scores)
    expected = [0.25 / 0.5, *(0.5 + 0.5 * math.cos(math.pi * part) for part in (1 / 6, 5 / 6))]
    assert [row["rate"] / 0.01 for row in read_rows(tmp_path)] == pytest.approx(expected)


def test_a_checkpoint_is_saved_after_its_minutes_and_at_the_end(tmp_path, monkeypatch):
    # Each look at the clock takes a second; a step takes three, and a checkpoint one more.
    clock, saved = itertools.count(), []
    monkeypatch.setattr("lgg_train.loop.time", SimpleNamespace(monotonic=lambda: next(clock)))
    monkeypatch.setattr(TrainingState, "save", lambda state, *_: saved.append(state.step))
    machinery = replace(EACH_STEP, checkpoint_minutes=0.2)
    train(make_slices(), SETTINGS, machinery, tmp_path, no_scores)
    assert saved == [5, 10, 12]


def test_losses_that_are_read_seldom_stand_in_each_row_of_the_history(tmp_path, monkeypatch):
    rows = []
    for name, steps in (("each", 1), ("seldom", 50)):
        monkeypatch.setitem(STEPS_UNREAD, "cpu", steps)
        (tmp_path / name).mkdir()
        train(make_slices(), SETTINGS, EACH_STEP, tmp_path / name, no_scores)
        rows.append([row["loss"] for row in read_rows(tmp_path / name)])
    assert rows[0] == rows[1]


def test_the_scores_are_told_on_standard_error(tmp_path, capsys):
    train(make_slices(), SETTINGS, EACH_STEP, tmp_path, no_scores)
    told = capsys.readouterr()
    assert told.out == ""
    assert [line for line in told.err.splitlines() if line] == [
        f"step {row['step']:.0f}: loss {row['loss']:.4f}, dice_mean 0.5000"
        for row in read_rows(tmp_path)
    ]


def test_a_run_goes_on_without_who_reads_its_scores(tmp_path, monkeypatch):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as lost:
        monkeypatch.setattr("sys.stderr", lost)
        train(make_slices(), SETTINGS, EACH_STEP, tmp_path, no_scores)
    assert load_checkpoint(tmp_path / "last.pt")["counters"]["step"] == 12


def test_the_same_settings_give_the_same_numbers_and_another_seed_does_not(tmp_path):
    made = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        (tmp_path / name).mkdir()
        settings = replace(SETTINGS, seed=seed)
        network = train(make_slices(), settings, EACH_STEP, tmp_path / name, no_scores)
        made.append(network.state_dict())
    assert_same_weights(made[0], made[1])
    assert not torch.equal(made[0]["head.weight"], made[2]["head.weight"])


def test_a_loss_that_is_no_number_ends_the_run_and_says_what_to_do(tmp_path):
    settings = replace(SETTINGS, peak_rate=1e30, clip_norm=1e30)
    with pytest.raises(DivergedError, match=r"the loss is (nan|inf) at step \d+; lower the peak"):
        train(make_slices(), settings, SELDOM_SAVED, tmp_path, no_scores)


@pytest.mark.parametrize(("rate", "named"), [(1e36, "the answer"), (1e45, "\\.weight")])
def test_what_the_last_step_spoilt_is_neither_validated_nor_saved(tmp_path, rate, named):
    settings = replace(SETTINGS, budget=Budget(epochs=0.5), validations=1, peak_rate=rate)
    probe = Probe()
    told = f"{named} is not finite after step 1; lower the peak rate"
    with pytest.raises(DivergedError, match=told):
        train(make_slices(), settings, EACH_STEP, tmp_path, probe)
    assert probe.calls == 0
    assert not list(tmp_path.iterdir())


def test_the_average_is_exponential_with_a_memory_that_grows(tmp_path):
    settings = replace(SETTINGS, budget=Budget(epochs=1), validations=2)
    seen = []

    def keep_last(_network):
        if (tmp_path / "last.pt").exists():
            seen.append(load_checkpoint(tmp_path / "last.pt"))
        return {}

    train(make_slices(), settings, EACH_STEP, tmp_path, keep_last)
    seen.append(load_checkpoint(tmp_path / "last.pt"))
    assert [held["counters"]["step"] for held in seen] == [1, 2]
    torch.manual_seed(settings.seed)
    average = {name: value.clone() for name, value in UNet(settings.unet).state_dict().items()}
    for held, decay in zip(seen, (1 / 11, 2 / 12), strict=True):
        for name, value in held["model"].items():
            if value.is_floating_point():
                average[name] = decay * average[name] + (1 - decay) * value
                torch.testing.assert_close(held["averaged"][name], average[name])
            else:
                assert held["averaged"][name] == value


def test_a_step_is_adamw_s_on_the_clipped_gradient_of_its_own_batch():
    settings = replace(SETTINGS, clip_norm=0.01, weight_decay=0.3)
    state, slices = TrainingState(settings, EACH_STEP, Origin()), make_slices()
    model = copy.deepcopy(state.model)
    optimiser = torch.optim.AdamW(model.parameters(), weight_decay=0.3)
    for step, rate in enumerate((0.01, 0.03, 0.02)):
        batch = slices.batch(step)
        state.take_step(batch, rate)
        optimiser.zero_grad()
        segmentation_loss(model(scale_slices(batch.slices)), batch.masks).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.01)
        optimiser.param_groups[0]["lr"] = rate
        optimiser.step()
    for name, value in model.state_dict().items():
        torch.testing.assert_close(state.model.state_dict()[name], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_gradients_are_clipped_by_their_own_length_and_not_their_scaled_one(precision):
    state = TrainingState(
        replace(SETTINGS, precision=precision, clip_norm=0.01), EACH_STEP, Origin()
    )
    state.take_step(make_slices().batch(0), 0.01)
    gradient = torch.cat([weights.grad.flatten() for weights in state.model.parameters()])
    assert float(torch.linalg.vector_norm(gradient)) == pytest.approx(0.01, rel=1e-3)


def test_the_memory_of_the_average_is_bounded(tmp_path):
    settings = replace(SETTINGS, average_decay=0.0)
    train(make_slices(), settings, EACH_STEP, tmp_path, no_scores)
    held = load_checkpoint(tmp_path / "last.pt")
    assert_same_weights(held["averaged"], held["model"])


def test_the_loss_that_is_told_is_a_moving_mean_which_takes_a_fiftieth_of_each_step(monkeypatch):
    given = iter([1.0, 2.0, 4.0])
    monkeypatch.setattr(
        "lgg_train.state.segmentation_loss", lambda logits, _masks: 0 * logits.sum() + next(given)
    )
    state = TrainingState(SETTINGS, EACH_STEP, Origin())
    for step, expected in enumerate([1.0, 1.02, 1.0796]):
        state.take_step(make_slices().batch(step), 0.01)
        state.read_losses()
        assert state.mean_loss == pytest.approx(expected)


@pytest.mark.parametrize("loss", [math.inf, -math.inf, math.nan])
def test_a_loss_that_is_no_finite_number_is_told_with_its_own_step(monkeypatch, loss):
    given = iter([1.0, loss, 2.0])
    monkeypatch.setattr(
        "lgg_train.state.segmentation_loss", lambda logits, _masks: 0 * logits.sum() + next(given)
    )
    state = TrainingState(SETTINGS, EACH_STEP, Origin())
    for step in range(3):
        state.take_step(make_slices().batch(step), 0.01)
    with pytest.raises(DivergedError, match=f"^the loss is {loss} at step 2; lower the peak rate$"):
        state.read_losses()


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precisions_train_too(tmp_path, precision):
    settings = replace(SETTINGS, budget=Budget(epochs=2), precision=precision)
    network = train(make_slices(), settings, EACH_STEP, tmp_path, no_scores)
    for value in network.state_dict().values():
        assert torch.isfinite(value.float()).all()
    torch.manual_seed(settings.seed)
    assert not torch.equal(network.head.weight, UNet(settings.unet).head.weight)
    (tmp_path / "exact").mkdir()
    exact = replace(settings, precision="fp32")
    other = train(make_slices(), exact, EACH_STEP, tmp_path / "exact", no_scores)
    assert not torch.equal(network.head.weight, other.head.weight)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"unet": UNetSettings(2, 3), "samples": SampleSettings(crop=20)}, "crop 20.* of 8"),
        ({"peak_rate": 0.0}, "rate 0.0: expected above 0"),
        ({"peak_rate": -1.0}, "rate -1.0: expected above 0"),
        ({"peak_rate": math.inf}, "rate inf: expected above 0, and finite"),
        ({"peak_rate": math.nan}, "rate nan: expected above 0, and finite"),
    ],
)
def test_impossible_settings_are_usage_errors(change, named):
    with pytest.raises(UsageError, match=named):
        replace(SETTINGS, **change)


@pytest.mark.parametrize(("batch", "steps"), [(3, 3), (20, 1)])
def test_an_epoch_has_a_step_for_the_slices_that_fill_no_batch_too(tmp_path, batch, steps):
    samples = replace(SETTINGS.samples, batch=batch)
    settings = replace(SETTINGS, budget=Budget(epochs=1), samples=samples, validations=1)
    train(make_slices(), settings, EACH_STEP, tmp_path, no_scores)
    assert read_rows(tmp_path)[-1]["step"] == steps
