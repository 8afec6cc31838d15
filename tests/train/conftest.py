"""What the tests of training share: one finished tiny run, a command to call."""

from pathlib import Path

import pytest

from stand_ins.run_folder import BRIEF, TINY


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
    train_tiny(out, *BRIEF)
    return out


@pytest.fixture
def call_main(make_caller):
    """Calls lgg-train as the shell does, see `make_caller`."""
    from lgg_train.cli import main

    return make_caller("lgg-train", main)
