"""What a host program set for itself does not change what is found."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lgg_runtime.intensity import bright_levels
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


def test_threads_that_prepare_at_once_keep_the_numpy_settings_of_their_own(
    artifact: Path, draw_slice: Callable[..., np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded, pixels = Segmenter.load(artifact, LoadSettings(threads=1)), draw_slice(LESION)
    began, ended, kept = threading.Event(), threading.Event(), {}

    def look(*given: Any) -> Any:
        if threading.current_thread().name == "raise":
            began.set()
            assert ended.wait(20)
        return bright_levels(*given)

    def prepare() -> None:
        name = threading.current_thread().name
        with np.errstate(all=name):
            loaded.prepare(pixels)
            kept[name] = np.geterr()["under"]

    monkeypatch.setattr("lgg_runtime.segmenter.bright_levels", look)
    first, second = (threading.Thread(target=prepare, name=name) for name in ("raise", "warn"))
    first.start()
    assert began.wait(20)
    second.start()
    second.join(20)
    ended.set()
    first.join(20)
    assert kept == {"raise": "raise", "warn": "warn"}
