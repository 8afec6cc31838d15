"""Colours of the accuracy page's pictures."""

from itertools import combinations

import pytest
from matplotlib.colors import to_rgb

from lgg_bench.accuracy_figures import COLOURS
from stand_ins.eyes import EYES, differ


@pytest.mark.parametrize("eyes", EYES)
def test_no_two_colours_look_alike(eyes):
    for one, other in combinations(COLOURS, 2):
        assert differ(to_rgb(one), to_rgb(other), eyes) > 20, (one, other)
