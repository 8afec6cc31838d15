"""What a step learns from the masks and from the networks that teach it."""

import math
from dataclasses import replace

import pytest
import torch

from lgg_train.checkpoint import load_checkpoint
from lgg_train.loop import train
from lgg_train.losses import segmentation_loss
from lgg_train.schedule import Budget
from lgg_train.settings import Origin
from lgg_train.unet import UNet, UNetSettings, scale_slices
from stand_ins.tiny_training import (
    EACH_STEP,
    SETTINGS,
    assert_same_weights,
    make_slices,
    no_scores,
    read_rows,
)

pytestmark = pytest.mark.usefixtures("one_thread")


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
    assert read_rows(tmp_path)[0]["loss"] == pytest.approx(loss.item(), rel=1e-5)
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
    assert all(math.isfinite(row["loss"]) for row in read_rows(tmp_path))
