"""Real slices as a DICOM study give the masks that they give as TIFF, pixel for pixel.

Where the public dataset lies in data/lgg; a patient that the model was trained on, because here
only the two paths are compared.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from lgg_train.phantom_files import write_dicom
from lgg_train.phantom_scan import ScanSettings, place_scan

highdicom = pytest.importorskip("highdicom")
tifffile = pytest.importorskip("tifffile")
pytest.importorskip("SimpleITK")

ROOT = Path(__file__).parents[2]
DATA = ROOT / "data" / "lgg" / "kaggle_3m"


def number_of(path: Path) -> int:
    return int(path.name.split("_")[4].split(".")[0])


@pytest.fixture(scope="module")
def patient() -> Path:
    """The folder of the training patient with the fewest slices."""
    split = json.loads((ROOT / "train/shipped/standard/split.json").read_text(encoding="utf-8"))
    sizes = {name: len(slices) for name, slices in split["parts"]["train"].items()}
    folder = DATA / min(sizes, key=lambda name: (sizes[name], name))
    if not folder.is_dir():
        pytest.skip("the public dataset is not in data/lgg")
    return folder


@pytest.mark.parametrize("way", [ScanSettings(), ScanSettings("mirrored", reversed=True)], ids=str)
def test_dicom_and_tiff_of_a_real_patient_give_the_same_masks(
    tmp_path: Path, patient: Path, way: ScanSettings, call_infer: Callable[..., SimpleNamespace]
) -> None:
    files = [path for path in patient.glob("*.tif") if not path.stem.endswith("_mask")]
    pixels = np.stack([tifffile.imread(path) for path in sorted(files, key=number_of)])
    scan = place_scan(pixels, np.zeros(pixels.shape[:3], bool), way)
    write_dicom(tmp_path / "study", scan, 0, way)
    assert call_infer(patient, "-o", tmp_path / "tiff").code == 0
    seg = call_infer(tmp_path / "study", "-o", tmp_path / "dicom", "-ot", "dicom-seg")
    assert seg.code == 0

    pictures = sorted((tmp_path / "tiff").rglob("*_mask.png"), key=number_of)
    expected = np.stack([cv2.imread(str(path), cv2.IMREAD_UNCHANGED) > 0 for path in pictures])
    assert expected.any()
    (path,) = (tmp_path / "dicom").rglob("*_seg.dcm")
    read = highdicom.seg.segread(path).get_volume(combine_segments=True)
    # From the SEG's voxels through the world to those of the slices that were scanned.
    world = np.argwhere(read.array) @ read.affine[:3, :3].T + read.affine[:3, 3]
    axial = place_scan(pixels, np.zeros(pixels.shape[:3], bool), ScanSettings()).affine
    voxels = (world - axial[:3, 3]) @ np.linalg.inv(axial[:3, :3]).T
    assert np.abs(voxels - voxels.round()).max() < 0.01
    found = np.zeros_like(expected)
    found[tuple(voxels.round().astype(int).T)] = True
    np.testing.assert_array_equal(found, expected)
