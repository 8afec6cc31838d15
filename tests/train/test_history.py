"""The numbers over time: a row a validation, whole after every one, and TensorBoard's copy."""

import csv
import sys
import threading
from functools import partial

import pytest

from lgg_runtime.errors import InputError, MissingExtraError, ResourceError
from lgg_train.history import History, carry_rounds, read_history, read_rounds


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


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_events_that_the_disk_refuses_are_told_as_every_other_file_s(tmp_path):
    """TensorBoard's thread writes them, and the next call says what it met."""
    pytest.importorskip("tensorboard")
    before = set(threading.enumerate())
    history = History(tmp_path, [], tensorboard=True)
    (tmp_path / "tensorboard").rename(tmp_path / "gone")
    for call in (history.close, partial(history.add, 4, 60.0, 1.0, 0.001, {"dice_mean": 0.5})):
        with pytest.raises(ResourceError, match=r"^tensorboard: cannot be written: No such file"):
            call()
    for thread in set(threading.enumerate()) - before:
        thread.join()  # else it may end within another test, which its error would fail


def test_tensorboard_shows_a_step_that_was_taken_again_once(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    rows = []
    for steps in ((4, 8), (8, 12)):
        history = History(tmp_path, rows, tensorboard=True)
        for step in steps:
            history.add(step, 60.0, 1.0, 0.001, {"dice_mean": step / 100})
        history.close()
        rows = rows or history.rows[:1]
    shown = accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    shown.Reload()
    assert [event.step for event in shown.Scalars("dice_mean")] == [4, 8, 12]


def test_tensorboard_that_is_not_installed_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'lgg-edge\[tensorboard\]'"):
        History(tmp_path, [], tensorboard=True)


def keep(folder, *rows):
    folder.mkdir()
    history = History(folder, [], tensorboard=False)
    for step, minutes, scores in rows:
        history.add(step, 60.0 * minutes, 0.5, 0.001, scores)


def test_rounds_go_on_where_the_one_before_ended(tmp_path):
    keep(tmp_path / "a", (10, 1, {"f1": 0.25}), (20, 2, {"f1": 0.5}))
    keep(tmp_path / "b", (30, 4, {"f1": 0.75}))
    keep(tmp_path / "c", (5, 1, {"f1": 1.0}))
    carry_rounds(read_rounds(tmp_path / "a"), tmp_path / "b")
    carry_rounds(read_rounds(tmp_path / "b"), tmp_path / "c")
    rounds = [
        [(row["step"], row["minutes"], row["f1"]) for row in rows]
        for rows in read_rounds(tmp_path / "c")
    ]
    assert rounds == [[(10, 1, 0.25), (20, 2, 0.5)], [(50, 6, 0.75)], [(55, 7, 1.0)]]
    assert [row["step"] for row in read_history(tmp_path / "c")] == [5], "its own alone"


def test_a_round_that_validates_nothing_keeps_what_it_has(tmp_path):
    keep(tmp_path / "split", (10, 1, {"f1": 0.25}))
    keep(tmp_path / "all", (20, 2, {}))
    keep(tmp_path / "on", (30, 3, {}))
    carry_rounds(read_rounds(tmp_path / "split"), tmp_path / "all")
    carry_rounds(read_rounds(tmp_path / "all"), tmp_path / "on")
    first, second, third = read_rounds(tmp_path / "on")
    assert ([row.get("f1") for row in first], second[0].get("f1")) == ([0.25], None)
    assert (second[0]["step"], third[0]["step"]) == (30, 60)


def test_a_history_that_is_no_table_of_numbers_is_named(tmp_path):
    (tmp_path / "history.csv").write_text("step,minutes\n10,soon\n")
    with pytest.raises(InputError, match=r"history\.csv: no table of numbers \(could not convert"):
        read_rounds(tmp_path)
    (tmp_path / "history.csv").write_text(f"step,minutes\n10,{'5' * 200_000}\n")
    with pytest.raises(InputError, match=r"history\.csv: no table of numbers \(field larger"):
        read_rounds(tmp_path)


def test_a_history_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "history.csv").symlink_to("/proc/self/mem")
    with pytest.raises(InputError, match=r"history\.csv: cannot be read \(Input/output error\)$"):
        read_rounds(tmp_path)


def test_a_history_that_the_disk_does_not_give_a_look_at_is_named(tmp_path):
    (tmp_path / "history.csv").symlink_to("n" * 300)
    with pytest.raises(InputError, match=f"{tmp_path}: cannot be read \\(File name too long"):
        read_rounds(tmp_path)


def test_earlier_rounds_are_told_apart_whatever_number_they_begin_with(tmp_path):
    (tmp_path / "earlier.csv").write_text("round,step,minutes\n0,10,1\n0,20,2\n1,30,3\n")
    rounds = [[row["step"] for row in rows] for rows in read_rounds(tmp_path)]
    assert rounds == [[10, 20], [30], []]


def test_a_folder_without_a_history_has_no_rows(tmp_path):
    assert read_history(tmp_path) == []
    assert read_rounds(tmp_path) == [[]]


@pytest.mark.parametrize("column", ["step", "minutes"])
def test_a_history_without_a_column_that_is_counted_on_is_named(tmp_path, column):
    keep(tmp_path / "a", (10, 1, {"f1": 0.25}))
    path = tmp_path / "a" / "history.csv"
    path.write_text(path.read_text().replace(column, "other", 1))
    with pytest.raises(InputError, match=rf"history\.csv: a row has no {column}$"):
        read_rounds(tmp_path / "a")


def test_earlier_rows_without_their_round_are_named(tmp_path):
    keep(tmp_path / "a", (10, 1, {"f1": 0.25}))
    (tmp_path / "a" / "earlier.csv").write_text("step,minutes\n1,1\n")
    with pytest.raises(InputError, match=r"earlier\.csv: a row has no round$"):
        read_rounds(tmp_path / "a")


@pytest.mark.parametrize("value", ["nan", "inf", "1e400"])
def test_a_history_of_a_number_that_no_picture_shows_is_named(tmp_path, value):
    (tmp_path / "history.csv").write_text(f"step,minutes,loss\n1,2,{value}\n")
    with pytest.raises(InputError, match=rf"history\.csv: no table of numbers \({value} is no"):
        read_history(tmp_path)
