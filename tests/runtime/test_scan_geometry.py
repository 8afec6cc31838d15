"""Phantoms through reader and writers, compared with the truth in world coordinates.

The readers of the results are other people's: highdicom, dcmqi, nibabel, dicom3tools.
"""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lgg_runtime.measures import axes_mm
from lgg_runtime.volume import Volume
from lgg_train.phantom import PhantomSettings
from lgg_train.phantom_files import write_dicom
from lgg_train.phantom_scan import Scan, ScanSettings, make_scan

pytest.importorskip("highdicom")
pytest.importorskip("SimpleITK")

from lgg_runtime.readers.dicom import read_dicom
from lgg_runtime.writers.formats import SCAN_OUTPUTS
from stand_ins.converters import check_by, convert_by_dcmqi, with_dciodvfy
from stand_ins.results import found_in

SMALL = PhantomSettings(patients=1, slices=8, size=48, seed=5)
WAYS = {
    "axial": ScanSettings(),
    "reversed": ScanSettings(reversed=True),
    "mirrored": ScanSettings("mirrored"),
    "coronal": ScanSettings("coronal"),
    "sagittal": ScanSettings("sagittal", reversed=True),
    "oblique": ScanSettings("oblique"),
    "anisotropic": ScanSettings("sagittal", anisotropic=True),
    "anisotropic oblique": ScanSettings("oblique", anisotropic=True, reversed=True),
    "empty": ScanSettings("oblique"),
}
# Left, right, posterior, anterior, head or foot, the strongest direction first.
POINTS_TO = {
    "axial": ["L", "P"],
    "mirrored": ["R", "P"],
    "coronal": ["L", "F"],
    "sagittal": ["P", "F"],
    "oblique": ["LPH", "PRH"],
}


class Scanned:
    """A phantom, the volume read from its DICOM files, and the truth written by every writer."""

    def __init__(self, way: str, folder: Path):
        scan, self.plane = make_scan(0, SMALL, WAYS[way]), WAYS[way].plane
        self.scan = replace(scan, mask=scan.mask & (way != "empty"))
        write_dicom(folder / "study", self.scan, 0, WAYS[way])
        self.sources = sorted((folder / "study").iterdir())
        self.volume = read_dicom(self.sources)
        self.files = write_all(self.volume, self.scan)
        self.folder = folder / "results"
        self.folder.mkdir()
        for name, data in self.files.items():
            (self.folder / name).write_bytes(data)


def write_all(volume: Volume, scan: Scan) -> dict[str, bytes]:
    result = found_in(volume, scan.mask.astype(np.float32))
    files = [SCAN_OUTPUTS[name][1](result) for name in SCAN_OUTPUTS]
    return {name: data for part in files for name, data in part.items()}


