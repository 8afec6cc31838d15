"""A finished run's model: what is written is read back, and what is none is refused by name."""

import hashlib
import math
from dataclasses import asdict, replace

import pytest
import torch

from lgg_runtime.cleanup import CleanupSettings
from lgg_runtime.contract import Training
from lgg_runtime.errors import InputError
from lgg_runtime.intensity import IntensitySettings
from lgg_train.checkpoint import load_checkpoint, save_checkpoint
from lgg_train.decision import Decision
from lgg_train.run import LAST_FILE, MODEL_FILE
from lgg_train.splits import Split
from lgg_train.trained import TrainedModel, describe_training, digest_model, load_model, save_model
from lgg_train.unet import UNet, UNetSettings
from stand_ins.tiny_training import assert_same_weights


@pytest.fixture
def model():
    torch.manual_seed(0)
    network = UNet(UNetSettings(features=2, depth=1, prior=0.1)).eval()
    for name, value in network.state_dict().items():
        if name.endswith("running_var"):
            value.uniform_(0.5, 2)
    decision = Decision(0.35, CleanupSettings(0.25), "by hand")
    training = Training("d" * 64, "s" * 64, "patient", {"train": 7, "validation": 1, "test": 2})
    return TrainedModel(network, decision, IntensitySettings(centre=90), training)


def test_a_saved_model_is_loaded_with_all_that_decides_its_use(tmp_path, model):
    save_model(tmp_path, model)
    held = load_model(tmp_path)
    assert held.network.settings == model.network.settings
    assert not held.network.training
    assert_same_weights(held.network.state_dict(), model.network.state_dict())
    assert (held.decision, held.intensity) == (model.decision, model.intensity)
    assert held.training == model.training
    assert [path.name for path in tmp_path.iterdir()] == [MODEL_FILE]


@pytest.mark.parametrize(
    ("held", "remedy"),
    [((LAST_FILE,), "finish the training with --resume"), ((), "name a finished run")],
)
def test_what_is_no_finished_run_says_what_is_one(tmp_path, held, remedy):
    """--resume needs a checkpoint: it refuses a run's first minutes, and what is no run."""
    for name in held:
        (tmp_path / name).touch()
    with pytest.raises(InputError, match=rf"no model\.pt in it; {remedy}$"):
        load_model(tmp_path)


def test_a_model_file_in_the_place_of_its_folder_names_the_folder(tmp_path, model):
    save_model(tmp_path, model)
    path = tmp_path / MODEL_FILE
    with pytest.raises(InputError) as refused:
        load_model(path)
    assert str(refused.value) == f"{path}: a file; name the run's folder, {tmp_path}"


def test_a_model_that_the_disk_does_not_give_is_named_where_its_digest_is_asked_for(tmp_path):
    (tmp_path / MODEL_FILE).symlink_to("/proc/self/mem")
    with pytest.raises(InputError, match=r"model\.pt: cannot be read \(Input/output error\)$"):
        digest_model(tmp_path)


@pytest.mark.parametrize("missing", ["unet", "weights", "decision", "intensity", "training"])
def test_a_model_of_another_version_is_refused(tmp_path, model, missing):
    save_model(tmp_path, model)
    state = load_checkpoint(tmp_path / MODEL_FILE)
    del state[missing]
    save_checkpoint(tmp_path / MODEL_FILE, state)
    with pytest.raises(InputError, match=f"{tmp_path / MODEL_FILE}: not a model of this version"):
        load_model(tmp_path)


def test_weights_of_another_network_are_refused(tmp_path, model):
    save_model(tmp_path, model)
    state = load_checkpoint(tmp_path / MODEL_FILE)
    state["unet"] = asdict(UNetSettings(features=3, depth=1))
    save_checkpoint(tmp_path / MODEL_FILE, state)
    with pytest.raises(InputError, match=r"model\.pt: not a model of this version"):
        load_model(tmp_path)


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        ("unet", "features", math.inf),
        ("unet", "features", -1),
        ("unet", "stride", 3),
        ("unet", "prior", []),
        ("unet", "mirror", "no"),
        ("intensity", "centre", "80"),
        ("intensity", "scale", math.nan),
        ("training", "split_by", None),
        ("training", "patients", {"train": "seven"}),
        ("weights", "head.bias", torch.full((1,), math.nan)),
        ("weights", "head.bias", torch.zeros(1, dtype=torch.int8)),
    ],
)
def test_a_model_that_holds_what_no_training_writes_is_refused(tmp_path, model, part, name, value):
    save_model(tmp_path, model)
    state = load_checkpoint(tmp_path / MODEL_FILE)
    state[part][name] = value
    save_checkpoint(tmp_path / MODEL_FILE, state)
    with pytest.raises(InputError, match=f"{tmp_path / MODEL_FILE}: not a model of this version"):
        load_model(tmp_path)


def test_a_damaged_model_is_refused(tmp_path):
    (tmp_path / MODEL_FILE).write_bytes(b"half")
    with pytest.raises(InputError, match=r"model\.pt: not a checkpoint of tensors"):
        load_model(tmp_path)


def test_training_is_described_by_digests_and_counts(tmp_path):
    parts = {"train": {"A": (0, 1), "B": (0,)}, "validation": {"C": (0,)}, "test": {"D": (0,)}}
    split = Split("patient", 3, parts)
    split.write(tmp_path / "split.json")
    training = describe_training(split, "abc")
    digest = hashlib.sha256((tmp_path / "split.json").read_bytes()).hexdigest()
    counts = {"train": 2, "validation": 1, "test": 1}
    assert training == Training("abc", digest, "patient", counts)


@pytest.mark.parametrize("constant", [{"bright_percentile": 995.0}, {"scale": 0.0}])
def test_a_model_of_a_constant_that_gives_no_picture_is_refused(tmp_path, model, constant):
    save_model(tmp_path, replace(model, intensity=IntensitySettings(**constant)))
    with pytest.raises(
        InputError, match=rf"model\.pt: .* \(intensity\.{next(iter(constant))}: exp"
    ):
        load_model(tmp_path)
