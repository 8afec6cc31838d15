"""What a program gives to the readers in place of the command: text for paths, one path, none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from lgg_runtime.errors import InputError, LggError, UsageError
from lgg_runtime.readers.nifti import read_nifti
from lgg_runtime.readers.raster import read_mask, read_raster, read_slice

PIXELS = np.arange(12, dtype=np.uint8).reshape(3, 4)


@pytest.mark.parametrize("read", [read_slice, read_mask, lambda path: read_raster(path).pixels])
def test_a_pictures_path_may_be_text(tmp_path: Path, read: Callable[[Any], np.ndarray]) -> None:
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), PIXELS)
    np.testing.assert_array_equal(read(str(path)), read(path))
    with pytest.raises(InputError, match=r"^none\.png: cannot be opened"):
        read(str(tmp_path / "none.png"))


def test_nifti_paths_may_be_text_and_come_one_by_one(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    pytest.importorskip("SimpleITK")
    values = PIXELS.astype(np.int16)[..., None]
    for role in ("t1", "flair", "t1c"):
        nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / f"p_{role}.nii")
    paths = sorted(tmp_path.iterdir())
    expected = read_nifti(paths).pixels
    np.testing.assert_array_equal(read_nifti(map(str, paths)).pixels, expected)
    np.testing.assert_array_equal(read_nifti([str(paths[0])]).pixels, read_nifti(paths[:1]).pixels)


@pytest.mark.parametrize(
    ("files", "error", "says"),
    [
        ("p_flair.nii", UsageError, "files: expected a list of paths, found one str"),
        (Path("p_flair.nii"), UsageError, "files: expected a list of paths, found one PosixPath"),
        ([], InputError, "no NIfTI file in it"),
    ],
)
def test_one_nifti_path_in_place_of_a_list_and_an_empty_list_are_refused(
    files: Any, error: type[LggError], says: str
) -> None:
    with pytest.raises(error, match=f"^{says}$"):
        read_nifti(files)
