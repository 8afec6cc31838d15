"""Patient and study of a written object: those of the images, whatever a rule says of a value."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("highdicom")
pytest.importorskip("SimpleITK")

import pydicom

from lgg_runtime.errors import InputError
from lgg_runtime.readers.dicom import read_dicom
from lgg_runtime.readers.dicom_series import SeriesChoice
from lgg_runtime.writers import dicom_patient
from lgg_runtime.writers.dicom_patient import (
    ATTRIBUTES,
    MAY_BE_EMPTY,
    copy_patient_and_study,
    encode,
)
from lgg_runtime.writers.formats import SCAN_OUTPUTS
from lgg_runtime.writers.scan import ScanResult
from stand_ins.converters import HAS_DCIODVFY, check_by
from stand_ins.dicom_study import T1, T1C, Study, result_of

DICOM_OUTPUTS = [name for name in SCAN_OUTPUTS if name.startswith("dicom-")]


def write(name: str, result: ScanResult) -> bytes:
    """The first file of an output."""
    return next(iter(SCAN_OUTPUTS[name][1](result).values()))


def test_text_of_an_odd_length_is_written_with_an_even_one() -> None:
    from pydicom.dataelem import RawDataElement
    from pydicom.tag import Tag

    source = pydicom.Dataset()
    odd = RawDataElement(Tag("PatientID"), "LO", 3, b"ABC", 0, False, True)
    source._dict[odd.tag] = odd
    assert encode(copy_patient_and_study(source)).count(b"LO\x04\0ABC ") == 1


@pytest.mark.parametrize("output", DICOM_OUTPUTS)
@pytest.mark.parametrize("value", [b"K\xd61 ", b"K\xc41 "])
def test_bytes_that_do_not_fit_the_character_set_are_kept(
    study: Study, output: str, value: bytes
) -> None:
    for path in (*study.by_series[T1], *study.by_series[T1C]):
        study.change(path, PatientID=None)
    study.change_flair(SpecificCharacterSet="ISO_IR 192", PatientID="ABCD")
    for path in study.flair:
        data = path.read_bytes()
        assert data.count(b"ABCD") == 1
        path.write_bytes(data.replace(b"ABCD", value))
    written = pydicom.dcmread(io.BytesIO(write(output, result_of(study))))
    assert written.get_item("PatientID").value == value


@pytest.mark.parametrize(
    ("flair", "t1", "by"),
    [
        ({"PatientID": "1"}, {"PatientID": "2"}, "PatientID"),
        ({"PatientID": "1"}, {"PatientID": "1 ", "PatientName": "Corrected"}, None),
        ({"PatientID": "1"}, {"PatientID": "", "PatientName": "Another"}, None),
        ({"PatientID": ""}, {"PatientID": None, "PatientName": "Another"}, "PatientName"),
        ({"PatientID": "", "PatientName": ""}, {"PatientID": None}, None),
        ({"PatientID": "", "PatientName": "A^B"}, {"PatientID": "", "PatientName": "A^B^^ "}, None),
        ({"PatientID": "1"}, {"PatientID": "1^"}, "PatientID"),
    ],
)
def test_images_of_two_patients_are_no_study(
    study: Study, flair: dict[str, Any], t1: dict[str, Any], by: str | None
) -> None:
    for path in study.by_series[T1C]:
        path.unlink()
    study.change_flair(**flair)
    for path in study.by_series[T1]:
        study.change(path, **t1)
    if by is None:
        read_dicom(study.files)
        return
    with pytest.raises(
        InputError, match=f"its images are of 2 patients, by their {by};"
    ) as refused:
        read_dicom(study.files)
    assert "Another" not in str(refused.value)


def test_the_patient_of_a_series_that_is_not_used_does_not_matter(study: Study) -> None:
    for path in study.by_series[T1]:
        study.change(path, PatientID="another")
    uids = {str(pydicom.dcmread(path).SeriesInstanceUID) for path in study.flair}
    read_dicom(study.files, SeriesChoice(series_uids=tuple(uids)))


@pytest.mark.parametrize("output", DICOM_OUTPUTS)
def test_objects_are_in_explicit_vr_and_lossy_where_an_image_was(study: Study, output: str) -> None:
    study.change(
        study.flair[2],
        LossyImageCompression="01",
        LossyImageCompressionRatio="12.5",
        LossyImageCompressionMethod="ISO_10918_1",
    )
    files = SCAN_OUTPUTS[output][1](result_of(study)).values()
    written = [pydicom.dcmread(io.BytesIO(data)) for data in files]
    assert {data.file_meta.TransferSyntaxUID.name for data in written} == {
        "Explicit VR Little Endian"
    }
    if output == "dicom-sr":
        return
    lossy = [data for data in written if data.get("LossyImageCompression") == "01"]
    assert len(lossy) == 1
    assert lossy[0].LossyImageCompressionRatio == 12.5
    assert lossy[0].LossyImageCompressionMethod == "ISO_10918_1"


@pytest.mark.parametrize("output", DICOM_OUTPUTS)
@pytest.mark.parametrize(
    ("character_set", "patient"),
    [
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        (["ISO 2022 IR 13", "ISO 2022 IR 87"], "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう"),
        (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
        ("ISO_IR 192", "Мюллер^Йорг"),
        ("GB18030", "Wang^XiaoDong=王^小东"),
        ("ISO_IR 6", "Muller^Jorg"),
    ],
)
def test_a_name_is_the_same_in_its_character_set(
    study: Study, tmp_path: Path, output: str, character_set: Any, patient: str
) -> None:
    study.change_flair(SpecificCharacterSet=character_set, PatientName=patient)
    data = write(output, result_of(study))
    written = pydicom.dcmread(io.BytesIO(data))
    assert written.PatientName == patient
    assert written.SpecificCharacterSet == character_set
    if HAS_DCIODVFY:
        (tmp_path / "object").write_bytes(data)
        check_by("dciodvfy", tmp_path / "object")


@pytest.mark.parametrize("output", DICOM_OUTPUTS)
@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("SpecificCharacterSet", "ISO 2022 IR 100"),
        ("SpecificCharacterSet", "LATIN-1"),
        ("PatientSex", "U"),
        ("PatientSex", "m"),
        ("PatientBirthDate", "1970-01-01"),
        ("PatientBirthDate", "00000000"),
        ("StudyDate", "notadate"),
        ("StudyTime", "12:30:11"),
        ("PatientAge", "45"),
        ("PatientName", "A" * 200),
    ],
)
def test_a_value_against_its_rules_is_copied(
    study: Study, output: str, keyword: str, value: str
) -> None:
    study.change_flair(**{keyword: value})
    written = pydicom.dcmread(io.BytesIO(write(output, result_of(study))))
    assert written[keyword].value == value
    assert written.ContentDate == ("19700101" if keyword == "StudyDate" else "20010203")
    assert written.ContentTime == ("000000" if keyword == "StudyTime" else "101112")


def test_content_is_dated_as_its_image_first_and_as_its_study_last(study: Study) -> None:
    days = {"ContentDate": "20010207", "AcquisitionDate": "20010206", "SeriesDate": "20010205"}
    times = {"ContentTime": "1407", "AcquisitionTime": "1306", "SeriesTime": "1205"}
    study.change_flair(**days, **times)
    found = []
    for day, time in zip(days, times, strict=True):  # what is left is taken in this order
        written = pydicom.dcmread(io.BytesIO(write("dicom-seg", result_of(study))))
        found.append((written.ContentDate, written.ContentTime))
        study.change_flair(**{day: None, time: None})
    assert found == list(zip(days.values(), times.values(), strict=True))


@pytest.mark.parametrize("output", DICOM_OUTPUTS)
def test_times_are_in_the_time_zone_of_the_images(study: Study, output: str) -> None:
    assert "TimezoneOffsetFromUTC" not in pydicom.dcmread(
        io.BytesIO(write(output, result_of(study)))
    )
    study.change_flair(TimezoneOffsetFromUTC="-0330")
    written = pydicom.dcmread(io.BytesIO(write(output, result_of(study))))
    assert (written.TimezoneOffsetFromUTC, written.StudyTime) == ("-0330", "101112")


@pytest.mark.parametrize("output", DICOM_OUTPUTS)
def test_what_is_missing_or_empty_is_there_and_empty(study: Study, output: str) -> None:
    study.change_flair(SpecificCharacterSet="", **dict.fromkeys(MAY_BE_EMPTY))
    written = pydicom.dcmread(io.BytesIO(write(output, result_of(study))))
    assert not any(written[keyword].value for keyword in MAY_BE_EMPTY)
    assert "SpecificCharacterSet" not in written


@pytest.mark.parametrize("output", DICOM_OUTPUTS)
def test_a_value_that_no_file_can_hold_is_named(study: Study, output: str) -> None:
    result = result_of(study)
    header = result.volume.source.frames[0].header  # type: ignore[attr-defined]
    tag = pydicom.tag.Tag("PregnancyStatus")
    header[tag] = pydicom.dataelem.RawDataElement(tag, "US", 3, b"\1\2\3", 0, False, True)
    with pytest.raises(InputError) as refused:
        write(output, result)
    assert str(refused.value) == "PregnancyStatus is not of its kind; export the study again"


def test_memory_that_does_not_suffice_is_no_fault_of_a_header(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhaust(_: Any) -> bytes:
        raise MemoryError

    header = pydicom.dcmread(study.flair[0])
    monkeypatch.setattr(dicom_patient, "encode", exhaust)
    with pytest.raises(MemoryError):
        copy_patient_and_study(header)


def test_the_attributes_are_those_of_the_standards_modules() -> None:
    from highdicom._standard_utils import get_iod_module_map, get_module_attribute_map

    attributes = get_module_attribute_map()
    modules = [
        m["key"] for m in get_iod_module_map()["mr-image"] if m["ie"] in ("Patient", "Study")
    ]
    expected = [a["keyword"] for key in modules for a in attributes[key] if not a["path"]]
    assert sorted(ATTRIBUTES) == sorted(expected)
