"""The pictures that are no brain MRI: every kind, the same for the same seed."""

from __future__ import annotations

import numpy as np

from lgg_bench.non_brain import KINDS, draw_non_brain


def test_each_kind_is_drawn_as_often_as_asked_and_no_two_are_alike() -> None:
    drawn = list(draw_non_brain(2, size=64, seed=3))
    assert [kind for kind, _ in drawn] == [kind for kind in KINDS for _ in range(2)]
    for kind, pixels in drawn:
        assert (pixels.shape, pixels.dtype) == ((64, 64, 3), np.uint8), kind
    assert len({pixels.tobytes() for _, pixels in drawn}) == len(drawn)


def test_a_seed_names_the_pictures() -> None:
    first, again, other = (
        [pixels.tobytes() for _, pixels in draw_non_brain(1, size=48, seed=seed)]
        for seed in (1, 1, 2)
    )
    assert first == again
    assert not set(first) & set(other)
