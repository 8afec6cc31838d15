"""What a series shows; every rule as a row."""

from __future__ import annotations

from typing import Any

import pytest

from lgg_runtime.readers.dicom_files import load_pydicom
from lgg_runtime.readers.dicom_recognition import UNTOLD_T1, recognise

pytest.importorskip("pydicom")

import pydicom

from stand_ins.dicom_frames import FLAIR, T1, frame_of


def enhanced(echo: float, repetition: float, inversion: float | None = None) -> dict[str, Any]:
    """The times as Enhanced MR has them, in ms (PS3.3, C.8.13.5)."""
    groups, timing, echoes = (pydicom.Dataset() for _ in range(3))
    timing.RepetitionTime, echoes.EffectiveEchoTime = repetition, echo
    groups.MRTimingAndRelatedParametersSequence, groups.MREchoSequence = [timing], [echoes]
    if inversion is not None:
        modifier = pydicom.Dataset()
        modifier.InversionTimes = [inversion]
        groups.MRModifierSequence = [modifier]
    return {"SharedFunctionalGroupsSequence": [groups]}


# Of haemorrhage: times of a T1 but for the echo of a gradient echo.
T2_STAR = {"EchoTime": 19.9, "RepetitionTime": 620, "ScanningSequence": "GR"}
NO_T1 = ("t2_ci3d_tra", "AX FIESTA-C", "3D_CISS", "trufi_sag", "TRUEFISP", "sBTFE", "B-FFE 3D",
         "ASSET Calibration", "CAL HNS", "LOC", "Ax Inhance 3D Velocity")  # fmt: skip
DOUBLE_INVERSION = ("t2_space_dir_sag_p2_iso", "3D DIR", "Double IR", "double inversion recovery")
PRE_CONTRAST = (
    "AX T1 NO CONTRAST", "T1 no gad", "t1_tse_tra_ohne_KM", "T1 vor KM", "T1 sans gado",
    "T1 sin contraste", "T1 zonder contrast", "T1 AX NO +C", "T1 W/O IV CONTRAST", "T1 noncontrast",
    "T1 w/out contrast", "T1 w/o i.v. contrast", "T1 without any contrast", "T1 CONTRAST W/O",
    "T1 Contrast - without", "T1 without and with contrast", "W/O & W CONTRAST T1",
    "T1 nativ", "SAG T1CUBE", "T1COR", "t1_tse_tra_headcoil", "T1 + COR",
    "AX T1 POST OP", "T1_POSTOP", "T1 post-surgery", "T1 POST RADIATION", "T1 post-rad",
    "SAG T1 POST FOSSA", "T1 post biopsy", "T1 post resection", "T1 post treatment",
)  # fmt: skip
POST_CONTRAST = (
    "T1 POST GAD W/O FS", "T1 post without fatsat", "T1 PRESAT POST GD", "T1 AX PRE-OP +C",
    "AX T1 + C", "T1C3D", "T1CE3D", "T1CEsag", "t1ceMPRAGE", "T1 mprage prescan norm post contrast",
    "T1 FSPGR PREP +C", "IR-prep post Gd", "T1 presurgery post contrast",
    "T1C_AX", "t1ce", "T1 mit KM",
    "T1 POST OPTIC NERVE", "T1 post radial VIBE", "T1 POST OP +C", "T1 postop post gad",
)  # fmt: skip


