"""The numbers over time: a row a validation, whole after every one, and TensorBoard's copy."""

import csv
import sys

import pytest

from lgg_runtime.errors import MissingExtraError
from lgg_train.history import History


def read_rows(folder):
    with (folder / "history.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_the_file_is_whole_after_every_row(tmp_path):
    history = History(tmp_path, [], tensorboard=False)
    history.add(4, 90.0, 0.75, 0.001, {"dice_mean": 0.5})
    first = {"step": "4", "minutes": "1.5", "loss": "0.75", "rate": "0.001", "dice_mean": "0.5"}
    assert read_rows(tmp_path) == [first]
    history.add(8, 120.0, 0.5, 0.0005, {"dice_mean": 0.625})
    assert read_rows(tmp_path)[0] == first
    assert read_rows(tmp_path)[1]["dice_mean"] == "0.625"
    history.close()
    assert [row["step"] for row in history.rows] == [4, 8]


def test_a_resumed_history_begins_with_the_checkpoint_s_rows_and_drops_later_ones(tmp_path):
    history = History(tmp_path, [], tensorboard=False)
    for step in (4, 8):
        history.add(step, 60.0, 1.0, 0.001, {"f1": 0.5})
    resumed = History(tmp_path, history.rows[:1], tensorboard=False)
    resumed.add(6, 60.0, 0.5, 0.001, {"f1": 0.75})
    assert [(row["step"], row["f1"]) for row in read_rows(tmp_path)] == [
        ("4", "0.5"),
        ("6", "0.75"),
    ]
    assert len(history.rows) == 2, "its own copy"


def test_tensorboard_events_are_written_when_asked_for(tmp_path):
    pytest.importorskip("tensorboard")
    history = History(tmp_path, [], tensorboard=True)
    history.add(4, 60.0, 1.0, 0.001, {"dice_mean": 0.5})
    history.close()
    (events,) = (tmp_path / "tensorboard").iterdir()
    assert b"dice_mean" in events.read_bytes()


def test_tensorboard_that_is_not_installed_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'lgg-edge\[tensorboard\]'"):
        History(tmp_path, [], tensorboard=True)