@pytest.fixture(scope="module", params=list(WAYS))
def scanned(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Scanned:
    return Scanned(request.param, tmp_path_factory.mktemp("scan"))


def centroid(mask: np.ndarray, affine: np.ndarray) -> np.ndarray:
    return affine[:3, :3] @ np.argwhere(mask).mean(0) + affine[:3, 3]


def assert_same_place(mask: np.ndarray, affine: np.ndarray, scan: Scan) -> None:
    """The same number of voxels, their middle within a tenth of the smallest voxel side."""
    assert np.count_nonzero(mask) == np.count_nonzero(scan.mask)
    if scan.mask.any():
        apart = centroid(mask, affine) - np.array(scan.truth()["centroid_lps_mm"])
        assert np.linalg.norm(apart) < 0.1 * min(scan.spacing_mm)


def test_the_volume_lies_where_the_phantom_was_scanned(scanned: Scanned) -> None:
    volume, scan = scanned.volume, scanned.scan
    assert volume.affine is not None
    np.testing.assert_allclose(volume.affine, scan.affine, atol=1e-6)
    assert volume.spacing_mm == pytest.approx(scan.spacing_mm)
    np.testing.assert_array_equal(volume.pixels[..., 1], scan.pixels[..., 1])
    np.testing.assert_array_equal(volume.pixels[..., [0, 2]], scan.pixels[..., [0, 2]] * 8.0)


def test_highdicom_reads_the_seg_where_the_truth_is(scanned: Scanned) -> None:
    import highdicom

    seg = highdicom.seg.segread(io.BytesIO(scanned.files["seg.dcm"]))
    read = seg.get_volume(combine_segments=True)
    assert_same_place(read.array, read.affine, scanned.scan)
    number = seg.SegmentSequence[0].SegmentNumber
    sources = [uid for *_, uid in seg.get_source_image_uids()]
    frames = seg.get_pixels_by_source_instance(
        sources, segment_numbers=[number], assert_missing_frames_are_empty=True
    )
    order = [frame.header.SOPInstanceUID for frame in scanned.volume.source.frames]
    for uid, plane in zip(sources, frames[..., 0], strict=True):
        np.testing.assert_array_equal(plane > 0, scanned.scan.mask[order.index(uid)])


def test_dcmqi_converts_the_seg_to_where_the_truth_is(scanned: Scanned, tmp_path: Path) -> None:
    found, affine = convert_by_dcmqi(scanned.folder / "seg.dcm", tmp_path)
    assert_same_place(found, affine, scanned.scan)


def test_nifti_and_seg_agree_voxel_for_voxel(scanned: Scanned) -> None:
    import highdicom
    import nibabel

    image = nibabel.Nifti1Image.from_bytes(gzip.decompress(scanned.files["mask.nii.gz"]))
    mask = np.asarray(image.dataobj).transpose(2, 1, 0)
    affine = np.diag([-1, -1, 1, 1]) @ image.affine[:, [2, 1, 0, 3]]
    assert_same_place(mask, affine, scanned.scan)
    seg = highdicom.seg.segread(io.BytesIO(scanned.files["seg.dcm"]))
    read = seg.get_volume(combine_segments=True)
    voxels = np.argwhere(read.array)
    world = voxels @ read.affine[:3, :3].T + read.affine[:3, 3]
    inverse = np.linalg.inv(affine)
    there = world @ inverse[:3, :3].T + inverse[:3, 3]
    np.testing.assert_allclose(there, np.rint(there), atol=1e-3)
    assert {tuple(v) for v in np.rint(there).astype(int).tolist()} == {
        tuple(v) for v in np.argwhere(mask).tolist()
    }


def test_the_report_holds_the_masks_measures_and_refers_to_its_seg(scanned: Scanned) -> None:
    import highdicom
    import pydicom

    report = highdicom.sr.srread(io.BytesIO(scanned.files["sr.dcm"]))
    (group,) = report.content.get_volumetric_roi_measurement_groups()
    measured = {one.name.value: (one.value, one.unit.value) for one in group.get_measurements()}
    long_axis, short_axis = axes_mm(scanned.scan.mask, scanned.scan.spacing_mm)
    assert measured == {
        "118565006": (pytest.approx(scanned.scan.truth()["volume_ml"], abs=1e-3), "mL"),
        "103339001": (pytest.approx(long_axis, abs=1e-3), "mm"),
        "103340004": (pytest.approx(short_axis, abs=1e-3), "mm"),
    }  # volume, long axis and short axis in SCT
    assert group.finding_type.value == "52988006"  # lesion
    assert [site.value.value for site in group.finding_sites] == ["12738006"]  # brain
    evaluations = group.get_qualitative_evaluations()
    found = {one.value.value for one in evaluations if one.name.meaning == "Presence findings"}
    assert found == {"52101004" if scanned.scan.mask.any() else "2667000"}  # present, absent
    segment, series = group.referenced_segment
    seg = pydicom.dcmread(io.BytesIO(scanned.files["seg.dcm"]))
    assert segment.referenced_sop_instance_uid == seg.SOPInstanceUID
    assert series.value == seg.ReferencedSeriesSequence[0].SeriesInstanceUID
    assert group.tracking_uid == seg.SegmentSequence[0].TrackingUID
    images = {frame.header.SOPInstanceUID for frame in scanned.volume.source.frames}
    (study,) = report.CurrentRequestedProcedureEvidenceSequence
    evidence = {
        item.ReferencedSOPInstanceUID
        for referenced in study.ReferencedSeriesSequence
        for item in referenced.ReferencedSOPSequence
    }
    assert evidence == {*images, seg.SOPInstanceUID}


def test_the_report_says_what_made_it(scanned: Scanned) -> None:
    import pydicom

    report = pydicom.dcmread(io.BytesIO(scanned.files["sr.dcm"]))
    texts = [
        (item.ConceptNameCodeSequence[0].CodeMeaning, item.TextValue)
        for item in items_of(report)
        if "TextValue" in item
    ]
    assert texts == [
        ("Device Observer Name", "lgg-edge"),
        ("Device Observer Model Name", "tiny"),
        ("Tracking Identifier", "FLAIR abnormality"),
        ("Algorithm Name", "lgg-edge tiny"),
        ("Algorithm Version", "1.0"),
        ("Algorithm Parameters", f"model SHA-256: {'ab' * 32}"),
        ("Algorithm Parameters", "research use only, not for diagnosis"),
    ]
    assert report.CompletionFlag == "COMPLETE"


@pytest.mark.parametrize("name", ["seg.dcm", "seg_fractional.dcm", "sr.dcm"])
def test_every_snomed_code_ends_with_its_check_digit(scanned: Scanned, name: str) -> None:
    """SNOMED CT Release File Specifications, 6.4: Verhoeff's, which a wrong digit breaks."""
    import pydicom

    data = pydicom.dcmread(io.BytesIO(scanned.files[name]))
    codes = {
        item.CodeValue for item in items_of(data) if item.get("CodingSchemeDesignator") == "SCT"
    }
    assert len(codes) >= (9 if name == "sr.dcm" else 3)
    assert {code for code in codes if not has_check_digit(code)} == set()


def items_of(data: Any) -> Iterator[Any]:
    for element in data:
        for item in element.value if element.VR == "SQ" else ():
            yield item
            yield from items_of(item)


def has_check_digit(code: str) -> bool:
    """By Verhoeff: products in the dihedral group of ten elements, of digits permuted by place."""
    permuted, total = range(10), 0
    for digit in map(int, reversed(code)):
        total = times(total, permuted[digit])
        permuted = [(1, 5, 7, 6, 2, 8, 3, 0, 9, 4)[number] for number in permuted]
    return total == 0


def times(one: int, other: int) -> int:
    """0 to 4 are a pentagon's turns, 5 to 9 its reflections."""
    turn = one - other if one > 4 else one + other
    return turn % 5 + 5 * ((one > 4) != (other > 4))


def test_a_capture_names_where_its_rows_and_columns_point(scanned: Scanned) -> None:
    import pydicom

    capture = pydicom.dcmread(io.BytesIO(scanned.files["sc_001.dcm"]))
    assert list(capture.PatientOrientation) == POINTS_TO[scanned.plane]


def test_a_capture_shows_its_own_slice_in_its_colours_and_size(scanned: Scanned) -> None:
    import pydicom

    frames, outlined = scanned.volume.source.frames, 0
    for number, (frame, mask) in enumerate(zip(frames, scanned.scan.mask, strict=True), start=1):
        capture = pydicom.dcmread(io.BytesIO(scanned.files[f"sc_{number:03d}.dcm"]))
        red = (capture.pixel_array == (255, 40, 40)).all(axis=-1)
        assert not red[~mask].any()
        outlined += red.any()  # the words may cover it
        assert capture.InstanceNumber == number
        assert tuple(capture.PixelSpacing) == pytest.approx(frame.spacing)
    assert bool(outlined) == scanned.scan.mask.any()


@with_dciodvfy
def test_dicom3tools_find_no_error_in_any_object(scanned: Scanned) -> None:
    written = sorted(scanned.folder.glob("*.dcm"))
    assert len(written) == len(scanned.volume) + 3  # two kinds of SEG and the SR
    for path in [*written, *scanned.sources[::7]]:
        check_by("dciodvfy", path)
    check_by("dcentvfy", *written, *scanned.sources)


def test_a_second_attempt_gives_the_same_bytes(scanned: Scanned) -> None:
    assert write_all(read_dicom(scanned.sources), scanned.scan) == scanned.files


def test_another_mask_gives_other_objects(scanned: Scanned) -> None:
    import pydicom

    other = replace(scanned.scan, mask=~scanned.scan.mask)
    for name in ("seg.dcm", "sr.dcm", "sc_001.dcm"):
        one, two = (
            pydicom.dcmread(io.BytesIO(files[name]))
            for files in (scanned.files, write_all(scanned.volume, other))
        )
        assert one.SOPInstanceUID != two.SOPInstanceUID
        assert one.StudyInstanceUID == two.StudyInstanceUID
