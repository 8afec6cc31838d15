"""The names that the package offers, loaded when they are used."""

from __future__ import annotations

import subprocess
import sys

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


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'lgg_runtime' has no attribute 'Nonsense'"):
        lgg_runtime.Nonsense  # noqa: B018


def test_importing_the_package_loads_no_library() -> None:
    code = (
        "import sys, lgg_runtime\n"
        "print([m for m in ('numpy', 'cv2', 'onnxruntime', 'click') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
