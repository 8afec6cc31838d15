"""A step that a GPU has recorded: the same numbers as the step itself, with the GPU or without."""

from dataclasses import replace

import pytest
import torch

from lgg_train.dataset import Batch
from lgg_train.recorded import STEPS_BEFORE, RecordedStep
from lgg_train.schedule import Budget
from lgg_train.settings import Machinery, Origin, TrainSettings
from lgg_train.state import TrainingState
from lgg_train.unet import UNet, UNetSettings
from stand_ins.tiny_training import SETTINGS, assert_same_weights, make_slices

STEPS = STEPS_BEFORE + 4
needs_gpu = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="records on a GPU; this machine has none"
)


def make_batch(value):
    return Batch(*(torch.full((2,), float(value) + part) for part in range(3)))


def test_a_recording_is_given_each_new_batch_and_made_once():
    computed, recorded = [], []

    def compute(batch):
        computed.append([float(part[0]) for part in batch])
        return batch.slices.sum()

    def record(ours, inputs):
        recorded.append(inputs)
        return lambda: ours(inputs)

    step = RecordedStep(record)
    losses = [float(step(compute, make_batch(value))) for value in range(STEPS)]
    assert losses == [2.0 * value for value in range(STEPS)]
    assert computed == [[value, value + 1, value + 2] for value in map(float, range(STEPS))]
    assert len(recorded) == 1


def test_the_batch_itself_is_left_as_it_is():
    step = RecordedStep(lambda ours, held: lambda: ours(held))
    batches = [make_batch(value) for value in range(STEPS)]
    for batch in batches:
        step(lambda held: held.slices.sum(), batch)
    for value, batch in enumerate(batches):
        assert [float(part[0]) for part in batch] == [value, value + 1, value + 2]


def train_some_steps(settings, recorded):
    """The weights, the average and the losses after some steps on the GPU, taught by a network."""
    torch.manual_seed(4)
    teacher = UNet(UNetSettings(4, 2)).eval()
    origin = Origin(teachers=(teacher,))
    state = TrainingState(settings, Machinery(torch.device("cuda")), origin)
    if not recorded:
        state._recorded = None
    slices = make_slices()
    # Sums in no fixed order differ in the last digits, of which the optimiser makes whole steps
    # where a gradient is near zero.
    with torch.backends.cudnn.flags(enabled=True, deterministic=True):
        for step in range(STEPS):
            state.take_step(slices.batch(step), 0.01 / (step + 1))
    losses = torch.stack(state._unread).tolist()
    return state, losses


@needs_gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_gpu_computes_the_same_from_its_recording(precision):
    settings = replace(SETTINGS, budget=Budget(epochs=9), precision=precision)
    state, losses = train_some_steps(settings, recorded=True)
    other, expected = train_some_steps(settings, recorded=False)
    assert state._recorded is not None and state._recorded._replay is not None
    assert losses == pytest.approx(expected, rel=1e-3)
    assert len(set(losses)) == STEPS
    for ours, theirs in ((state.model, other.model), (state.averaged, other.averaged)):
        held = theirs.state_dict()
        for name, value in ours.state_dict().items():
            torch.testing.assert_close(value, held[name], rtol=1e-2, atol=1e-3)


@needs_gpu
def test_a_recorded_run_goes_on_from_its_checkpoint(tmp_path):
    settings: TrainSettings = replace(SETTINGS, budget=Budget(epochs=9))
    state, _ = train_some_steps(settings, recorded=True)
    state.save(tmp_path / "last.pt", [])
    again = TrainingState(settings, Machinery(torch.device("cuda")), Origin())
    again.load(tmp_path / "last.pt")
    assert_same_weights(again.averaged.state_dict(), state.averaged.state_dict())
    slices = make_slices()
    for step in range(STEPS, 2 * STEPS):
        again.take_step(slices.batch(step), 0.002)
    again.read_losses()
    again.require_finite()
    assert again.step == 2 * STEPS


def test_a_checkpoint_of_a_recorded_run_goes_on_without_a_gpu(tmp_path):
    def begin():
        return TrainingState(SETTINGS, Machinery(torch.device("cpu")), Origin())

    slices = make_slices()
    state, plain = begin(), begin()
    for run in (state, plain):
        run.take_step(slices.batch(0), 0.01)
    for group in state.optimiser.param_groups:
        group["lr"], group["capturable"] = torch.tensor(0.01), True
    state.save(tmp_path / "last.pt", [])
    again = begin()
    again.load(tmp_path / "last.pt")
    for run in (again, plain):
        run.take_step(slices.batch(1), 0.02)
    assert_same_weights(again.model.state_dict(), plain.model.state_dict())
    (group,) = again.optimiser.param_groups
    assert group["lr"] == 0.02 and group["capturable"] is False
