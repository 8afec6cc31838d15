"""What the tests of training share: phantom patients, one finished tiny run, a command to call."""

import shutil
from pathlib import Path

import pytest

from lgg_train.phantom import PhantomSettings, write_phantoms

TINY = ["--features", "4", "--depth", "2", "--crop", "32", "--batch", "4", "--tumour", "3"]
TINY += ["--precision", "fp32", "--device", "cpu", "--no-progress"]


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory) -> Path:
    """Folder with kaggle_3m: twelve patients, three an institution, of six slices of 64 x 64."""
    root = tmp_path_factory.mktemp("phantoms")
    write_phantoms(root, PhantomSettings(patients=12, slices=6, size=64, seed=5))
    return root


@pytest.fixture(scope="session")
def train_tiny(phantoms, one_thread):
    """Calls `lgg-train train` on the phantoms, in this process, with a tiny network."""
    from lgg_train.cli import command

    def train(out: Path, *more: str) -> None:
        args = ["train", "--data", str(phantoms), "-o", str(out), *TINY, *more]
        command.main(args, standalone_mode=False)

    return train


@pytest.fixture(scope="session")
def finished_run(train_tiny, tmp_path_factory) -> Path:
    """The folder of a finished run; tests that write into it take a copy."""
    out = tmp_path_factory.mktemp("runs") / "finished"
    train_tiny(out, "--epochs", "4", "--rate", "0.01", "--validations", "2")
    return out


@pytest.fixture
def run_copy(finished_run, tmp_path) -> Path:
    """A copy of the finished run's folder, to write into."""
    return shutil.copytree(finished_run, tmp_path / "run")


@pytest.fixture
def call_main(make_caller):
    """Calls lgg-train as the shell does, see `make_caller`."""
    from lgg_train.cli import main

    return make_caller("lgg-train", main)
