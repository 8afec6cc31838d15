"""Scanned phantoms as DICOM studies and NIfTI files, with the truth beside them."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lgg_runtime.extras import import_extra
from lgg_runtime.readers.dicom_files import load_pydicom
from lgg_runtime.readers.dicom_frames import MR_IMAGE
from lgg_runtime.readers.nifti import RAS_LPS
from lgg_runtime.writers.atomic import make_folder, write_atomically
from lgg_train.phantom import PhantomSettings, check_alone
from lgg_train.phantom_scan import Scan, ScanSettings, make_scan

# Stored values are the drawn ones times this, so that 12 bits are used as by a scanner; FLAIR
# says so by its RescaleSlope.
GAIN = 8
_SPIN_ECHO = {"ScanningSequence": "SE", "RepetitionTime": 500, "EchoTime": 12}
_INVERTED = {"ScanningSequence": ["SE", "IR"], "RepetitionTime": 9000, "EchoTime": 120}
# By channel: SeriesNumber, description, and what PS3.3 C.8.3.1 asks of an MR image.
_SEQUENCES: tuple[tuple[int, str, dict[str, Any]], ...] = (
    (2, "T1", _SPIN_ECHO),
    (3, "FLAIR", _INVERTED | {"InversionTime": 2500}),
    (4, "T1 post", _SPIN_ECHO | {"ContrastBolusAgent": "drawn agent"}),
)
_LOCALIZER = {"ScanningSequence": "GR", "RepetitionTime": 8, "EchoTime": 4}


def write_scans(
    root: Path, form: str, phantoms: PhantomSettings, settings: ScanSettings
) -> list[Path]:
    """Write `root/FORM/study_<n>` for form dicom or nifti, and `root/truth/study_<n>.json`.

    Returns the studies' folders. Raises ResourceError for a file that cannot be written,
    OutputConflictError where other studies or their truth are there, or a study's folder holds
    other files, and MissingExtraError without the format's package.
    """
    write = {"dicom": write_dicom, "nifti": write_nifti}[form]
    names = [f"study_{index + 1:04d}" for index in range(phantoms.patients)]
    check_alone(root / form, names)
    check_alone(root / "truth", [f"{name}.json" for name in names])
    folders = []
    make_folder(root / "truth")
    for index, name in enumerate(names):
        scan = make_scan(index, phantoms, settings)
        folder = root / form / name
        write(folder, scan, index, settings)
        text = json.dumps(scan.truth(), indent=1) + "\n"
        write_atomically(root / "truth" / f"{folder.name}.json", text.encode())
        folders.append(folder)
    return folders


def write_nifti(folder: Path, scan: Scan, index: int, _settings: ScanSettings) -> None:
    """One file a sequence, `study_<n>_flair.nii.gz` and so on."""
    nibabel = import_extra("nibabel", "nifti")
    names = [f"study_{index + 1:04d}_{role}.nii.gz" for role in ("t1", "flair", "t1c")]
    check_alone(folder, names)
    make_folder(folder)
    affine = RAS_LPS @ scan.affine[:, [2, 1, 0, 3]]
    for channel, name in enumerate(names):
        image = nibabel.Nifti1Image(scan.pixels[..., channel].transpose(2, 1, 0), affine)
        image.header.set_xyzt_units("mm")
        data = gzip.compress(image.to_bytes(), mtime=0)
        write_atomically(folder / name, data)


def write_dicom(folder: Path, scan: Scan, index: int, settings: ScanSettings) -> None:
    """FLAIR, T1 before and after contrast and a localizer, in files whose names say nothing."""
    load_pydicom()
    make_folder(folder)
    kept = list(range(len(scan.mask)))
    if settings.gap:
        kept.remove(len(kept) // 2)
    content = hashlib.sha256(scan.pixels.tobytes() + scan.affine.tobytes())
    content.update(repr(settings).encode())
    patient = _Patient(index + 1, content.hexdigest())
    data = [_localizer(patient, plane) for plane in range(3)]
    for channel, (number, described, attributes) in enumerate(_SEQUENCES):
        for slice_ in kept:
            image = _image(patient, number, slice_ + 1, described, attributes)
            if settings.reversed:
                image.InstanceNumber = len(scan.mask) - slice_
            image.ImageType = ["ORIGINAL", "PRIMARY", "M"]
            if described == "FLAIR":
                image.RescaleSlope, image.RescaleIntercept = 1 / GAIN, 0
                image.RescaleType = "US"
            _place(image, scan, slice_)
            _fill(image, scan.pixels[slice_, ..., channel])
            data.append(image)
    names = [f"IM{n:04d}" for n in np.random.default_rng(index).permutation(len(data))]
    check_alone(folder, names)
    for name, image in zip(names, data, strict=True):
        stream = io.BytesIO()
        image.save_as(stream, enforce_file_format=True)
        write_atomically(folder / name, stream.getvalue())


@dataclass(frozen=True)
class _Patient:
    """number: in names and identifiers; digest: of what was scanned and how, for the UIDs."""

    number: int
    digest: str

    def uid(self, *parts: object) -> str:
        digest = hashlib.sha256(repr((self.digest, self.number, *parts)).encode()).digest()
        return f"2.25.{int.from_bytes(digest[:15], 'big')}"


def _localizer(patient: _Patient, plane: int) -> Any:
    """One slice through the middle, in each of three planes."""
    image = _image(patient, 1, plane + 1, "localizer", _LOCALIZER)
    image.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    directions = np.roll(np.eye(3), plane, axis=0)
    image.ImagePositionPatient = _decimals(-110 * (directions[0] + directions[1]))
    image.ImageOrientationPatient = _decimals(directions[:2].ravel())
    image.PixelSpacing, image.SliceThickness = [7, 7], 7
    _fill(image, np.full((32, 32), 20, np.uint8))
    return image


def _image(
    patient: _Patient, series: int, number: int, described: str, attributes: dict[str, Any]
) -> Any:
    from pydicom import Dataset
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.SOPClassUID = MR_IMAGE
    image.SOPInstanceUID = patient.uid(series, number)
    image.PatientName = f"Drawn^By Code^{patient.number}"
    image.PatientID = f"LGGPH{patient.number:04d}"
    image.PatientBirthDate, image.PatientSex = "19010203", "O"
    image.StudyInstanceUID, image.SeriesInstanceUID = patient.uid(), patient.uid(series)
    image.FrameOfReferenceUID, image.PositionReferenceIndicator = patient.uid("frame"), ""
    image.StudyDate, image.StudyTime, image.StudyID = "20010203", "101112", f"S{patient.number}"
    image.AccessionNumber, image.ReferringPhysicianName = f"ACC{patient.number:05d}", ""
    image.Modality, image.Manufacturer = "MR", "lgg-edge phantom"
    image.SeriesNumber, image.InstanceNumber = series, number
    image.BodyPartExamined = "BRAIN"
    image.SeriesDescription, image.PatientPosition = described, "HFS"
    image.SequenceVariant, image.ScanOptions, image.MRAcquisitionType = "NONE", "", "2D"
    image.EchoTrainLength = 1
    for keyword, value in attributes.items():
        setattr(image, keyword, value)
    return image


def _place(image: Any, scan: Scan, slice_: int) -> None:
    spacing = scan.spacing_mm
    axes = scan.affine[:3, :3] / spacing
    image.ImagePositionPatient = _decimals(scan.affine[:3, 3] + slice_ * scan.affine[:3, 0])
    image.ImageOrientationPatient = _decimals(np.concatenate((axes[:, 2], axes[:, 1])))
    image.PixelSpacing = _decimals(np.array(spacing[1:]))
    image.SliceThickness = _decimals(np.array(spacing[:1]))[0]


def _decimals(values: npt.NDArray[np.float64]) -> list[str]:
    """Decimal strings of 16 characters at most."""
    return [f"{value + 0.0:.9f}"[:16] for value in values.tolist()]


def _fill(image: Any, pixels: npt.NDArray[Any]) -> None:
    image.Rows, image.Columns = pixels.shape
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.BitsAllocated, image.BitsStored, image.HighBit = 16, 12, 11
    image.PixelRepresentation = 0
    image.PixelData = (pixels.astype("<u2") * GAIN).tobytes()
