"""The probability as a fractional SEG, read back with other people's readers."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from lgg_train.phantom import PhantomSettings
from lgg_train.phantom_files import write_dicom
from lgg_train.phantom_scan import ScanSettings, make_scan

pytest.importorskip("highdicom")
pytest.importorskip("SimpleITK")

import pydicom

from lgg_runtime.readers.dicom import read_dicom
from lgg_runtime.writers.dicom_seg import encode_dicom_seg, encode_dicom_seg_fractional
from lgg_runtime.writers.scan import ScanResult
from stand_ins.converters import check_by, convert_by_dcmqi, with_dciodvfy
from stand_ins.results import found_in

HALF_STEP = 0.5 / 255 + 1e-6


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> ScanResult:
    """An oblique phantom, reversed, with probabilities of every height and empty slices."""
    way = ScanSettings("oblique", anisotropic=True, reversed=True)
    scan = make_scan(0, PhantomSettings(patients=1, slices=8, size=48, seed=5), way)
    folder = tmp_path_factory.mktemp("fractional")
    write_dicom(folder, scan, 0, way)
    volume = read_dicom(sorted(folder.iterdir()))
    height = np.random.default_rng(8).random(scan.mask.shape, np.float32)
    probability = np.where(scan.mask, height, np.float32(0))
    return found_in(volume, probability)


def encode(result: ScanResult) -> bytes:
    return encode_dicom_seg_fractional(result)["seg_fractional.dcm"]


def by_position(values: np.ndarray, affine: np.ndarray) -> dict[tuple[float, ...], np.ndarray]:
    """Slices that are not empty by where they begin, in mm."""
    starts = affine[:3, 0] * np.arange(len(values))[:, None] + affine[:3, 3]
    pairs = zip(starts.round(2).tolist(), values, strict=True)
    return {tuple(start): plane for start, plane in pairs if plane.any()}


def test_highdicom_reads_every_probability_in_its_place(result: ScanResult) -> None:
    import highdicom

    seg = highdicom.seg.segread(io.BytesIO(encode(result)))
    assert seg.segmentation_fractional_type.value == "PROBABILITY"
    read = seg.get_volume(combine_segments=False)
    found = by_position(read.array[..., 0], read.affine)
    assert result.volume.affine is not None
    expected = by_position(result.segmentation.probability, result.volume.affine)
    assert found.keys() == expected.keys() and len(found) > 1
    for start, plane in expected.items():
        assert np.abs(found[start] - plane).max() <= HALF_STEP


def test_dcmqi_reads_the_same_steps(result: ScanResult, tmp_path: Path) -> None:
    (tmp_path / "seg.dcm").write_bytes(encode(result))
    found = by_position(*convert_by_dcmqi(tmp_path / "seg.dcm", tmp_path))
    expected = by_position(result.segmentation.probability, result.volume.affine)
    ends = [np.array(list(planes)) for planes in (found, expected)]
    order = [np.argsort(starts[:, 2]) for starts in ends]
    np.testing.assert_allclose(ends[0][order[0]], ends[1][order[1]], atol=0.02)
    for a, b in zip(order[0], order[1], strict=True):
        apart = list(found.values())[a] / 255 - list(expected.values())[b]
        assert np.abs(apart).max() <= HALF_STEP


@pytest.mark.parametrize("encode_kind", [encode_dicom_seg, encode_dicom_seg_fractional])
def test_itk_finds_two_findings_with_empty_slices_between_in_their_places(
    result: ScanResult, tmp_path: Path, encode_kind: Callable[[ScanResult], dict[str, bytes]]
) -> None:
    """It takes frames for neighbours of 1 mm voxels where one of their positions is left out."""
    import SimpleITK

    apart = np.zeros_like(result.segmentation.probability)
    apart[1, 8:20, 10:30], apart[4:6, 30:40, 5:15] = 1, 1
    (data,) = encode_kind(found_in(result.volume, apart)).values()
    (tmp_path / "seg.dcm").write_bytes(data)
    image = SimpleITK.ReadImage(str(tmp_path / "seg.dcm"))
    axes = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    found = np.argwhere(SimpleITK.GetArrayFromImage(image))[:, ::-1] @ axes.T
    assert result.volume.affine is not None
    expected = np.argwhere(apart) @ result.volume.affine[:3, :3].T
    centre = expected.mean(axis=0) + result.volume.affine[:3, 3]
    np.testing.assert_allclose(found.mean(axis=0) + image.GetOrigin(), centre, atol=0.02)
    assert len(found) == len(expected)
    assert len(pydicom.dcmread(tmp_path / "seg.dcm").PerFrameFunctionalGroupsSequence) == 5


@with_dciodvfy
@pytest.mark.parametrize("empty", [False, True])
def test_dciodvfy_finds_no_error(result: ScanResult, tmp_path: Path, empty: bool) -> None:
    if empty:
        nothing = np.zeros_like(result.segmentation.probability)
        found = replace(result.segmentation, mask=nothing > 0, probability=nothing)
        result = replace(result, segmentation=found)
    (tmp_path / "seg.dcm").write_bytes(encode(result))
    check_by("dciodvfy", tmp_path / "seg.dcm")


def test_the_same_probability_is_the_same_object_and_another_is_another(
    result: ScanResult,
) -> None:
    assert encode(result) == encode(result)
    other = result.segmentation.probability * np.float32(0.9)
    changed = replace(result, segmentation=replace(result.segmentation, probability=other))
    files = (encode(result), encode(changed), encode_dicom_seg(result)["seg.dcm"])
    headers = [pydicom.dcmread(io.BytesIO(data)) for data in files]
    assert len({header.SOPInstanceUID for header in headers}) == 3
    assert len({header.SeriesInstanceUID for header in headers}) == 3


@with_dciodvfy
def test_a_doubt_is_told_within_the_length_of_a_description(
    result: ScanResult, tmp_path: Path
) -> None:
    doubted = replace(result.segmentation, doubts=("dark",))
    (tmp_path / "seg.dcm").write_bytes(encode(replace(result, segmentation=doubted)))
    check_by("dciodvfy", tmp_path / "seg.dcm")
    told = "No brain MRI? FLAIR abnormality: probability - research use only"
    made = pydicom.dcmread(tmp_path / "seg.dcm")
    assert made.SeriesDescription == made.ContentDescription == told


def test_the_command_writes_it_beside_the_mask(
    tmp_path: Path, artifact: Path, call_infer: Callable[..., SimpleNamespace]
) -> None:
    way = ScanSettings()
    scan = make_scan(0, PhantomSettings(patients=1, slices=4, size=48, seed=5), way)
    write_dicom(tmp_path / "study", scan, 0, way)
    kinds = ("-ot", "dicom-seg-fractional", "-ot", "dicom-seg")
    done = call_infer(tmp_path / "study", "-o", tmp_path / "out", "-m", artifact, *kinds)
    assert done.code == 0
    names = [path.name for path in (tmp_path / "out").rglob("*.dcm")]
    assert sorted(names) == ["study_seg.dcm", "study_seg_fractional.dcm"]
