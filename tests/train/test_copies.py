"""Slices that stand twice: found however they are turned, and only where they are one picture."""

import numpy as np
import pytest

from lgg_runtime.volume import Volume
from lgg_train.copies import find_copies


def volume_of(*slices):
    return Volume(np.stack(slices), tuple(str(number) for number in range(1, len(slices) + 1)))


def draw(seed, shape=(12, 12, 3)):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s,
        lambda s: s[:, ::-1],
        lambda s: s[::-1],
        lambda s: s[::-1, ::-1],
        lambda s: s.swapaxes(0, 1),
        np.rot90,
        lambda s: np.rot90(s, -1),
        lambda s: s[::-1, ::-1].swapaxes(0, 1),
    ],
)
def test_a_slice_of_another_patient_is_found_however_it_is_turned(change):
    volumes = [("A", volume_of(draw(0), draw(1))), ("B", volume_of(draw(2), change(draw(1))))]
    assert find_copies(volumes) == {("A", "B"): [(("A", "2"), ("B", "2"))]}


@pytest.mark.parametrize("shape", [(12, 12, 3), (10, 14, 3)])
def test_slices_with_as_many_pixels_of_each_value_are_no_copies(shape):
    one = draw(0, shape)
    other = np.random.default_rng(1).permutation(one.reshape(-1)).reshape(shape)
    assert find_copies([("A", volume_of(one)), ("B", volume_of(other))]) == {}


@pytest.mark.parametrize("lit", [0, 9])
def test_slices_without_a_head_are_no_copies_though_a_letter_is_burnt_in(lit):
    empty = np.zeros((32, 32, 3), np.uint8)
    empty[2, 2 : 2 + lit] = 255
    assert find_copies([(name, volume_of(empty)) for name in "AB"]) == {}
    empty[9:13, 9:13] = 100  # the top of a head
    assert find_copies([(name, volume_of(empty)) for name in "AB"]).keys() == {("A", "B")}


def test_every_copy_is_one_of_the_first():
    pixels = draw(0)
    (found,) = find_copies([("A", volume_of(pixels, draw(1), pixels, pixels))]).values()
    assert [(first.name, copy.name) for first, copy in found] == [("1", "3"), ("1", "4")]
