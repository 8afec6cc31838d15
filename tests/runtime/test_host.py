"""What a host program set for itself does not change what is found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lgg_runtime.loading import LoadSettings
from lgg_runtime.segmenter import Segmenter
from lgg_runtime.volume import Volume
from stand_ins.runs import LESION


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("spacing_mm", [None, (5.0, 0.5, 0.6)])
def test_values_that_round_to_0_are_0_where_numpy_raises_at_every_error(
    artifact: Path,
    draw_slice: Callable[..., np.ndarray],
    kind: type,
    spacing_mm: tuple[float, float, float] | None,
) -> None:
    pixels = draw_slice(LESION)[None].astype(kind)
    pixels[:, :4] = np.finfo(kind).smallest_subnormal  # as the tails of a smoothed picture
    volume = Volume(pixels, spacing_mm=spacing_mm)
    segmenter = Segmenter.load(artifact, LoadSettings(threads=1))
    expected = segmenter.segment(volume)
    with np.errstate(all="raise"):
        found = segmenter.segment(volume)
    assert expected.tumour_present
    np.testing.assert_array_equal(found.mask, expected.mask)