@pytest.mark.parametrize(
    ("attributes", "role"),
    [
        (FLAIR, "flair"),
        ({"EchoTime": 380, "InversionTime": 1800, "RepetitionTime": 5000}, "flair"),
        *(({**FLAIR, "SeriesDescription": text}, None) for text in DOUBLE_INVERSION),
        ({**FLAIR, "SeriesDescription": "FLAIR direct"}, "flair"),
        (T1, "t1"),
        ({**T1, "ContrastBolusAgent": "Gadovist"}, "t1c"),
        ({**T1, "ContrastBolusAgent": "NONE"}, "t1"),
        ({**T1, "ContrastBolusAgentSequence": [pydicom.Dataset()]}, "t1c"),
        ({**T1, "ContrastBolusAgentSequence": []}, "t1"),
        ({**T1, "SeriesDescription": "ax T1 post gad"}, "t1c"),
        ({**T1, "SeriesDescription": "ax T1 pre contrast"}, "t1"),
        ({**T1, "SeriesDescription": "t1 without contrast"}, "t1"),
        *(({**T1, "SeriesDescription": text}, "t1") for text in PRE_CONTRAST),
        *(({**T1, "SeriesDescription": text}, "t1c") for text in POST_CONTRAST),
        ({"EchoTime": 120, "RepetitionTime": 9000, "SeriesDescription": "FLAIR headcoil"}, "flair"),
        ({"EchoTime": 120, "RepetitionTime": 9000, "SeriesDescription": "FLAIR eADC"}, None),
        ({**T1, "SeriesDescription": "AX_T1_POST"}, "t1c"),
        ({**T1, "SeriesDescription": "t1_mprage_tra_post"}, "t1c"),
        ({**T1, "SeriesDescription": "t1_se_tra_km"}, "t1c"),
        ({**T1, "SeriesDescription": "T1_GD_AX"}, "t1c"),
        ({**T1, "ProtocolName": "T1_SE_CE"}, "t1c"),
        ({**T1, "SeriesDescription": "AX T1", "ProtocolName": "BRAIN W CONTRAST"}, "t1"),
        ({**T1, "SeriesDescription": "AX T1", "ProtocolName": "TUMOR PERFUSION"}, "t1"),
        ({**T1, "SeriesDescription": "AX T1 POST", "ProtocolName": "W/O CONTRAST"}, "t1c"),
        ({"SeriesDescription": "AX FLAIR", "ProtocolName": "BRAIN MRA"}, "flair"),
        ({**T1, "SeriesDescription": "", "ProtocolName": "T1_SE_CE"}, "t1c"),
        ({**T1, "SeriesDescription": "T1_PRE_CONTRAST"}, "t1"),
        ({**T1, "SeriesDescription": "t1_tra_pre_contrast"}, "t1"),
        ({**T1, "SeriesDescription": "AX_T1_POSTERIOR_FOSSA"}, "t1"),
        ({**T1, "SeriesDescription": "t1_sub_tra"}, None),
        ({"EchoTime": 3, "InversionTime": 900, "RepetitionTime": 2300}, "t1"),
        ({"EchoTime": 9, "InversionTime": 860, "RepetitionTime": 2000,
          "SeriesDescription": "AX T1 FLAIR"}, "t1"),
        ({"EchoTime": 100, "RepetitionTime": 4000, "ScanningSequence": "SE"}, None),
        ({"EchoTime": 100, "RepetitionTime": 9000, "ScanningSequence": ["SE", "IR"],
          "SeriesDescription": "AX FLAIR"}, "flair"),
        ({"EchoTime": 50, "InversionTime": 150, "RepetitionTime": 4000}, None),
        ({"EchoTime": 70, "InversionTime": 160, "RepetitionTime": 4000,
          "SeriesDescription": "t2_tirm_tra_fs"}, None),
        ({"EchoTime": 90, "RepetitionTime": 5000, "ScanningSequence": "EP",
          "SeriesDescription": "flair-like"}, None),
        ({"ScanningSequence": ["EP", "IR"], "SeriesDescription": "AX FLAIR"}, None),
        ({**enhanced(120, 9000, 2500), "EchoPlanarPulseSequence": "NO"}, "flair"),
        ({**enhanced(120, 9000, 2500), "EchoPlanarPulseSequence": "YES"}, None),
        ({**enhanced(30, 800), "EchoPlanarPulseSequence": "NO"}, "t1"),
        ({**enhanced(30, 800), "EchoPlanarPulseSequence": "YES"}, None),
        ({"EchoTime": 4, "RepetitionTime": 25, "SeriesDescription": "TOF 3D"}, None),
        ({"EchoTime": 20, "RepetitionTime": 28, "SeriesDescription": "SWI"}, None),
        ({**T2_STAR, "SeriesDescription": "t2_fl2d_tra_hemo"}, None),
        ({**T2_STAR, "SeriesDescription": "AX GRE", "ContrastBolusAgent": "Gadovist"}, None),
        ({**T2_STAR, "EchoTime": 12, "SeriesDescription": "T1 FLASH"}, "t1"),
        ({**T2_STAR, "ScanningSequence": ["SE", "GR"], "SeriesDescription": "T1 GRASE"}, "t1"),
        *(({"EchoTime": 3, "RepetitionTime": 7, "SeriesDescription": text}, None)
          for text in NO_T1),
        ({"EchoTime": 3, "RepetitionTime": 7, "SeriesDescription": "T1_3D_TFE_cor_vertical"}, "t1"),
        ({**T1, "SeriesDescription": "T1 like T2"}, "t1"),
        ({**enhanced(16, 700), "EchoPulseSequence": "GRADIENT"}, None),
        ({**enhanced(16, 700), "EchoPulseSequence": "SPIN"}, "t1"),
        ({"SeriesDescription": "AX T2 FLAIR"}, "flair"),
        ({"SeriesDescription": "dark fluid space"}, "flair"),
        ({"SeriesDescription": "AX T1 FLAIR"}, "t1"),
        ({"SeriesDescription": "t1_tirm_tra_dark-fluid_km"}, "t1c"),
        ({"EchoTime": 9, "SeriesDescription": "AX T1 FLAIR"}, "t1"),
        ({"EchoTime": 120, "RepetitionTime": 9000, "SeriesDescription": "FLAIR like T1"}, "flair"),
        ({"EchoTime": 120, "RepetitionTime": 9000, "SeriesDescription": "AX T1"}, None),
        ({"SeriesDescription": "FLAIR T2 as T1"}, "flair"),
        ({"SeriesDescription": "MPRAGE +C"}, "t1c"),
        ({"SeriesDescription": "localizer flair"}, None),
        ({"SeriesDescription": "T2 TSE"}, None),
        ({}, None),
        ({**FLAIR, "SeriesDescription": "T1 axial"}, "flair"),
    ],
)  # fmt: skip
def test_a_sequence_is_recognised_by_its_times_before_its_name(
    attributes: dict[str, Any], role: str | None
) -> None:
    assert recognise(frame_of(**attributes)) == role


