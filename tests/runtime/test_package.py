"""The names that the package offers, loaded when they are used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import lgg_runtime
from lgg_runtime.segmenter import Segmenter
from lgg_runtime.volume import Volume


@pytest.mark.parametrize("name", lgg_runtime.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(lgg_runtime, name).__name__ == name


def test_public_names_are_those_of_their_modules() -> None:
    assert lgg_runtime.Segmenter is Segmenter
    assert lgg_runtime.Volume is Volume
    assert all(getattr(lgg_runtime, name).__name__ == name for name in lgg_runtime.__all__)


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'lgg_runtime' has no attribute 'Nonsense'"):
        lgg_runtime.Nonsense  # noqa: B018


def test_public_names_are_listed_before_they_are_used() -> None:
    code = "import lgg_runtime; print(set(lgg_runtime.__all__) <= set(dir(lgg_runtime)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"


def test_a_type_checker_is_told_of_a_name_that_is_not_there(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text("from lgg_runtime import Volume, Nonsense\n")
    command = [sys.executable, "-m", "mypy", "--config-file=", f"--cache-dir={tmp_path}", program]
    # Beside the program mypy finds the package in a checkout and in an installation alike.
    (tmp_path / "lgg_runtime").symlink_to(Path(lgg_runtime.__file__).parent)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert 'has no attribute "Nonsense"' in done.stdout
    assert "Volume" not in done.stdout


def test_importing_the_package_loads_no_library() -> None:
    code = (
        "import sys, lgg_runtime\n"
        "print([m for m in ('numpy', 'cv2', 'onnxruntime', 'click') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
