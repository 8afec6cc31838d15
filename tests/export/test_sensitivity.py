"""Which layers stay in float: the fewest, the worst first, and not without end."""

from types import SimpleNamespace

import pytest

from lgg_export.parity import Limits
from lgg_export.sensitivity import keep_sensitive, rank_layers
from lgg_runtime.errors import ParityError

LAYERS = ("first", "second", "third", "last")
# Pixels that each layer flips where it is in int8; they add up.
FLIPS = {"first": 1, "second": 8, "third": 0, "last": 4}


class StandInBuilder:
    """The "graph" is what is left in float."""

    layers = LAYERS

    def __init__(self):
        self.built = []

    def build(self, kept):
        self.built.append(kept)
        return kept


def judge(kept):
    """Fails where more is flipped than allowed."""
    flipped = sum(flips for name, flips in FLIPS.items() if name not in kept)

    def failures(limits):
        return [f"{flipped} flipped"] if flipped > limits.flipped else []

    return SimpleNamespace(flipped_pixels=flipped, failures=failures)


@pytest.mark.parametrize(
    ("allowed", "kept"),
    [
        (26, ()),
        (24, ("second",)),
        (10, ("second",)),
        (8, ("second", "last")),
        (1, ("second", "last")),
    ],
)
def test_the_worst_layers_go_back_to_float_until_half_of_the_limits_suffices(allowed, kept):
    assert keep_sensitive(StandInBuilder(), judge, judge, Limits(flipped=allowed)) == kept


def test_layers_are_not_ranked_where_all_may_be_in_int8():
    builder = StandInBuilder()
    keep_sensitive(builder, judge, judge, Limits(flipped=26))
    assert builder.built == [()]


def test_whole_patients_judge_the_graph_and_a_few_slices_rank_the_layers():
    asked = {"whole": 0, "quick": 0}

    def counting(name):
        def count_and_judge(kept):
            asked[name] += 1
            return judge(kept)

        return count_and_judge

    limits = Limits(flipped=8)
    keep_sensitive(StandInBuilder(), counting("whole"), counting("quick"), limits)
    assert asked == {"whole": 3, "quick": len(LAYERS)}, "with none, one and two layers in float"


def test_each_layer_is_ranked_alone_in_int8():
    builder = StandInBuilder()
    assert rank_layers(builder, judge) == ["second", "last", "first", "third"]
    assert builder.built[1] == ("first", "third", "last")


def test_half_of_the_layers_in_float_is_where_it_ends():
    with pytest.raises(ParityError, match="2 of 4 layers in float, still 1 flipped; train longer"):
        keep_sensitive(StandInBuilder(), judge, judge, Limits(flipped=0))
