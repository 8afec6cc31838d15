"""What importing takes, and the tables of a cold start, of records made by hand."""

import pytest

from lgg_bench import coldstart
from lgg_bench.coldstart import CLICK, add_imports, tabulate
from lgg_bench.record import Record

REST = "model, session and the rest"
HEADER = "import time: self [us] | cumulative | imported package\n"


def test_imports_are_added_up_by_package_without_those_of_python_s_own_start():
    of_python = HEADER + (
        "import time:       300 |        300 |   _io\nimport time:      2000 |       2300 | site\n"
    )
    told = HEADER + (
        "import time:       500 |        500 |   _io\n"
        "import time:      9000 |       9500 | site\n"
        "import time:      1500 |       1500 |     numpy.core\n"
        "import time:      2500 |       4000 |   numpy\n"
        "import time:       700 |        700 |   json\n"
        "import time:       300 |        300 |   numpydoc\n"
        "import time:      4000 |       9000 | lgg_runtime.cli\n"
        "lgg-infer: import time is told here\n"
    )
    expected = {"numpy": 4.0, "other modules": 1.0, "lgg_runtime": 4.0}
    assert add_imports(told, of_python) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("rest", "told", "said"),
    [
        (-19.0, [], "the parts add up to more than the whole command"),
        (0.0, [[REST, "0"]], "The last row is what remains of the whole command"),
        (7.0, [[REST, "7"]], "The last row is what remains of the whole command"),
    ],
)
def test_a_rest_below_zero_is_left_out_and_the_note_says_why(rest, told, said):
    spread = {"median": 0.1, "low": 0.1, "high": 0.1}
    breakdown = {"Python itself": 20.0, REST: rest}
    results = {
        "artifact": "a.onnx",
        "rows": [{"command": CLICK, "seconds": spread}],
        "breakdown": {"cpu": breakdown, "openvino": breakdown},
    }
    whole, *tables = tabulate(Record("coldstart", {"rounds": 1}, {"load": 3.0}, results))
    assert "The machine was busy in the minute before the start (load 3)" in whole.notes[-1]
    assert len(tables) == 2
    for table in tables:
        assert table.rows == [["Python itself", "20"], *told]
        (note,) = table.notes
        assert said in note


def test_what_no_part_accounts_for_is_the_rest(monkeypatch):
    told = {
        True: HEADER + "import time:  4000 | 4000 | numpy\nimport time:   700 |  700 | json\n",
        False: HEADER,
    }
    monkeypatch.setattr(coldstart, "_watch", lambda command: told["infer" in command])
    stages = {"read": 0.005, "run": 0.007, "finish": 0.003}
    parts = coldstart._break_down(["python", "infer"], 0.5, 0.1, stages)
    assert parts == pytest.approx({
        "Python itself": 100, "import numpy": 4, "read the slice": 5, "run the slice": 7,
        "finish the slice": 3, REST: 381,
    })  # fmt: skip


def test_a_command_is_set_against_the_import_of_click():
    rows = [
        {"command": name, "seconds": {"low": median / 2, "median": median, "high": 2 * median}}
        for name, median in ((CLICK, 0.1), ("lgg-infer --help", 0.25))
    ]
    results = {"artifact": "a.onnx", "rows": rows, "breakdown": {}}
    (table,) = tabulate(Record("coldstart", {"rounds": 1}, {"load": 0.1}, results))
    assert table.rows == [
        [CLICK, "100 (50-200)", "1.0"],
        ["lgg-infer --help", "250 (125-500)", "2.5"],
    ]
