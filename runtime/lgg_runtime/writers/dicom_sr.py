"""Measurements as a DICOM structured report after TID 1500, about the SEG of the same run."""

from __future__ import annotations

from typing import Any

from lgg_runtime.measures import axes_mm
from lgg_runtime.notice import RESEARCH_ONLY
from lgg_runtime.readers.dicom_files import refusing_headers
from lgg_runtime.writers.dicom_identity import (
    SERIES_NUMBERS,
    Identity,
    equipment,
    finish,
    load_highdicom,
    source_of,
)
from lgg_runtime.writers.dicom_reference import bare_image
from lgg_runtime.writers.dicom_seg import ABNORMAL_STRUCTURE, BRAIN, LESION, build_seg
from lgg_runtime.writers.scan import LABEL, SOFTWARE, ScanResult


def encode_dicom_sr(result: ScanResult) -> dict[str, bytes]:
    """`sr.dcm`: presence, volume in mL, long and short axis in mm; zeros where none was found.

    Raises InputError as the SEG's writer does.
    """
    load_highdicom()
    from highdicom.sr import Comprehensive3DSR

    seg, source = build_seg(result), source_of(result)
    with refusing_headers("its headers are not fit for a DICOM SR to refer to"):
        identity = Identity.of(result)
        report = Comprehensive3DSR(
            evidence=[*map(bare_image, source.headers), seg],
            content=_report(result, identity, seg)[0],
            series_instance_uid=identity.uid("sr series"),
            series_number=SERIES_NUMBERS["sr"],
            sop_instance_uid=identity.uid("sr"),
            instance_number=1,
            is_complete=True,
            series_description=result.verdict,
            **equipment(result),
        )
    return {"sr.dcm": finish(report, source)}


def _report(result: ScanResult, identity: Identity, seg: Any) -> Any:
    """The content as a sequence of one item, whose values are of the mask in `seg`."""
    from highdicom import sr
    from pydicom.sr.codedict import codes
    from pydicom.sr.coding import Code

    device = sr.ObserverContext(
        observer_type=codes.DCM.Device,
        observer_identifying_attributes=sr.DeviceObserverIdentifyingAttributes(
            uid=identity.uid("device"), name=SOFTWARE, model_name=result.algorithm.name
        ),
    )
    return sr.MeasurementReport(
        observation_context=sr.ObservationContext(observer_device_context=device),
        procedure_reported=Code("816077007", "SCT", "MRI of brain"),
        imaging_measurements=[_finding(result, identity, seg)],
        title=codes.DCM.ImagingMeasurementReport,
    )


def _finding(result: ScanResult, identity: Identity, seg: Any) -> Any:
    """Whether there is an abnormality, and its measures."""
    from highdicom import sr
    from pydicom.sr.coding import Code

    present = result.segmentation.tumour_present
    verdict = Code("52101004", "SCT", "Present") if present else Code("2667000", "SCT", "Absent")
    finding = sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(uid=identity.uid("tracking"), identifier=LABEL),
        referenced_segment=sr.ReferencedSegment(
            sop_class_uid=seg.SOPClassUID,
            sop_instance_uid=seg.SOPInstanceUID,
            segment_number=1,
            source_series=sr.SourceSeriesForSegmentation(
                str(source_of(result).frames[0].header.SeriesInstanceUID)
            ),
        ),
        finding_type=Code(*LESION),
        finding_category=Code(*ABNORMAL_STRUCTURE),
        finding_sites=[sr.FindingSite(anatomic_location=Code(*BRAIN))],
        algorithm_id=sr.AlgorithmIdentification(
            name=f"{SOFTWARE} {result.algorithm.name}",
            version=result.algorithm.version,
            parameters=[f"model SHA-256: {result.algorithm.digest}", RESEARCH_ONLY],
        ),
        measurements=_measurements(result),
        qualitative_evaluations=[
            sr.QualitativeEvaluation(
                name=Code("260411009", "SCT", "Presence findings"), value=verdict
            )
        ],
    )
    if result.caution:
        comment = sr.TextContentItem(
            name=Code("121106", "DCM", "Comment"),
            value=result.caution,
            relationship_type=sr.RelationshipTypeValues.CONTAINS,
        )
        finding[0].ContentSequence.append(comment)
    return finding


def _measurements(result: ScanResult) -> list[Any]:
    from highdicom.sr import Measurement
    from pydicom.sr.coding import Code

    segmentation = result.segmentation
    assert segmentation.spacing_mm is not None
    long_axis, short_axis = axes_mm(segmentation.mask, segmentation.spacing_mm)
    millilitre, millimetre = Code("mL", "UCUM", "milliliter"), Code("mm", "UCUM", "millimeter")
    values = (
        (Code("118565006", "SCT", "Volume"), segmentation.volume_ml or 0.0, millilitre),
        (Code("103339001", "SCT", "Long Axis"), long_axis, millimetre),
        (Code("103340004", "SCT", "Short Axis"), short_axis, millimetre),
    )
    return [
        Measurement(name=name, value=float(f"{value:.6g}"), unit=unit)
        for name, value, unit in values
    ]
