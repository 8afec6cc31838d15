"""Which errors mean that the memory ended, and what becomes of them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from lgg_runtime.errors import OutOfMemoryError
from lgg_runtime.exhausted import is_memory_exhausted, telling_exhausted_memory

PICTURE = np.zeros((2, 2), np.uint8)


def test_opencv_s_exhausted_memory_is_told_from_its_other_errors() -> None:
    with pytest.raises(cv2.error) as too_large:
        cv2.resize(PICTURE, (2**31 - 1, 2**22))  # 8 PiB
    with pytest.raises(cv2.error) as wrong:
        cv2.resize(PICTURE, (0, 0))
    assert is_memory_exhausted(too_large.value)
    assert not is_memory_exhausted(wrong.value)
    assert not is_memory_exhausted(ValueError("(-4: of another"))


def test_exhausted_memory_is_an_error_of_one_line_and_others_stay_as_they_are() -> None:
    with pytest.raises(OutOfMemoryError) as told, telling_exhausted_memory():
        cv2.resize(PICTURE, (2**31 - 1, 2**22))
    assert str(told.value) == "memory exhausted; give fewer or smaller slices"
    with pytest.raises(OutOfMemoryError), telling_exhausted_memory():
        np.empty(2**60, np.uint8)
    with pytest.raises(cv2.error), telling_exhausted_memory():
        cv2.resize(PICTURE, (0, 0))
