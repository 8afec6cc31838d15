"""Programs of DCMTK that send as other vendors' devices do."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest


def _find(name: str) -> str | None:
    """The program's path, None where it is not installed. In an active virtual environment
    pynetdicom's own program of that name comes first.
    """
    for folder in os.get_exec_path():
        found = shutil.which(name, path=folder)
        if found is not None and _says_dcmtk(found):
            return found
    return None


def _says_dcmtk(program: str) -> bool:
    said = subprocess.run([program, "--version"], check=False, capture_output=True)
    return said.stdout.startswith(b"$dcmtk:")


_STORESCU = _find("storescu")
needs_storescu = pytest.mark.skipif(_STORESCU is None, reason="needs dcmtk's storescu")


def send_by_storescu(port: int, files: Iterable[Path], *options: str) -> int:
    """Its exit code; it stops at the first failure and releases."""
    assert _STORESCU is not None
    words = [_STORESCU, *options, "-aec", "LGG-NODE", "127.0.0.1", str(port), *map(str, files)]
    return subprocess.run(words, check=False, capture_output=True).returncode
