"""One DICOM image of FLAIR in several encodings, made by code."""

from __future__ import annotations

import io

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"


def make_image(uid: str = "1.2.3.4") -> Dataset:
    """8 rows of 10 pixels with all that a volume needs."""
    image = Dataset()
    image.SOPClassUID, image.SOPInstanceUID = MR_IMAGE, uid
    image.StudyInstanceUID, image.SeriesInstanceUID = "1.2.3", "1.2.3.1"
    image.FrameOfReferenceUID = "1.2.3.2"
    image.Modality, image.SeriesDescription = "MR", "AX FLAIR"
    image.ImageType = ["ORIGINAL", "PRIMARY", "M", "SE"]
    image.SeriesNumber, image.InstanceNumber = 1, 1
    image.ScanningSequence, image.SequenceVariant = "IR", "SK"
    image.EchoTime, image.RepetitionTime, image.InversionTime = "120", "9000", "2500"
    image.ImagePositionPatient = [0, 0, 0]
    image.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    image.PixelSpacing, image.SliceThickness = [0.9, 0.9], "5"
    image.Rows, image.Columns = 8, 10
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.BitsAllocated, image.BitsStored, image.HighBit = 16, 12, 11
    image.PixelRepresentation = 0
    image.RescaleSlope, image.RescaleIntercept = "1", "0"
    image.PixelData = np.arange(80, dtype="<u2").tobytes()
    return image


def save(image: Dataset, syntax: str) -> bytes:
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = syntax
    stream = io.BytesIO()
    image.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def seed_images() -> list[bytes]:
    seeds = [
        save(make_image(), syntax)
        for syntax in (
            ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian,
        )
    ]  # fmt: skip
    seeds.append(seeds[-1] + bytes(8))  # as GDCM ends it, with a check sum
    big = make_image()
    big.PixelData = np.arange(80, dtype=">u2").tobytes()
    seeds.append(save(big, ExplicitVRBigEndian))
    packed = make_image()
    packed.compress(RLELossless, np.arange(80, dtype=np.uint16).reshape(8, 10))
    seeds.append(save(packed, RLELossless))
    nested = make_image()
    item = Dataset()
    item.ReferencedSOPInstanceUID = "1.2.3.9"
    for _ in range(4):
        outer = Dataset()
        outer.ReferencedImageSequence = [item]
        item = outer
    nested.ReferencedImageSequence = [item]
    return [*seeds, save(nested, ExplicitVRLittleEndian)]
