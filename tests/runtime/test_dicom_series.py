"""Which series is what, and which one is chosen; every rule as a row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lgg_runtime.errors import InputError
from lgg_runtime.readers.dicom_choice import choose
from lgg_runtime.readers.dicom_frames import Frame
from lgg_runtime.readers.dicom_series import SeriesChoice, Stack, recognise, stack_frames

pydicom = pytest.importorskip("pydicom")
AXIAL, SAGITTAL = (1.0, 0, 0, 0, 1.0, 0), (0, 1.0, 0, 0, 0, -1.0)
TILTED = (1.0, 0, 0, 0, 0.966, 0.259)  # by 15 degrees

FLAIR = {"EchoTime": 120, "InversionTime": 2500, "RepetitionTime": 9000}
T1 = {"EchoTime": 12, "RepetitionTime": 500}


def header_of(**attributes: Any) -> Any:
    header = pydicom.Dataset()
    header.Rows, header.Columns = 8, 8
    for keyword, value in attributes.items():
        setattr(header, keyword, value)
    return header


def frame_of(
    height: float = 0.0, orientation: tuple[float, ...] = AXIAL, **attributes: Any
) -> Frame:
    normal = (0.0, 0.0, height) if orientation == AXIAL else (-height, 0.0, 0.0)
    return Frame(Path("f"), header_of(**attributes), 0, normal, orientation, (1.0, 1.0))


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


def stacks_of(*series: dict[str, Any]) -> list[Stack]:
    """A stack of five slices for each; keys step and orientation are the geometry's."""
    frames = []
    for number, given in enumerate(series, start=1):
        attributes = {"SeriesNumber": number, "SeriesInstanceUID": f"1.2.3.4.5.{number}",
                      "FrameOfReferenceUID": "1.2.3.4.9"} | given  # fmt: skip
        step = attributes.pop("step", 5.0)
        orientation = attributes.pop("orientation", AXIAL)
        frames += [frame_of(k * step, orientation, **attributes) for k in range(5)]
    return stack_frames(frames)[0]


@pytest.mark.parametrize(
    ("attributes", "role"),
    [
        (FLAIR, "flair"),
        ({"EchoTime": 380, "InversionTime": 1800, "RepetitionTime": 5000}, "flair"),
        (T1, "t1"),
        ({**T1, "ContrastBolusAgent": "Gadovist"}, "t1c"),
        ({**T1, "ContrastBolusAgent": "NONE"}, "t1"),
        ({**T1, "ContrastBolusAgentSequence": [pydicom.Dataset()]}, "t1c"),
        ({**T1, "ContrastBolusAgentSequence": []}, "t1"),
        ({**T1, "SeriesDescription": "ax T1 post gad"}, "t1c"),
        ({**T1, "SeriesDescription": "ax T1 pre contrast"}, "t1"),
        ({**T1, "SeriesDescription": "t1 without contrast"}, "t1"),
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


@pytest.mark.parametrize("agent", ["Gadovist", "10 ML", "GD", "NOVAVIST", "Omniscan", "YES", "1"])
def test_any_other_agent_is_one(agent: str) -> None:
    assert recognise(frame_of(**T1, ContrastBolusAgent=agent)) == "t1c"


def test_localizers_and_derived_pictures_are_dropped() -> None:
    odd = frame_of(0, SAGITTAL, SeriesInstanceUID="1.2.3.4.5.1", **FLAIR)
    scout = frame_of(0, AXIAL, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"], **T1)
    adc = frame_of(0, AXIAL, ImageType=["DERIVED", "PRIMARY", "ADC"], SeriesInstanceUID="1.2.3.4.6")
    series = [frame_of(k * 5.0, AXIAL, SeriesInstanceUID="1.2.3.4.5.1", **FLAIR) for k in range(5)]
    stacks, dropped = stack_frames([odd, scout, *series, adc])
    assert [(len(stack.frames), stack.role) for stack in stacks] == [(5, "flair")]
    assert dropped == 3


def test_the_three_sequences_are_chosen() -> None:
    chosen = choose(stacks_of(T1, FLAIR, {**T1, "ContrastBolusAgent": "x"}), SeriesChoice())
    assert chosen.flair.number == "2"
    assert {role: stack.number for role, stack in chosen.others.items()} == {"t1": "1", "t1c": "3"}
    assert chosen.notes == ()


@pytest.mark.parametrize(
    "series",
    [
        ({**FLAIR, "orientation": SAGITTAL}, FLAIR),
        ({**FLAIR, "ImageType": ["DERIVED", "SECONDARY", "MPR"]}, FLAIR),
        ({**FLAIR, "orientation": TILTED}, FLAIR),
        ({**FLAIR, "orientation": SAGITTAL}, {**FLAIR, "orientation": TILTED}),
    ],
)
def test_an_original_and_axial_flair_goes_before_another(
    series: tuple[dict[str, Any], ...],
) -> None:
    assert choose(stacks_of(*series), SeriesChoice()).flair.number == "2"


def test_the_t1_in_flairs_plane_and_then_the_finer_one_is_taken() -> None:
    stacks = stacks_of(FLAIR, {**T1, "orientation": SAGITTAL}, T1, {**T1, "step": 1.0})
    assert choose(stacks, SeriesChoice()).others["t1"].number == "4"


def test_a_missing_or_misplaced_t1_is_replaced_and_that_is_said() -> None:
    stacks = stacks_of(FLAIR, {**T1, "FrameOfReferenceUID": "1.2.3.4.8"})
    chosen = choose(stacks, SeriesChoice())
    assert chosen.others == {}
    assert chosen.notes == (
        "pre-contrast T1 is in another frame of reference; FLAIR in its place",
        "no post-contrast T1; FLAIR in its place",
    )


@pytest.mark.parametrize(
    ("series", "choice", "message"),
    [
        ((T1,), {}, "no FLAIR among series 1 (pre-contrast T1, axial, 5 x 8 x 8); choose it with "
         "--flair NUMBER"),
        ((FLAIR, FLAIR), {}, "2 series may be FLAIR: series 1 (FLAIR, axial, 5 x 8 x 8), "
         "series 2 (FLAIR, axial, 5 x 8 x 8); choose one with --flair NUMBER"),
        ((FLAIR, T1, T1), {}, "2 series may be pre-contrast T1: series 2 (pre-contrast T1, axial, "
         "5 x 8 x 8), series 3 (pre-contrast T1, axial, 5 x 8 x 8); choose one with --t1 NUMBER"),
        ((FLAIR,), {"flair": "7"}, "--flair: no such series; there are series 1 (FLAIR, axial, "
         "5 x 8 x 8)"),
        ((FLAIR, {**T1, "FrameOfReferenceUID": "1.2.3.4.8"}), {"t1": "2"}, "--t1: series 2 "
         "(pre-contrast T1, axial, 5 x 8 x 8) is not in FLAIR's frame of reference"),
        ((), {}, "no FLAIR among no usable series; choose it with --flair NUMBER"),
    ],
)  # fmt: skip
def test_what_cannot_be_chosen_is_refused_with_the_candidates(
    series: tuple[dict[str, Any], ...], choice: dict[str, str], message: str
) -> None:
    with pytest.raises(InputError) as refused:
        choose(stacks_of(*series), SeriesChoice(**choice))
    assert str(refused.value) == message


def test_a_choice_by_hand_is_a_number_or_a_uid() -> None:
    stacks = stacks_of(FLAIR, FLAIR, T1, T1)
    chosen = choose(stacks, SeriesChoice(flair="2", t1="1.2.3.4.5.4"))
    assert (chosen.flair.number, chosen.others["t1"].number) == ("2", "4")
