"""The numbers of a report, read with highdicom."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("highdicom")
pytest.importorskip("SimpleITK")

import highdicom
import pydicom

from lgg_runtime.writers.dicom_sc import encode_dicom_sc
from lgg_runtime.writers.dicom_seg import encode_dicom_seg
from lgg_runtime.writers.dicom_sr import encode_dicom_sr
from stand_ins.converters import check_by, with_dciodvfy
from stand_ins.dicom_study import Study, result_of


@pytest.mark.parametrize("pixel_mm", [0.03, 0.1, 1.0])
def test_the_least_finding_keeps_its_size(study: Study, pixel_mm: float) -> None:
    for path in (path for series in study.by_series.values() for path in series):
        study.change(path, PixelSpacing=[pixel_mm, pixel_mm])
    result = result_of(study)
    mask = np.zeros(result.segmentation.mask.shape, bool)
    mask[2, 9, 9] = True
    result = replace(result, segmentation=replace(result.segmentation, mask=mask))
    report = highdicom.sr.srread(io.BytesIO(encode_dicom_sr(result)["sr.dcm"]))
    (group,) = report.content.get_volumetric_roi_measurement_groups()
    measured = {one.name.value: one.value for one in group.get_measurements()}
    voxel_ml = pixel_mm**2 * result.volume.spacing_mm[0] / 1000
    assert measured == {
        "118565006": pytest.approx(voxel_ml, rel=1e-5),
        "103339001": pytest.approx(pixel_mm, rel=1e-5),
        "103340004": pytest.approx(pixel_mm, rel=1e-5),
    }  # volume, long axis and short axis in SCT


CAUTIONS = [
    (
        {"dropped_fraction": 0.8},
        "FLAIR abnormality, incomplete? - research use only",
        "the clean-up dropped a region of 0.80 times the largest one's size",
    ),
    (
        {"doubts": ("does not look like brain MRI",)},
        "No brain MRI? FLAIR abnormality - research use only",
        "does not look like brain MRI",
    ),
]


@with_dciodvfy
@pytest.mark.parametrize(("found", "verdict", "told"), CAUTIONS, ids=["dropped", "doubted"])
def test_a_large_region_that_the_clean_up_dropped_and_a_doubt_are_told_in_each_object(
    study: Study, tmp_path: Path, found: dict[str, Any], verdict: str, told: str
) -> None:
    result = result_of(study)
    cautioned = replace(result, segmentation=replace(result.segmentation, **found))
    for encode in (encode_dicom_seg, encode_dicom_sc, encode_dicom_sr):
        written = []
        for one in (result, cautioned):
            data = next(iter(encode(one).values()))
            (tmp_path / "object.dcm").write_bytes(data)
            check_by("dciodvfy", tmp_path / "object.dcm")
            assert (told.encode() in data) == bool(one.caution)
            written.append(pydicom.dcmread(io.BytesIO(data)))
        before, after = written
        assert after.SOPInstanceUID != before.SOPInstanceUID
        assert after.SeriesDescription == verdict
    group = highdicom.sr.srread(tmp_path / "object.dcm").content
    assert len(group.get_volumetric_roi_measurement_groups()) == 1
