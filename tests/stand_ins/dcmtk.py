"""Programs of DCMTK that send as other vendors' devices do."""

from __future__ import annotations

import os
import shutil
import subprocess


def find_dcmtk(name: str) -> str | None:
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
