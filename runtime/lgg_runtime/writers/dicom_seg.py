"""The mask, or the probability, as a DICOM Segmentation that refers to FLAIR frame by frame."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lgg_runtime.readers.dicom_files import refusing_headers
from lgg_runtime.writers.dicom_identity import (
    SERIES_NUMBERS,
    Identity,
    equipment,
    finish,
    load_highdicom,
    source_of,
)
from lgg_runtime.writers.dicom_reference import bare_slices, refer_to_source
from lgg_runtime.writers.scan import LABEL, SOFTWARE, ScanResult

# What was found, as SEG and SR say it: codes, schemes, meanings.
ABNORMAL_STRUCTURE = ("49755003", "SCT", "Morphologically Abnormal Structure")
LESION = ("52988006", "SCT", "Lesion")
BRAIN = ("12738006", "SCT", "Brain")


def encode_dicom_seg(result: ScanResult) -> dict[str, bytes]:
    """`seg.dcm`: BINARY, one segment; a study without a finding has one of empty frames.

    Raises InputError where the volume was not read from DICOM or its headers forbid it.
    """
    return {"seg.dcm": finish(build_seg(result), source_of(result))}


def encode_dicom_seg_fractional(result: ScanResult) -> dict[str, bytes]:
    """`seg_fractional.dcm`: FRACTIONAL, the model's probability before threshold and clean-up.

    In steps of 1/255. Raises as `encode_dicom_seg` does.
    """
    probability = result.segmentation.probability
    digest = hashlib.sha256(probability.tobytes()).hexdigest()
    form = _Form(
        f"seg fractional {digest}",
        SERIES_NUMBERS["seg fractional"],
        result.describe(": probability"),
        {
            "segmentation_type": "FRACTIONAL",
            "fractional_type": "PROBABILITY",
            "max_fractional_value": 255,
        },
    )
    return {"seg_fractional.dcm": finish(_build(result, probability, form), source_of(result))}


def build_seg(result: ScanResult) -> Any:
    """The BINARY Segmentation as a data set."""
    number = SERIES_NUMBERS["seg"]
    form = _Form("seg", number, result.verdict, {"segmentation_type": "BINARY"})
    data = _build(result, result.segmentation.mask.astype(np.uint8), form)
    if result.caution:
        data.SegmentSequence[0].SegmentDescription = result.caution
    return data


@dataclass(frozen=True)
class _Form:
    """What the two kinds of SEG differ in.

    name: what their UIDs are made from. kind: arguments of highdicom's Segmentation.
    """

    name: str
    series_number: int
    description: str
    kind: dict[str, Any]


def _build(result: ScanResult, values: npt.NDArray[Any], form: _Form) -> Any:
    """values: (S, H, W) on the volume's grid."""
    load_highdicom()
    from highdicom.seg import Segmentation

    source, spacing_mm = source_of(result), result.volume.spacing_mm
    assert spacing_mm is not None
    held = _span(values)
    with refusing_headers("its headers are not fit for a DICOM SEG to refer to"):
        identity = Identity.of(result)
        data = Segmentation(
            source_images=bare_slices(source, spacing_mm[0])[held],
            pixel_array=values[held],
            omit_empty_frames=False,
            segment_descriptions=[_describe(result, identity)],
            series_instance_uid=identity.uid(f"{form.name} series"),
            series_number=form.series_number,
            sop_instance_uid=identity.uid(form.name),
            instance_number=1,
            content_label="FLAIR_LESION",
            content_description=form.description,
            series_description=form.description,
            **form.kind,
            **equipment(result),
        )
    refer_to_source(data, source)
    _fix_organization(data, identity.uid("dimensions"))
    return data


def _span(values: npt.NDArray[Any]) -> slice:
    """From the first to the last slice that is not empty as stored; all where each is.

    Without the empty ones between, ITK takes the frames for neighbours of 1 mm voxels.
    """
    found = np.flatnonzero(values.max(axis=(1, 2)) > 0.5 / 255)
    return slice(found[0], found[-1] + 1) if len(found) else slice(None)


def _describe(result: ScanResult, identity: Identity) -> Any:
    """The one segment: what was found, where and by which model."""
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.seg import SegmentAlgorithmTypeValues, SegmentDescription
    from pydicom.sr.coding import Code

    algorithm = result.algorithm
    return SegmentDescription(
        segment_number=1,
        segment_label=LABEL,
        segmented_property_category=Code(*ABNORMAL_STRUCTURE),
        segmented_property_type=Code(*LESION),
        algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=AlgorithmIdentificationSequence(
            name=f"{SOFTWARE} {algorithm.name}",
            family=Code("123110", "DCM", "Artificial Intelligence"),
            version=algorithm.version,
            source=SOFTWARE,
            parameters={
                "model SHA-256": algorithm.digest,
                "threshold": str(result.segmentation.threshold),
            },
        ),
        tracking_uid=identity.uid("tracking"),
        tracking_id=LABEL,
        anatomic_regions=[Code(*BRAIN)],
    )


def _fix_organization(data: Any, uid: str) -> None:
    """highdicom draws this UID at random."""
    for item in (*data.DimensionOrganizationSequence, *data.DimensionIndexSequence):
        item.DimensionOrganizationUID = uid
