"""What a frame says of itself, where other parts of its header say the same of something else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pydicom")
pytest.importorskip("SimpleITK")

import pydicom

from lgg_runtime.errors import InputError
from lgg_runtime.readers.dicom import read_dicom
from stand_ins.dicom_frames import frame_of
from stand_ins.dicom_study import Study


def something_else() -> Any:
    """Attributes of a frame, of other values, as an item of a sequence."""
    item = pydicom.Dataset()
    item.PixelSpacing, item.RescaleSlope, item.RescaleIntercept = [1, 1], 7, 3
    item.ImagePositionPatient, item.ImageOrientationPatient = [0, 0, 0], [0, 1, 0, 1, 0, 0]
    return item


def add_private(group: int) -> Callable[[Any], None]:
    def add(data: Any) -> None:
        block = data.private_block(group, "SOMEBODY", create=True)
        block.add_new(0x01, "SQ", [something_else()])

    return add


@pytest.mark.parametrize("where", ["per frame", "shared"])
@pytest.mark.parametrize(
    "add",
    [
        add_private(0x0009),
        add_private(0x2005),
        lambda group: setattr(group, "ReferencedImageSequence", [something_else()]),
        lambda group: setattr(
            group, "UnassignedPerFrameConvertedAttributesSequence", [something_else()]
        ),
    ],
    ids=["private before", "private behind", "referenced image", "converted"],
)
def test_other_groups_do_not_speak_for_the_frame(
    study: Study, add: Callable[[Any], None], where: str
) -> None:
    (path,) = study.enhance(range(6))
    expected = read_dicom(study.files)
    data = pydicom.dcmread(path)
    shared = data.SharedFunctionalGroupsSequence
    for group in data.PerFrameFunctionalGroupsSequence if where == "per frame" else shared:
        add(group)
    data.save_as(path)
    found = read_dicom(study.files)
    np.testing.assert_array_equal(found.pixels, expected.pixels)
    np.testing.assert_array_equal(found.affine, expected.affine)
    assert found.spacing_mm == expected.spacing_mm


@pytest.mark.parametrize("where", ["PerFrame", "Shared"])
def test_what_was_converted_from_classic_images_is_found(where: str) -> None:
    item, group = pydicom.Dataset(), pydicom.Dataset()
    item.EchoTime, item.PixelSpacing = 120, [1, 1]
    setattr(group, f"Unassigned{where}ConvertedAttributesSequence", [item])
    frame = frame_of(**{f"{where}FunctionalGroupsSequence": [group]})
    assert frame.get("EchoTime", "EffectiveEchoTime") == 120
    assert frame.get("PixelSpacing") is None


def test_the_frame_s_own_group_goes_before_the_shared_one() -> None:
    groups = []
    for slope in (2, 3):
        values, group = pydicom.Dataset(), pydicom.Dataset()
        values.RescaleSlope = slope
        group.PixelValueTransformationSequence = [values]
        groups.append(group)
    own, shared = groups
    frame = frame_of(
        PerFrameFunctionalGroupsSequence=[own], SharedFunctionalGroupsSequence=[shared]
    )
    assert frame.get("RescaleSlope") == 2


@pytest.mark.parametrize(
    ("stored", "value", "limit"),
    [
        (4095, 4095, None),
        (-2000, -2000, None),
        (-2000, 63536, None),  # without its sign
        (4090, 4095, 4080),
        (4090, 4080, 4095),
    ],
)
@pytest.mark.parametrize("colour", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("slope", [None, 2])
def test_padding_is_0_or_as_dark_as_the_darkest_of_the_picture(
    study: Study, stored: int, value: int, limit: int | None, colour: str, slope: Any
) -> None:
    def draw(edge: int | None) -> Any:
        """FLAIR with a row of that stored value, or of the darkest one; what is read of it."""
        for path, picture in zip(study.flair, pictures, strict=True):
            darkest = picture.max() if colour == "MONOCHROME1" else picture.min()
            rows = picture.copy()
            rows[0] = darkest if edge is None else edge
            study.change(path, PixelData=rows.astype("<i2" if signed else "<u2").tobytes())
        return read_dicom(study.files).pixels[..., 1]

    signed = stored < 0
    pictures = [pydicom.dcmread(path).pixel_array.astype(np.int64) + 5 for path in study.flair]
    study.change_flair(PixelRepresentation=int(signed), BitsStored=16, HighBit=15,
                       PhotometricInterpretation=colour)  # fmt: skip
    if slope is not None:
        study.change_flair(RescaleSlope=slope, RescaleIntercept=0)
    expected = draw(None)
    expected[:, 0] = min(0, expected[:, 1:].min())
    for path in study.flair:
        data = pydicom.dcmread(path)
        data.add_new("PixelPaddingValue", "SS" if value < 0 else "US", value)
        if limit is not None:
            data.add_new("PixelPaddingRangeLimit", "US", limit)
        data.save_as(path)
    np.testing.assert_array_equal(draw(stored), expected)


@pytest.mark.parametrize("value", [-2048, 2048])
@pytest.mark.parametrize("word", [0x0800, 0xF800])
def test_padding_of_12_bits_is_found_with_and_without_its_sign(
    study: Study, value: int, word: int
) -> None:
    """In the header and in the pixels, whose bits above BitsStored say nothing."""
    for path in study.flair:
        data = pydicom.dcmread(path)
        rows = data.pixel_array.astype("<u2")
        rows[0] = word
        data.PixelRepresentation, data.PixelData = 1, rows.tobytes()
        data.add_new("PixelPaddingValue", "SS" if value < 0 else "US", value)
        data.save_as(path)
    assert not read_dicom(study.files).pixels[:, 0, :, 1].any()


def test_padding_that_12_bits_do_not_hold_pads_nothing(study: Study) -> None:
    """Its lowest 12 bits are those of the brightest pixels."""
    for path in study.flair:
        data = pydicom.dcmread(path)
        rows = data.pixel_array.astype("<u2")
        rows[0] = 0x0FFF
        data.PixelData = rows.tobytes()
        data.add_new("PixelPaddingValue", "US", 0xFFFF)
        data.save_as(path)
    assert read_dicom(study.files).pixels[:, 0, :, 1].all()


def test_signed_pixels_are_inverted_over_what_they_can_be(study: Study) -> None:
    """An intercept lifts them to what the unsigned ones are."""
    study.change_flair(BitsStored=16, HighBit=15, PhotometricInterpretation="MONOCHROME1")
    expected = read_dicom(study.files).pixels
    for path in study.flair:
        signed = pydicom.dcmread(path).pixel_array.astype(np.int64) - 2**15
        study.change(path, PixelRepresentation=1, PixelData=signed.astype("<i2").tobytes(),
                     RescaleSlope=0.125, RescaleIntercept=2**12)  # fmt: skip
    np.testing.assert_array_equal(read_dicom(study.files).pixels, expected)


@pytest.mark.parametrize(("least", "expected"), [(-7, -7 / 8), (50, 0)])
def test_a_slice_of_padding_alone_is_as_dark_as_padding_in_others(
    study: Study, least: int, expected: float
) -> None:
    """-2000 would be air far below the picture's, and tissue must not be raised to the darkest."""
    study.change_flair(PixelRepresentation=1, BitsStored=16, HighBit=15)
    for path in study.flair:
        data = pydicom.dcmread(path)
        values = np.full((32, 32), -2000, "<i2")
        if path != study.flair[0]:
            values[8:] = np.maximum(pydicom.dcmread(path).pixel_array[8:], 50)
            values[8] = least
        data.PixelData = values.tobytes()
        data.add_new("PixelPaddingValue", "SS", -2000)
        data.save_as(path)
    flair = read_dicom(study.files).pixels[..., 1]
    assert flair.min() == expected
    assert (flair[:, :8] == expected).all()
    assert sum(not np.ptp(plane) for plane in flair) == 1


def test_a_padding_value_that_is_no_number_is_refused(study: Study) -> None:
    for path in study.flair:
        data = pydicom.dcmread(path)
        data.add_new("PixelPaddingValue", "LO", "none")
        data.save_as(path)
    with pytest.raises(InputError, match="PixelPaddingValue is no whole number"):
        read_dicom(study.files)


def test_damage_where_nothing_is_looked_for_refuses_nothing() -> None:
    frame = frame_of(EchoTime=120)
    frame.header.add_new("EffectiveEchoTime", "UN", b"no number")
    assert frame.get("EchoTime", "EffectiveEchoTime") == 120
