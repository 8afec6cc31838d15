"""The mask, or the probability, as a DICOM Segmentation that refers to FLAIR frame by frame."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lgg_runtime.errors import InputError
from lgg_runtime.readers.dicom_files import DAMAGE
from lgg_runtime.writers.dicom_identity import (
    SERIES_NUMBERS,
    equipment,
    finish,
    load_highdicom,
    make_uid,
    source_of,
)
from lgg_runtime.writers.dicom_reference import bare_slices, refer_to_source
from lgg_runtime.writers.scan import SOFTWARE, ScanResult


def encode_dicom_seg(result: ScanResult) -> dict[str, bytes]:
    """`seg.dcm`: BINARY, one segment; a study without a finding has one of empty frames.

    Raises InputError where the volume was not read from DICOM or its headers forbid it.
    """
    return {"seg.dcm": finish(build_seg(result), source_of(result))}


def encode_dicom_seg_fractional(result: ScanResult) -> dict[str, bytes]:
    """`seg_fractional.dcm`: FRACTIONAL, the model's probability before threshold and clean-up.

    In steps of 1/255; slices where it is 0 everywhere are left out. Raises as the other does.
    """
    probability = result.segmentation.probability
    digest = hashlib.sha256(probability.tobytes()).hexdigest()
    form = _Form(
        f"seg fractional {digest}",
        SERIES_NUMBERS["seg fractional"],
        "FLAIR abnormality: probability - research use only",
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
    return _build(result, result.segmentation.mask.astype(np.uint8), form)


@dataclass(frozen=True)
class _Form:
    """What the two kinds of SEG differ in. name: what their UIDs are made from; kind: arguments."""

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
    try:
        data = Segmentation(
            source_images=bare_slices(source, spacing_mm[0]),
            pixel_array=values,
            segment_descriptions=[_describe(result)],
            series_instance_uid=make_uid(result, f"{form.name} series"),
            series_number=form.series_number,
            sop_instance_uid=make_uid(result, form.name),
            instance_number=1,
            content_label="FLAIR_LESION",
            content_description=form.description,
            series_description=form.description,
            **form.kind,
            **equipment(result),
        )
    except MemoryError:
        raise  # of no header: it ends the run
    except DAMAGE as error:
        raise InputError("its headers are not fit for a DICOM SEG to refer to") from error
    refer_to_source(data, source)
    _fix_organization(data, make_uid(result, "dimensions"))
    return data


def _describe(result: ScanResult) -> Any:
    """Codes: a morphologically abnormal structure, type lesion, in the brain.

    The label is a FLAIR abnormality: neoplasm would say more, oedema would be wrong.
    """
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.seg import SegmentAlgorithmTypeValues, SegmentDescription
    from pydicom.sr.coding import Code

    algorithm = result.algorithm
    return SegmentDescription(
        segment_number=1,
        segment_label="FLAIR abnormality",
        segmented_property_category=Code("49755003", "SCT", "Morphologically Abnormal Structure"),
        segmented_property_type=Code("52988006", "SCT", "Lesion"),
        algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=AlgorithmIdentificationSequence(
            name=f"{SOFTWARE} {algorithm.name}",
            family=Code("123110", "DCM", "Artificial Intelligence"),
            version=algorithm.version,
            source=SOFTWARE,
            parameters={
                "model SHA-256": algorithm.digest,
                "threshold": f"{result.segmentation.threshold:g}",
            },
        ),
        tracking_uid=make_uid(result, "tracking"),
        tracking_id="FLAIR abnormality",
        anatomic_regions=[Code("12738006", "SCT", "Brain")],
    )


def _fix_organization(data: Any, uid: str) -> None:
    """highdicom draws this UID at random."""
    for item in (*data.DimensionOrganizationSequence, *data.DimensionIndexSequence):
        item.DimensionOrganizationUID = uid
