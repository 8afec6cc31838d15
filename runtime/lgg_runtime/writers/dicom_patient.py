"""The patient and the study of a written DICOM object: as the images have them, right or wrong.

An archive knows a patient by these values; one that breaks a rule of its VR is no reason to
change it, nor to write nothing.
"""

from __future__ import annotations

import io
from typing import Any

from lgg_runtime.readers.dicom_files import load_pydicom, refusing_headers

# Attributes of type 2 in the patient and study modules: there, if empty (PS3.3, C.7.1.1, C.7.2.1).
MAY_BE_EMPTY = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime",
    "ReferringPhysicianName", "StudyID", "AccessionNumber",
)  # fmt: skip
_PATIENT = (  # PS3.3, C.7.1.1
    "ReferencedPatientSequence", "IssuerOfPatientID", "TypeOfPatientID",
    "IssuerOfPatientIDQualifiersSequence", "SourcePatientGroupIdentificationSequence",
    "GroupOfPatientsIdentificationSequence", "PatientBirthTime",
    "PatientBirthDateInAlternativeCalendar", "PatientDeathDateInAlternativeCalendar",
    "PatientAlternativeCalendar", "QualityControlSubject", "StrainDescription",
    "StrainNomenclature", "StrainStockSequence", "StrainAdditionalInformation",
    "StrainCodeSequence", "GeneticModificationsSequence", "OtherPatientNames",
    "OtherPatientIDsSequence", "ReferencedPatientPhotoSequence", "EthnicGroupCodeSequence",
    "PatientSpeciesDescription", "PatientSpeciesCodeSequence", "PatientBreedDescription",
    "PatientBreedCodeSequence", "BreedRegistrationSequence", "ResponsiblePerson",
    "ResponsiblePersonRole", "ResponsibleOrganization", "PatientComments",
    "PatientIdentityRemoved", "DeidentificationMethod", "DeidentificationMethodCodeSequence",
)  # fmt: skip
_CLINICAL_TRIAL = (  # PS3.3, C.7.1.3 and C.7.2.3
    "ClinicalTrialSponsorName", "ClinicalTrialProtocolID", "ClinicalTrialProtocolName",
    "IssuerOfClinicalTrialProtocolID", "OtherClinicalTrialProtocolIDsSequence",
    "ClinicalTrialSiteID", "ClinicalTrialSiteName", "IssuerOfClinicalTrialSiteID",
    "ClinicalTrialSubjectID", "IssuerOfClinicalTrialSubjectID", "ClinicalTrialSubjectReadingID",
    "IssuerOfClinicalTrialSubjectReadingID", "ClinicalTrialProtocolEthicsCommitteeName",
    "ClinicalTrialProtocolEthicsCommitteeApprovalNumber", "ClinicalTrialTimePointID",
    "ClinicalTrialTimePointDescription", "LongitudinalTemporalOffsetFromEvent",
    "LongitudinalTemporalEventType", "ClinicalTrialTimePointTypeCodeSequence",
    "IssuerOfClinicalTrialTimePointID", "ConsentForClinicalTrialUseSequence",
)  # fmt: skip
_STUDY = (  # PS3.3, C.7.2.1 and C.7.2.2
    "StudyInstanceUID", "IssuerOfAccessionNumberSequence",
    "ReferringPhysicianIdentificationSequence", "ConsultingPhysicianName",
    "ConsultingPhysicianIdentificationSequence", "StudyDescription", "ProcedureCodeSequence",
    "PhysiciansOfRecord", "PhysiciansOfRecordIdentificationSequence",
    "NameOfPhysiciansReadingStudy", "PhysiciansReadingStudyIdentificationSequence",
    "ReferencedStudySequence", "RequestingService", "RequestingServiceCodeSequence",
    "ReasonForPerformedProcedureCodeSequence", "AdmittingDiagnosesDescription",
    "AdmittingDiagnosesCodeSequence", "PatientAge", "PatientSize", "PatientSizeCodeSequence",
    "PatientBodyMassIndex", "MeasuredAPDimension", "MeasuredLateralDimension", "PatientWeight",
    "MedicalAlerts", "Allergies", "Occupation", "SmokingStatus", "AdditionalPatientHistory",
    "PregnancyStatus", "LastMenstrualDate", "PatientSexNeutered", "ReasonForVisit",
    "ReasonForVisitCodeSequence", "AdmissionID", "IssuerOfAdmissionIDSequence",
    "ServiceEpisodeID", "ServiceEpisodeDescription", "IssuerOfServiceEpisodeIDSequence",
    "PatientState",
)  # fmt: skip
ATTRIBUTES = (*MAY_BE_EMPTY, *_PATIENT, *_CLINICAL_TRIAL, *_STUDY)


def copy_patient_and_study(header: Any) -> Any:
    """A data set of ATTRIBUTES, of the SpecificCharacterSet that their text is encoded in, and of
    the time zone that dates and times are in.

    Raises InputError, the reason alone, for a value that no file can hold.
    """
    copied = load_pydicom().Dataset()
    for keyword in MAY_BE_EMPTY:
        setattr(copied, keyword, "")
    for keyword in (*ATTRIBUTES, "TimezoneOffsetFromUTC"):  # of the SOP Common module
        if keyword in header:
            copied[keyword] = _read(header, keyword)
    if header.get("SpecificCharacterSet"):
        copied.add(header["SpecificCharacterSet"])
    keep_encoding(copied, header)
    return copied


def keep_encoding(data: Any, header: Any) -> None:
    """Have pydicom write copied text as it is encoded in the header, without decoding it."""
    data.set_original_encoding(False, True, header.original_character_set)


def encode(data: Any) -> bytes:
    """The bytes of a data set alone, in Explicit VR Little Endian."""
    stream = io.BytesIO()
    data.save_as(stream, implicit_vr=False, little_endian=True)
    return stream.getvalue()


def _read(header: Any, keyword: str) -> Any:
    from pydicom import Dataset
    from pydicom.datadict import dictionary_VR
    from pydicom.valuerep import CUSTOMIZABLE_CHARSET_VR

    stored = header.get_item(keyword)
    representation = stored.VR or dictionary_VR(keyword)
    if stored.is_raw and representation in CUSTOMIZABLE_CHARSET_VR:
        # Its bytes, which need not fit the character set; of an even number (PS3.5, 7.1.1).
        value = stored.value and stored.value + b" " * (len(stored.value) % 2)
        return stored._replace(VR=representation, value=value)
    with refusing_headers(f"{keyword} is not of its kind; export the study again"):
        element = header[keyword]
        encode(Dataset({element.tag: element}))
    return element
