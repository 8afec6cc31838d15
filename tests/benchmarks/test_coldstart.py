"""The tables of a cold start, of records made by hand."""

import pytest

from lgg_bench.coldstart import CLICK, tabulate
from lgg_bench.record import Record

REST = "model, session and the rest"


@pytest.mark.parametrize(
    ("rest", "told"), [(-19.0, []), (0.0, [[REST, "0"]]), (7.0, [[REST, "7"]])]
)
def test_a_rest_below_zero_is_left_out_and_the_note_says_why(rest, told):
    spread = {"median": 0.1, "low": 0.1, "high": 0.1}
    breakdown = {"Python itself": 20.0, REST: rest}
    results = {
        "artifact": "a.onnx",
        "rows": [{"command": CLICK, "seconds": spread}],
        "breakdown": {"cpu": breakdown, "openvino": breakdown},
    }
    _, *tables = tabulate(Record("coldstart", {"rounds": 1}, {}, results))
    assert len(tables) == 2
    for table in tables:
        assert table.rows == [["Python itself", "20"], *told]
        (note,) = table.notes
        assert "may add up to more than the whole" in note
