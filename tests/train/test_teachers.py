"""A run that is taught by finished runs, and the runs that may not teach it."""

import hashlib
import json
import shutil
from dataclasses import replace

import click
import pytest
import torch

from lgg_runtime.errors import InputError, UsageError
from lgg_runtime.intensity import IntensitySettings
from lgg_train.teachers import mean_probability, without_mirror
from lgg_train.trained import load_model, save_model
from lgg_train.unet import UNet, UNetSettings
from stand_ins.run_folder import read_config
from stand_ins.signals import break_off
from stand_ins.tiny_training import assert_same_weights, weights_of

BRIEF = ["--epochs", "0.3", "--rate", "0.01", "--validations", "1"]


def digest(run):
    return hashlib.sha256((run / "model.pt").read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def wider_run(train_tiny, tmp_path_factory):
    """A teacher of another recipe on the same split: wider, flatter, mirroring."""
    out = tmp_path_factory.mktemp("runs") / "wider"
    train_tiny(out, *BRIEF, "--features", "6", "--depth", "1", "--mirror", "--seed", "7")
    return out


@pytest.fixture(scope="module")
def taught_run(train_tiny, finished_run, wider_run, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "taught"
    train_tiny(out, *BRIEF, "--teacher", str(finished_run), "--teacher", str(wider_run))
    return out


def test_teachers_of_other_sizes_change_what_is_learnt(train_tiny, taught_run, tmp_path):
    train_tiny(tmp_path / "alone", *BRIEF)
    taught, alone = weights_of(taught_run), weights_of(tmp_path / "alone")
    assert not torch.equal(taught["head.weight"], alone["head.weight"])


def test_the_config_tells_the_teachers_and_the_digests_of_their_models(
    taught_run, finished_run, wider_run
):
    config = read_config(taught_run)
    assert config["settings"]["teachers"] == [digest(finished_run), digest(wider_run)]
    assert config["options"]["teachers"] == [str(finished_run), str(wider_run)]
    assert read_config(finished_run)["settings"]["teachers"] == []
    assert read_config(finished_run)["options"]["teachers"] == []


def test_a_taught_run_resumes_with_its_own_teachers(
    train_tiny, taught_run, finished_run, wider_run, tmp_path, monkeypatch
):
    run = tmp_path / "run"
    with monkeypatch.context() as broken, pytest.raises(click.Abort):
        broken.setattr("lgg_train.session._finish", break_off)
        train_tiny(run, *BRIEF, "--teacher", str(finished_run), "--teacher", str(wider_run))
    train_tiny(run, "--resume")
    assert_same_weights(weights_of(run), weights_of(taught_run))
    assert read_config(run)["options"] == read_config(taught_run)["options"]


def test_resuming_with_other_teachers_is_refused(
    train_tiny, taught_run, finished_run, wider_run, run_copy, tmp_path
):
    for number, teacher in enumerate((finished_run, wider_run)):
        run = shutil.copytree(taught_run, tmp_path / str(number))
        with pytest.raises(
            InputError, match=r"made with other settings: teachers; leave them out$"
        ):
            train_tiny(run, "--resume", "--teacher", str(teacher))
    with pytest.raises(InputError, match=r"made with other settings: teachers; leave them out$"):
        train_tiny(run_copy, "--resume", "--teacher", str(wider_run))


def test_a_run_begun_before_there_were_teachers_resumes(train_tiny, finished_run, run_copy):
    config = read_config(run_copy)
    del config["options"]["teachers"], config["settings"]["teachers"]
    (run_copy / "config.json").write_text(json.dumps(config))
    train_tiny(run_copy, "--resume")
    assert read_config(run_copy) == read_config(finished_run)


def test_a_teacher_of_another_split_is_refused_by_name(train_tiny, finished_run, tmp_path):
    other = ["--teacher", str(finished_run), "--split-seed", "3"]
    with pytest.raises(InputError, match=r"--teacher .*finished: .* other data or another split"):
        train_tiny(tmp_path / "run", *BRIEF, *other)
    assert not (tmp_path / "run" / "last.pt").exists()


def test_every_teacher_is_looked_at(train_tiny, finished_run, wider_run, tmp_path):
    held = load_model(wider_run)
    (tmp_path / "other").mkdir()
    save_model(tmp_path / "other", replace(held, training=replace(held.training, split="0" * 64)))
    both = ["--teacher", str(finished_run), "--teacher", str(tmp_path / "other")]
    with pytest.raises(InputError, match=r"--teacher .*other: .* other data or another split"):
        train_tiny(tmp_path / "run", *BRIEF, *both)


def test_a_teacher_of_other_intensities_is_refused_by_name(train_tiny, finished_run, tmp_path):
    other = replace(load_model(finished_run), intensity=IntensitySettings(centre=90.0))
    (tmp_path / "other").mkdir()
    save_model(tmp_path / "other", other)
    with pytest.raises(InputError, match=r"--teacher .*other: .* trained on other intensities"):
        train_tiny(tmp_path / "run", *BRIEF, "--teacher", str(tmp_path / "other"))


def test_a_run_on_all_patients_is_taught_by_a_run_of_a_split_and_teaches_none(
    train_tiny, finished_run, wider_run, tmp_path
):
    every = ["--split-by", "all", "--start", str(finished_run)]
    train_tiny(tmp_path / "all", *BRIEF, *every, "--teacher", str(wider_run))
    assert read_config(tmp_path / "all")["settings"]["teachers"] == [digest(wider_run)]
    with pytest.raises(InputError, match=r"--teacher .*all: .* other data or another split"):
        train_tiny(tmp_path / "run", *BRIEF, "--teacher", str(tmp_path / "all"))


def test_a_teacher_that_cannot_take_the_crops_is_refused(train_tiny, finished_run, tmp_path):
    small = ["--crop", "34", "--depth", "1", "--teacher", str(finished_run)]
    with pytest.raises(UsageError, match=r"--teacher .*finished: .* multiple of 4, --crop is 34"):
        train_tiny(tmp_path / "run", *BRIEF, *small)
    assert not (tmp_path / "run").exists()


def test_a_folder_without_a_model_teaches_nothing(train_tiny, tmp_path):
    with pytest.raises(InputError, match=r"gone: no such folder"):
        train_tiny(tmp_path / "run", *BRIEF, "--teacher", str(tmp_path / "gone"))
    assert not (tmp_path / "run").exists()


def test_the_mean_is_of_probabilities_and_carries_no_gradient():
    networks = [UNet(UNetSettings(2, 1)).eval() for _ in range(2)]
    for network, probability in zip(networks, (0.2, 0.9), strict=True):
        torch.nn.init.zeros_(network.head.weight)
        torch.nn.init.constant_(network.head.bias, float(torch.logit(torch.tensor(probability))))
    mean = mean_probability(networks, torch.rand(3, 3, 8, 6))
    torch.testing.assert_close(mean, torch.full((3, 1, 8, 6), 0.55))
    assert not mean.requires_grad


def test_the_probability_of_teachers_who_compute_in_half_precision_is_not_rounded_again():
    logits = torch.tensor([[[[0.3, 2.7]]]], dtype=torch.bfloat16)
    network = torch.nn.Identity()
    network.channels_seen = 1
    mean = mean_probability([network], logits)
    assert torch.equal(mean, torch.sigmoid(logits.float()))


def test_without_its_mirror_a_network_looks_at_a_slice_once():
    torch.manual_seed(0)  # of some weights, no feature is left above 0
    network = UNet(UNetSettings(2, 1, mirror=True)).eval()
    torch.nn.init.normal_(network.head.weight)
    x = torch.rand(2, 3, 8, 8)
    plain = without_mirror(network)
    torch.testing.assert_close((plain(x) + plain(x.flip(3)).flip(3)) / 2, network(x))
    assert not torch.allclose(plain(x), network(x))
