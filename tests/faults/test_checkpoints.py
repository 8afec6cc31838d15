"""A training that is killed: its checkpoint is the old one or the new one, and it goes on."""

from __future__ import annotations

import csv
import itertools
import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lgg_train.checkpoint import load_checkpoint
from stand_ins.forks import Call, ForkServer
from stand_ins.tiny_training import STEPS, assert_same_weights
from stand_ins.workload import CHECKPOINT_KILLS

LAST = "last.pt"


@pytest.fixture(scope="module")
def trainer() -> Iterator[ForkServer]:
    # PyTorch imports the second to compute deterministically: seconds in each fork, if not before.
    server = ForkServer(("stand_ins.tiny_training", "torch._inductor"))
    yield server
    server.close()


def call(folder: Path, **plan: Any) -> Call:
    folder.mkdir(exist_ok=True)
    log = folder.with_suffix(".log")
    return Call("stand_ins.tiny_training:main", (str(folder),), log, folder, **plan)


@pytest.fixture
def finished(trainer: ForkServer, tmp_path: Path) -> dict[str, Any]:
    """The last checkpoint of a training that nothing happens to."""
    done = trainer.run(call(tmp_path / "undisturbed"))
    assert done.code == 0, done.said
    return load_checkpoint(tmp_path / "undisturbed" / LAST)


def steps_of(folder: Path) -> int:
    """Steps in the checkpoint, which is whole if it is there; the history is whole too."""
    if (folder / "history.csv").exists():
        with (folder / "history.csv").open(newline="") as stream:
            assert all(None not in row.values() for row in csv.DictReader(stream))
    if not (folder / LAST).exists():
        return 0
    return int(load_checkpoint(folder / LAST)["counters"]["step"])


def assert_same_numbers(folder: Path, finished: dict[str, Any]) -> None:
    held = load_checkpoint(folder / LAST)
    assert held["counters"]["step"] == finished["counters"]["step"] == STEPS
    for part in ("model", "averaged"):
        assert_same_weights(held[part], finished[part])
    assert held["mean_loss"] == finished["mean_loss"]
    assert [row["loss"] for row in held["history"]] == [r["loss"] for r in finished["history"]]


def test_kills_at_random_moments_lose_no_finished_step(
    trainer: ForkServer,
    finished: dict[str, Any],
    dice: random.Random,
    record: Callable[[str, dict[str, Any]], None],
    tmp_path: Path,
) -> None:
    undisturbed = trainer.start(call(tmp_path / "measured"))
    begun = time.perf_counter()
    assert undisturbed.wait() == 0
    longest = time.perf_counter() - begun
    kills = folders = 0
    killed_at: set[int] = set()
    while kills < CHECKPOINT_KILLS:
        folder, steps = tmp_path / f"run{folders}", 0
        folders += 1
        while kills < CHECKPOINT_KILLS:
            running = trainer.start(call(folder))
            if not running.kill_after(dice.uniform(0, longest)):
                break
            kills += 1
            assert steps_of(folder) >= steps
            steps = steps_of(folder)
            killed_at.add(steps)
        assert trainer.run(call(folder)).code == 0
        assert_same_numbers(folder, finished)
    figures = {"kills": kills, "trainings": folders, "steps_at_a_kill": sorted(killed_at)}
    record("kills_of_training", figures)


def test_a_kill_or_a_failed_write_at_each_call_to_the_file_system_keeps_a_checkpoint(
    trainer: ForkServer, finished: dict[str, Any], tmp_path: Path
) -> None:
    step = 1 if CHECKPOINT_KILLS > 50 else 47
    for kind, expected in (("kill_at", -signal.SIGKILL), ("fail_at", 1)):
        disturbed = unharmed = 0
        for number in itertools.count(2, step):
            folder = tmp_path / f"{kind}{number}"
            done = trainer.run(call(folder, **{kind: number}))
            if done.code == 0:  # nothing was to be removed, or no such call is made any more
                unharmed += 1
                if unharmed == 3:
                    break
                continue
            assert done.code == expected, done.said
            disturbed, unharmed = disturbed + 1, 0
            steps_of(folder)
            assert trainer.run(call(folder)).code == 0
            assert_same_numbers(folder, finished)
        assert disturbed > 2 * STEPS / step
