"""The examples for Python run as they stand on the pages."""

from __future__ import annotations

import ast
import builtins
import io
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from lgg_runtime.segmenter import Segmenter
from lgg_train.phantom import PhantomSettings
from lgg_train.phantom_files import write_scans
from lgg_train.phantom_scan import ScanSettings

ROOT = Path(__file__).parents[2]


@pytest.fixture
def shipped(artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small model in the place of what ships."""
    load = Segmenter.load
    monkeypatch.setattr(Segmenter, "load", lambda _name, *settings: load(artifact, *settings))


def run_example(page: str) -> dict[str, Any]:
    """What the page's only example defines; it may have twenty lines."""
    text = (ROOT / page).read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(example.strip().splitlines()) <= 20
    names: dict[str, Any] = {}
    exec(compile(example, page, "exec"), names)
    return names


def test_the_readme_takes_slices_in_the_order_of_their_numbers(
    tmp_path: Path,
    shipped: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    random = np.random.default_rng(0)
    (tmp_path / "folder").mkdir()
    for number in (2, 10, 1):
        slice_ = random.integers(1, 256, (16, 16, 3), np.uint8)
        slice_[0, 0] = number
        cv2.imwrite(str(tmp_path / f"folder/p_{number}.png"), slice_)
    monkeypatch.chdir(tmp_path)
    names = run_example("README.md")
    assert names["pixels"][:, 0, 0, 0].tolist() == [1, 2, 10]
    assert names["result"].mask.shape == (3, 16, 16)
    assert capsys.readouterr().out.startswith("p ")


def test_the_page_on_dicom_gives_a_seg(
    tmp_path: Path, shipped: None, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("highdicom")
    pytest.importorskip("SimpleITK")
    import pydicom

    phantoms = PhantomSettings(patients=1, slices=6, size=64)
    (folder,) = write_scans(tmp_path, "dicom", phantoms, ScanSettings())
    segment_study = run_example("docs/dicom.md")["segment_study"]
    seg = pydicom.dcmread(io.BytesIO(segment_study(folder)))
    assert seg.Modality == "SEG"
    assert "mL\n" in capsys.readouterr().out


@pytest.mark.parametrize("page", ["README.md", "docs/contract.md", "docs/dicom.md"])
def test_an_example_imports_what_it_uses(page: str) -> None:
    """That of pandas too, which the tests do not install."""
    text = (ROOT / page).read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    nodes = list(ast.walk(ast.parse(example)))
    names = [node for node in nodes if isinstance(node, ast.Name)]
    known = {node.id for node in names if isinstance(node.ctx, ast.Store)} | set(dir(builtins))
    known |= {node.asname or node.name for node in nodes if isinstance(node, ast.alias)}
    known |= {node.arg for node in nodes if isinstance(node, ast.arg)}
    assert {node.id for node in names} <= known
