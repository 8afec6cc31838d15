"""The loop: it learns, it resumes to the same numbers, and it says when it cannot go on."""

import csv
import itertools
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lgg_runtime.errors import InputError, ProviderError, UsageError
from lgg_runtime.intensity import IntensitySettings
from lgg_runtime.volume import Volume
from lgg_train.cases import Case
from lgg_train.checkpoint import load_checkpoint, save_checkpoint
from lgg_train.dataset import SampleSettings, TrainingSlices
from lgg_train.device import choose_device
from lgg_train.loop import train
from lgg_train.losses import segmentation_loss
from lgg_train.schedule import Budget
from lgg_train.settings import Machinery, Origin, TrainSettings
from lgg_train.state import DivergedError
from lgg_train.unet import UNet, UNetSettings, scale_slices

pytestmark = pytest.mark.usefixtures("one_thread")

# Eight slices in batches of four: two steps an epoch, twelve in all, validated after 4, 8 and 12.
SETTINGS = TrainSettings(
    Budget(epochs=6),
    UNetSettings(features=4, depth=2),
    SampleSettings(batch=4, tumour=3, crop=16, seed=1),
    peak_rate=0.01,
    precision="fp32",
    validations=3,
)
# Zero minutes between checkpoints: one after each step.
EACH_STEP = Machinery(torch.device("cpu"), checkpoint_minutes=0, progress=False)
SELDOM_SAVED = replace(EACH_STEP, checkpoint_minutes=3)
RESUMED = Origin(resume=True)


