"""Exhausted memory: the batch is halved, the work goes on, and what fits is remembered."""

import numpy as np
import pytest

from lgg_runtime.backends.within_memory import WithinMemory
from lgg_runtime.errors import OutOfMemoryError
from lgg_runtime.golden import golden_input
from lgg_runtime.volume import Pixels, Probability
from stand_ins.artifacts import expected_probability
from stand_ins.backends import NarrowBackend


def test_a_run_that_does_not_fit_is_repeated_in_halves() -> None:
    narrow = NarrowBackend(holds=3)
    backend = WithinMemory(narrow)
    slices = golden_input((11, 16, 16, 3))

    found = backend.run(slices)

    np.testing.assert_allclose(found, expected_probability(slices), atol=1e-6)
    assert narrow.batches == [11, 5, 2, 2, 2, 2, 2, 1]
    assert backend.largest_batch == 2


def test_what_fits_is_remembered_for_later_runs() -> None:
    narrow = NarrowBackend(holds=2)
    backend = WithinMemory(narrow)
    backend.run(golden_input((4, 16, 16, 3)))
    narrow.batches.clear()
    backend.run(golden_input((5, 16, 16, 3)))
    assert narrow.batches == [2, 2, 1]


def test_what_one_thread_found_is_not_forgotten_by_another_that_began_before() -> None:
    class Shared(NarrowBackend):
        def run(self, slices: Pixels) -> Probability:
            if not self.batches:  # another thread's run comes to its end within this one
                self.batches.append(len(slices))
                backend.run(slices)
            return super().run(slices)

    narrow = Shared(holds=1)
    backend = WithinMemory(narrow)
    backend.run(golden_input((8, 16, 16, 3)))
    assert narrow.batches == [8, 8, 4, 2, *[1] * 8, 8, *[1] * 8]


def test_a_run_that_fits_is_left_alone() -> None:
    narrow = NarrowBackend(holds=8)
    backend = WithinMemory(narrow)
    backend.run(golden_input((8, 16, 16, 3)))
    assert narrow.batches == [8]
    assert backend.largest_batch is None


def test_where_not_one_slice_fits_the_memory_is_exhausted() -> None:
    backend = WithinMemory(NarrowBackend(holds=0))
    with pytest.raises(OutOfMemoryError) as error:
        backend.run(golden_input((4, 16, 16, 3)))
    assert error.value.exit_code == 7
