"""The chart of areas: heights in the drawing's units, worked out by hand."""

from __future__ import annotations

import re

import pytest

from lgg_runtime.metrics import Counts
from lgg_runtime.run.area_chart import draw_areas
from lgg_runtime.run.page import _STYLE
from lgg_runtime.run.summary import SummaryRow


def row(area: int, counts: Counts | None = None, name: str = "s") -> SummaryRow:
    return SummaryRow("slice", "p", name, area > 0, area, None, area, None, 0.5, None, None, counts)


def bars(drawing: str) -> list[tuple[float, ...]]:
    """x, y, width and height of each bar."""
    found = re.findall(r'<rect x="(.*?)" y="(.*?)" width="(.*?)" height="(.*?)"/>', drawing)
    return [tuple(map(float, each)) for each in found]


def test_bars_stand_from_left_to_right_and_the_largest_area_is_as_high_as_the_drawing() -> None:
    drawing, top = draw_areas([row(0), row(50), row(200), row(100)])
    assert top == 200
    assert bars(drawing) == [
        (16, 100, 128, 0), (176, 75, 128, 25), (336, 0, 128, 100), (496, 50, 128, 50),
    ]  # fmt: skip
    assert 'class="reference"' not in drawing


def test_a_reference_is_a_line_at_its_area_and_none_where_it_is_not_known() -> None:
    drawing, top = draw_areas([row(500, Counts(tp=300, fp=200, fn=3700, tn=0)), row(10)])
    assert top == 4000
    assert re.findall(r'class="reference" d="(.*?)"', drawing) == ["M0.0 0.0h320.0"]
    assert "500 pixels, reference 4000<" in drawing and "10 pixels<" in drawing
    assert bars(drawing)[0][3] == 12.5


@pytest.mark.parametrize("area", [0, 1])
def test_a_lone_slice_without_or_with_one_pixel_has_a_chart(area: int) -> None:
    drawing, top = draw_areas([row(area)])
    assert (top, bars(drawing)[0][3]) == (1, 100 * area)


def test_a_slice_takes_the_mouse_over_its_whole_height_whether_it_is_marked_or_not() -> None:
    drawing, _ = draw_areas([row(0), row(50)])
    zones = re.findall(r'<path class="slice" d="(.*?)"/>', drawing)
    assert zones == ["M0.0 0h320.0V100h-320.0z", "M320.0 0h320.0V100h-320.0z"]
    # SVG 2, 15.6: a shape without a fill lets the mouse through.
    assert ".slice { fill: transparent }" in _STYLE and "path {" not in _STYLE


def test_a_name_is_no_markup() -> None:
    assert "<title>&lt;b&gt;: 1 pixel</title>" in draw_areas([row(1, name="<b>")])[0]
