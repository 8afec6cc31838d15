"""The slices that speed is measured with."""

import numpy as np

from lgg_bench.slices import DRAWN, phantom_slices
from lgg_runtime.intensity import IntensitySettings, normalise
from lgg_train.phantom import PhantomSettings, make_phantom


def test_slices_hold_a_head_and_not_noise_or_nothing():
    slices = phantom_slices(3, 48)
    assert (slices.shape, slices.dtype) == ((3, 48, 48, 3), np.uint8)
    assert slices.flags.c_contiguous
    assert all(len(np.unique(image)) > 50 for image in slices)
    centre, corner = slices[:, 16:32, 16:32].mean(), slices[:, :4, :4].mean()
    assert centre > corner + 40


def test_more_than_are_drawn_repeat_in_order():
    slices = phantom_slices(DRAWN + 2, 48)
    np.testing.assert_array_equal(slices[DRAWN:], slices[:2])
    assert (slices[0] != slices[1]).any()


def test_fewer_are_the_middle_ones():
    every = phantom_slices(DRAWN, 48)
    np.testing.assert_array_equal(phantom_slices(2, 48), every[11:13])


def test_slices_are_normalised_as_the_runtime_does():
    pixels, _ = make_phantom(0, PhantomSettings(1, DRAWN, 48))
    expected = normalise(pixels, IntensitySettings())
    assert (expected != pixels).any()
    np.testing.assert_array_equal(phantom_slices(DRAWN, 48), expected)
