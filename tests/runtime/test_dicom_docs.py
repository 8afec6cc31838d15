"""The example for embedding runs as it stands on the page."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import pytest

from lgg_train.phantom import PhantomSettings
from lgg_train.phantom_files import write_scans
from lgg_train.phantom_scan import ScanSettings

pytest.importorskip("highdicom")
pytest.importorskip("SimpleITK")

import pydicom

from lgg_runtime.segmenter import Segmenter

PAGE = Path(__file__).parents[2] / "docs" / "dicom.md"


def test_the_example_gives_a_seg(
    tmp_path: Path,
    artifact: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(example.strip().splitlines()) <= 20
    phantoms = PhantomSettings(patients=1, slices=6, size=64)
    (folder,) = write_scans(tmp_path, "dicom", phantoms, ScanSettings())
    load = Segmenter.load
    monkeypatch.setattr(Segmenter, "load", lambda _name: load(artifact))
    names: dict[str, Any] = {}
    exec(compile(example, str(PAGE), "exec"), names)
    seg = pydicom.dcmread(io.BytesIO(names["segment_study"](folder)))
    assert seg.Modality == "SEG"
    assert "mL\n" in capsys.readouterr().out