def make_slices(samples=SETTINGS.samples):
    """Bright squares are tumour: a task for a network of any size."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(40, 90, (8, 32, 32, 3), dtype=np.uint8)
    masks = np.zeros((8, 32, 32), bool)
    for index in range(6):
        masks[index, 8:20, 10 : 16 + index] = True
    pixels[masks] += 110
    case = Case("A", "-", Volume(pixels), masks, "")
    return TrainingSlices([case], {"A": tuple(range(8))}, IntensitySettings(), samples)


def no_scores(_network):
    return {"dice_mean": 0.5}


class Probe:
    """A validation that says how much the weights add up to, and can break off at one call."""

    def __init__(self, break_at=None):
        self.calls, self.break_at = 0, break_at

    def __call__(self, network):
        self.calls += 1
        if self.calls == self.break_at:
            raise KeyboardInterrupt
        assert not network.training
        return {"sum": sum(float(p.detach().double().sum()) for p in network.parameters())}


def read_history(folder):
    with (folder / "history.csv").open(newline="") as stream:
        return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(stream)]


def without_time(rows):
    return [{k: v for k, v in row.items() if k != "minutes"} for row in rows]


def assert_same_weights(one, other):
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


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
    assert after == pytest.approx(read_history(tmp_path)[-1]["held_out"])


def test_the_history_has_a_row_for_each_validation(tmp_path):
    train(make_slices(), SETTINGS, EACH_STEP, tmp_path, no_scores)
    rows = read_history(tmp_path)
    assert [row["step"] for row in rows] == [4, 8, 12]
    assert all(row["dice_mean"] == 0.5 and math.isfinite(row["loss"]) for row in rows)
    assert rows[0]["rate"] > rows[1]["rate"] > rows[2]["rate"] > 0
    assert load_checkpoint(tmp_path / "last.pt")["history"] == rows


def test_the_scores_are_told_on_standard_error(tmp_path, capsys):
    train(make_slices(), SETTINGS, EACH_STEP, tmp_path, no_scores)
    told = capsys.readouterr()
    assert told.out == ""
    assert [line for line in told.err.splitlines() if line] == [
        f"step {step}: dice_mean 0.5000" for step in (4, 8, 12)
    ]


def test_the_same_settings_give_the_same_numbers_and_another_seed_does_not(tmp_path):
    made = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        (tmp_path / name).mkdir()
        settings = replace(SETTINGS, seed=seed)
        network = train(make_slices(), settings, EACH_STEP, tmp_path / name, no_scores)
        made.append(network.state_dict())
    assert_same_weights(made[0], made[1])
    assert not torch.equal(made[0]["head.weight"], made[2]["head.weight"])


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
    assert without_time(read_history(folder)) == without_time(read_history(tmp_path / "whole"))


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
        ({"unet": UNetSettings(2, 2)}, "unet"),
        ({"teachers": ("a" * 64,)}, "teachers"),
        ({"budget": Budget(epochs=7), "seed": 3}, "budget, seed"),
    ],
)
def test_resuming_with_other_settings_is_refused_by_their_names(tmp_path, change, named):
    train(make_slices(), SETTINGS, EACH_STEP, tmp_path, no_scores)
    with pytest.raises(InputError, match=rf"last\.pt: made with other settings: {named}$"):
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
    del held["settings"]["teachers"], held["settings"]["samples"]["augmentation"]
    save_checkpoint(tmp_path / "last.pt", held)
    again = train(make_slices(), SETTINGS, EACH_STEP, tmp_path, no_scores, origin=RESUMED)
    assert_same_weights(whole.state_dict(), again.state_dict())
    taught = replace(SETTINGS, teachers=("a" * 64,))
    with pytest.raises(InputError, match=r"last\.pt: made with other settings: teachers$"):
        train(make_slices(), taught, EACH_STEP, tmp_path, no_scores, origin=RESUMED)


def test_a_checkpoint_with_a_setting_of_another_version_is_refused_by_its_name(tmp_path):
    train(make_slices(), SETTINGS, EACH_STEP, tmp_path, no_scores)
    held = load_checkpoint(tmp_path / "last.pt")
    held["settings"]["temperature"] = 2.0
    save_checkpoint(tmp_path / "last.pt", held)
    with pytest.raises(InputError, match=r"last\.pt: made with other settings: temperature$"):
        train(make_slices(), SETTINGS, EACH_STEP, tmp_path, no_scores, origin=RESUMED)


def make_teacher(seed, settings):
    """A network with something to say, whose training mode would say something else."""
    torch.manual_seed(seed)
    network = UNet(settings).eval()
    torch.nn.init.normal_(network.head.weight)
    for name, value in network.named_buffers():
        if name.endswith("running_mean"):
            value.normal_(0, 0.3)
    return network


TEACHERS = {
    "none": (),
    "one": (make_teacher(3, UNetSettings(4, 2)),),
    "mirroring": (make_teacher(4, UNetSettings(4, 2, mirror=True)),),
    "of other sizes": (
        make_teacher(5, UNetSettings(2, 1)),
        make_teacher(6, UNetSettings(6, 2, stride=4)),
    ),
}


@pytest.mark.parametrize("teachers", TEACHERS.values(), ids=TEACHERS)
def test_a_step_follows_the_mean_of_the_masks_and_the_teachers_probability(tmp_path, teachers):
    settings = replace(SETTINGS, budget=Budget(epochs=0.5), validations=1, clip_norm=1e9)
    origin = Origin(teachers=teachers)
    train(make_slices(), settings, EACH_STEP, tmp_path, no_scores, origin)

    slices, masks, complete = make_slices().batch(0)
    assert not torch.equal(slices, complete)
    targets = masks
    if teachers:
        # Each looks at a slice once, whatever it does in use, and at all its sequences.
        with torch.no_grad():
            x = scale_slices(complete)
            seen = [torch.sigmoid(teacher._logits(x)) for teacher in teachers]
        targets = (masks + sum(seen) / len(seen)) / 2
    torch.manual_seed(settings.seed)
    student = UNet(settings.unet).train()
    loss = segmentation_loss(student(scale_slices(slices)), targets)
    loss.backward()
    assert read_history(tmp_path)[0]["loss"] == pytest.approx(loss.item(), rel=1e-5)
    # After one step AdamW's first moment is a tenth of the gradient.
    moments = load_checkpoint(tmp_path / "last.pt")["optimiser"]["state"]
    for index, parameter in enumerate(student.parameters()):
        torch.testing.assert_close(
            moments[index]["exp_avg"], 0.1 * parameter.grad, rtol=1e-3, atol=1e-6
        )


def test_teachers_stay_as_they_are(tmp_path):
    teacher = make_teacher(4, UNetSettings(4, 2, mirror=True))
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    train(make_slices(), SETTINGS, EACH_STEP, tmp_path, no_scores, Origin(teachers=(teacher,)))
    assert_same_weights(before, teacher.state_dict())
    assert not teacher.training and teacher.settings.mirror


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precisions_are_taught_too(tmp_path, precision):
    settings = replace(SETTINGS, budget=Budget(epochs=2), precision=precision)
    origin = Origin(teachers=TEACHERS["of other sizes"])
    train(make_slices(), settings, EACH_STEP, tmp_path, no_scores, origin)
    assert all(math.isfinite(row["loss"]) for row in read_history(tmp_path))


def test_resuming_without_a_checkpoint_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"last\.pt: no such checkpoint"):
        train(make_slices(), SETTINGS, EACH_STEP, tmp_path, no_scores, origin=RESUMED)


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


def test_a_checkpoint_whose_average_is_not_finite_gives_no_model(tmp_path):
    train(make_slices(), SETTINGS, EACH_STEP, tmp_path, no_scores)
    held = load_checkpoint(tmp_path / "last.pt")
    held["averaged"]["head.bias"].fill_(math.nan)
    save_checkpoint(tmp_path / "last.pt", held)
    with pytest.raises(DivergedError, match=r"head\.bias is not finite after step 12"):
        train(make_slices(), SETTINGS, EACH_STEP, tmp_path, no_scores, origin=RESUMED)


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


def test_the_memory_of_the_average_is_bounded(tmp_path):
    settings = replace(SETTINGS, average_decay=0.0)
    train(make_slices(), settings, EACH_STEP, tmp_path, no_scores)
    held = load_checkpoint(tmp_path / "last.pt")
    assert_same_weights(held["averaged"], held["model"])


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
    assert [row["minutes"] for row in read_history(tmp_path)] == [0.1, 0.2]


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precisions_train_too(tmp_path, precision):
    settings = replace(SETTINGS, budget=Budget(epochs=2), precision=precision)
    network = train(make_slices(), settings, EACH_STEP, tmp_path, no_scores)
    for value in network.state_dict().values():
        assert torch.isfinite(value.float()).all()
    torch.manual_seed(settings.seed)
    assert not torch.equal(network.head.weight, UNet(settings.unet).head.weight)


def test_tensorboard_is_written_when_asked_for(tmp_path):
    pytest.importorskip("tensorboard")
    machinery = replace(EACH_STEP, tensorboard=True)
    settings = replace(SETTINGS, budget=Budget(epochs=1), validations=1)
    train(make_slices(), settings, machinery, tmp_path, no_scores)
    assert list((tmp_path / "tensorboard").iterdir())


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


def test_the_device_is_chosen_by_what_is_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("cpu") == choose_device("auto") == torch.device("cpu")
    with pytest.raises(ProviderError, match="--device cuda"):
        choose_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("auto") == choose_device("cuda") == torch.device("cuda")