@pytest.mark.parametrize(
    "agent",
    ["NO CONTRAST", "NONE", "none given", "No contrast given", "N", "NO", "N/A", "NA", "n.a.", "-",
     "--", "0", "WITHOUT", "w/o contrast", "NO_CONTRAST", "kein", "KEIN KM", "ohne"],
)  # fmt: skip
def test_an_agent_that_says_there_was_none_is_none(agent: str) -> None:
    assert recognise(frame_of(**T1, ContrastBolusAgent=agent)) == "t1"
    described = frame_of(**T1, ContrastBolusAgent=agent, SeriesDescription="AX T1 POST")
    assert recognise(described) == "t1c"


@pytest.mark.parametrize(
    "agent",
    ["ANONYMIZED", "Anonymised^", "[REMOVED]", "DUMMY", "de-identified", "XXXX", "***"],
)
def test_a_dummy_for_an_agent_says_nothing_but_the_description_does(agent: str) -> None:
    for words, role in (("AX T1", UNTOLD_T1), ("AX T1 POST", "t1c"), ("T1 no contrast", "t1")):
        described = frame_of(**T1, ContrastBolusAgent=agent, SeriesDescription=words)
        assert recognise(described) == role


@pytest.mark.parametrize("agent", ["Gadovist", "10 ML", "GD", "NOVAVIST", "Omniscan", "YES", "1"])
def test_any_other_agent_is_one(agent: str) -> None:
    assert recognise(frame_of(**T1, ContrastBolusAgent=agent)) == "t1c"


@pytest.mark.parametrize("words", ["w/" * 26, "any&" * 13])
def test_no_description_is_tried_in_more_ways_than_it_has_letters(words: str) -> None:
    """Where each of 26 words can be read in two ways, there are 2^26 to try."""
    header = {**T1, "SeriesDescription": f"T1 post no {words}x"}
    assert len(header["SeriesDescription"]) == 64
    assert recognise(frame_of(**header)) == "t1c"


def test_what_stands_far_behind_in_a_description_of_any_length_says_nothing() -> None:
    """The time goes by the square of its length, and some encodings set no limit to that."""
    load_pydicom()  # which then takes a value of any length
    words = f"T1 post {'x' * 1024} without contrast"
    assert recognise(frame_of(**{**T1, "SeriesDescription": words})) == "t1c"
