"""The example for Python runs as it stands in the README."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from lgg_runtime.segmenter import Segmenter

PAGE = Path(__file__).parents[2] / "README.md"


def test_the_example_takes_slices_in_the_order_of_their_numbers(
    tmp_path: Path,
    artifact: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    random = np.random.default_rng(0)
    (tmp_path / "folder").mkdir()
    for number in (2, 10, 1):
        slice_ = random.integers(1, 256, (16, 16, 3), np.uint8)
        slice_[0, 0] = number
        cv2.imwrite(str(tmp_path / f"folder/p_{number}.png"), slice_)
    load = Segmenter.load
    monkeypatch.setattr(Segmenter, "load", lambda _name, settings: load(artifact, settings))
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(compile(example, str(PAGE), "exec"), names)
    assert names["pixels"][:, 0, 0, 0].tolist() == [1, 2, 10]
    assert names["result"].mask.shape == (3, 16, 16)
    assert capsys.readouterr().out.startswith("p ")
