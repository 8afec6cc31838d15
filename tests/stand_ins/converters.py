"""Other people's programs that read and check written DICOM objects."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

HAS_DCIODVFY = shutil.which("dciodvfy") is not None
with_dciodvfy = pytest.mark.skipif(not HAS_DCIODVFY, reason="dicom3tools is not installed")


def convert_by_dcmqi(seg: Path, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """The values (S, H, W) of a SEG's file and their affine; folder: for what is between."""
    import SimpleITK

    pytest.importorskip("dcmqi", reason="dcmqi is not installed")
    tool = Path(sys.executable).with_name("segimage2itkimage")
    subprocess.run(
        [tool, "--inputDICOM", seg, "--outputDirectory", folder, "-t", "nrrd", "-p", "x"],
        check=True,
        capture_output=True,
    )
    image = SimpleITK.ReadImage(str(folder / "x-1.nrrd"))
    axes = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = axes[:, ::-1], image.GetOrigin()
    return SimpleITK.GetArrayFromImage(image), affine


def check_by(program: str, *files: Path) -> None:
    """dciodvfy for one object, dcentvfy for several together; an error of theirs fails the test."""
    done = subprocess.run([program, *files], capture_output=True, check=False)
    assert b"Error" not in done.stdout + done.stderr
