"""The other side: found about the head's middle, alike for training, PyTorch and an artifact."""

import click
import numpy as np
import pytest
import torch

from lgg_runtime.errors import UsageError
from lgg_train.checkpoint import load_checkpoint
from lgg_train.symmetry import OtherSide, draw_other_side
from lgg_train.unet import UNet, UNetSettings, scale_slices, with_symmetry
from stand_ins.run_folder import read_config
from stand_ins.signals import break_off
from stand_ins.tiny_training import assert_same_weights, weights_of

BRIEF = ["--epochs", "0.3", "--rate", "0.01", "--validations", "1"]


def draw_slices():
    """Heads over the columns 5 to 24 and 30 to 50, and nothing."""
    pixels = np.zeros((3, 32, 64, 3), np.uint8)
    rng = np.random.default_rng(0)
    pixels[0, 4:28, 5:25] = rng.integers(40, 256, (24, 20, 3))
    pixels[1, 4:28, 30:51] = rng.integers(40, 256, (24, 21, 3))
    return pixels


def test_the_middle_is_that_of_what_is_bright():
    x = scale_slices(torch.from_numpy(draw_slices()))
    assert OtherSide().find_middles(x).tolist() == [5 + 24, 30 + 50, -1]
    dim = torch.full((1, 3, 4, 8), 30 / 255)
    assert OtherSide().find_middles(dim).tolist() == [-1], "air"
    dim[..., 6] += 1 / 255
    assert OtherSide().find_middles(dim).tolist() == [12]
    assert OtherSide().find_middles(dim.half()).tolist() == [12], "no precision moves it"


def test_the_other_side_is_mirrored_and_black_beyond_the_picture():
    pixels = draw_slices()
    both = OtherSide()(scale_slices(torch.from_numpy(pixels)))
    other = (both[:, 3:] * 255).round().byte().permute(0, 2, 3, 1).numpy()
    np.testing.assert_array_equal(both[:, :3], scale_slices(torch.from_numpy(pixels)))
    np.testing.assert_array_equal(other[0, :, 5:25], pixels[0, :, 24:4:-1])
    np.testing.assert_array_equal(other[1, :, 30:51], pixels[1, :, 50:29:-1])
    pixels[0, :, 40:] = 1
    other = OtherSide()(scale_slices(torch.from_numpy(pixels)))[0, 3:]
    assert (other[..., 30:] == 0).all(), "29 - 30 and further is no column"


def test_training_draws_the_same_other_side_but_for_its_chance(monkeypatch):
    monkeypatch.setattr("lgg_train.symmetry._SHIFT_PIXELS", 0.0)
    monkeypatch.setattr("lgg_train.symmetry._TILT_DEGREES", 0.0)
    monkeypatch.setattr("lgg_train.symmetry._ASKEW_DEGREES", 0.0)
    pixels = draw_slices()
    x = scale_slices(torch.from_numpy(pixels))
    expected = (OtherSide()(x)[:, 3:] * 255).round().byte().permute(0, 2, 3, 1).numpy()
    for index, middle in enumerate(OtherSide().find_middles(x).tolist()):
        drawn = draw_other_side(pixels[index], middle, np.random.default_rng(0))
        np.testing.assert_array_equal(drawn, expected[index])


def test_now_and_then_the_other_side_lies_askew(monkeypatch):
    monkeypatch.setattr("lgg_train.symmetry._SHIFT_PIXELS", 0.0)
    bar = np.zeros((64, 64, 3), np.uint8)
    bar[4:60, 30:35] = 255
    angles = []
    for seed in range(300):
        drawn = draw_other_side(bar, 64, np.random.default_rng(seed))[..., 0]
        rows, columns = np.nonzero(drawn)
        angles.append(np.degrees(np.arctan(np.polyfit(rows, columns, 1)[0])))
    assert 0.06 < np.mean(np.abs(angles) > 10) < 0.2, "a fifth, of which six in ten by so much"
    assert 1.5 < np.median(np.abs(angles)) < 4, "the others by little"


def test_a_network_appends_the_other_side_itself_where_it_is_not_given():
    torch.manual_seed(0)
    network = UNet(UNetSettings(4, 1, symmetry=True)).eval()
    x = scale_slices(torch.from_numpy(draw_slices()))
    torch.testing.assert_close(network(x), network(OtherSide()(x)), rtol=0, atol=0)
    assert (network(x) != network(torch.cat((x, x), 1))).any()


@pytest.mark.parametrize("stride", [1, 2])
def test_a_network_that_is_given_the_other_side_answers_as_before(stride):
    torch.manual_seed(0)
    network = UNet(UNetSettings(4, 1, stride=stride, mirror=True)).eval()
    wide = with_symmetry(network).eval()
    assert wide.settings == UNetSettings(4, 1, stride=stride, mirror=True, symmetry=True)
    assert with_symmetry(wide) is wide
    x = scale_slices(torch.from_numpy(draw_slices()))
    torch.testing.assert_close(wide(x), network(x))


@pytest.fixture(scope="module")
def symmetric_run(train_tiny, finished_run, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "symmetric"
    train_tiny(out, *BRIEF, "--symmetry", "--start", str(finished_run))
    return out


def test_training_begins_with_a_run_that_did_not_see_the_other_side(
    train_tiny, finished_run, symmetric_run, tmp_path
):
    assert read_config(symmetric_run)["settings"]["unet"]["symmetry"]
    still = ["--epochs", "0.1", "--rate", "1e-12", "--validations", "1"]
    train_tiny(tmp_path / "run", *still, "--symmetry", "--start", str(finished_run))
    began = weights_of(finished_run)["down.0.0.weight"]
    kept = load_checkpoint(tmp_path / "run" / "last.pt")["model"]["down.0.0.weight"]
    torch.testing.assert_close(kept, torch.cat((began, torch.zeros_like(began)), 1))
    assert (weights_of(symmetric_run)["down.0.0.weight"][:, 3:] != 0).any(), "is learnt from"


def test_a_run_that_sees_the_other_side_resumes_as_if_it_had_not_been_broken_off(
    train_tiny, finished_run, symmetric_run, tmp_path, monkeypatch
):
    run = tmp_path / "run"
    with monkeypatch.context() as broken, pytest.raises(click.Abort):
        broken.setattr("lgg_train.session._finish", break_off)
        train_tiny(run, *BRIEF, "--symmetry", "--start", str(finished_run))
    train_tiny(run, "--resume")
    assert_same_weights(weights_of(run), weights_of(symmetric_run))


def test_both_kinds_of_networks_teach_one_that_sees_the_other_side(
    train_tiny, finished_run, symmetric_run, tmp_path
):
    taught = []
    for teachers in ([], [finished_run], [finished_run, symmetric_run]):
        run = tmp_path / f"run{len(teachers)}"
        train_tiny(run, *BRIEF, "--symmetry", *(f"--teacher={each}" for each in teachers))
        taught.append(weights_of(run)["head.weight"])
    alone, by_one, by_both = taught
    assert not torch.equal(by_one, alone)
    assert not torch.equal(by_both, by_one)


@pytest.mark.parametrize("option", ["--start", "--teacher"])
def test_what_sees_the_other_side_is_refused_where_crops_do_not_hold_it(
    train_tiny, symmetric_run, option, tmp_path
):
    with pytest.raises(UsageError, match=f"{option}.*sees the other side too; give --symmetry"):
        train_tiny(tmp_path / "run", *BRIEF, option, str(symmetric_run))
    assert not (tmp_path / "run").exists()
