"""Which frames are a stack, and which stacks are chosen; every rule as a row."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lgg_runtime.errors import InputError, UsageError
from lgg_runtime.readers.dicom_choice import Chosen, choose
from lgg_runtime.readers.dicom_frames import Frame
from lgg_runtime.readers.dicom_recognition import is_derived
from lgg_runtime.readers.dicom_series import SeriesChoice, Stack, stack_frames

pytest.importorskip("pydicom")

import pydicom

from stand_ins.dicom_frames import AXIAL, FLAIR, T1, frame_of

SAGITTAL = (0, 1.0, 0, 0, 0, -1.0)
TILTED = (1.0, 0, 0, 0, 0.966, 0.259)  # by 15 degrees
MPR = {"ImageType": ["DERIVED", "SECONDARY", "MPR"]}


def stacks_of(*series: dict[str, Any]) -> list[Stack]:
    """A stack of 20 mm, five slices, for each; keys step and orientation are the geometry's."""
    frames = []
    for number, given in enumerate(series, start=1):
        attributes = {"SeriesNumber": number, "SeriesInstanceUID": f"1.2.3.4.5.{number}",
                      "FrameOfReferenceUID": "1.2.3.4.9"} | given  # fmt: skip
        step = attributes.pop("step", 5.0)
        orientation = attributes.pop("orientation", AXIAL)
        count = round(20 / step) + 1
        frames += [frame_of(k * step, orientation, **attributes) for k in range(count)]
    return stack_frames(frames)[0]


def choose_of(stacks: list[Stack], choice: SeriesChoice) -> Chosen:
    """Of images that the head fills."""
    return choose(stacks, choice, lambda flair: np.ones(flair.grid().lattice.shape, bool))


def group_of_type(*values: str) -> Any:
    """A functional group that holds a FrameType."""
    group, macro = pydicom.Dataset(), pydicom.Dataset()
    macro.FrameType = list(values)
    group.MRImageFrameTypeSequence = [macro]
    return group


def test_localizers_and_derived_pictures_are_dropped() -> None:
    odd = frame_of(0, SAGITTAL, SeriesInstanceUID="1.2.3.4.5.1", **FLAIR)
    scout = frame_of(0, AXIAL, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"], **T1)
    adc = frame_of(0, AXIAL, ImageType=["DERIVED", "PRIMARY", "ADC"], SeriesInstanceUID="1.2.3.4.6")
    series = [frame_of(k * 5.0, AXIAL, SeriesInstanceUID="1.2.3.4.5.1", **FLAIR) for k in range(5)]
    stacks, dropped = stack_frames([odd, scout, *series, adc])
    assert [(len(stack.frames), stack.role) for stack in stacks] == [(5, "flair")]
    assert dropped == 3


@pytest.mark.parametrize("place", ["PerFrameFunctionalGroups", "SharedFunctionalGroups"])
def test_of_an_enhanced_image_the_frame_s_own_type_says_that_it_is_derived(place: str) -> None:
    """FrameType (PS3.3, C.8.13.5.1); the ImageType of the file is that of all its frames."""

    def frame(kind: str) -> Frame:
        groups = {f"{place}Sequence": [group_of_type("DERIVED", "PRIMARY", "DIFFUSION", kind)]}
        return frame_of(0, AXIAL, ImageType=["ORIGINAL", "PRIMARY"], **groups)

    assert [is_derived(frame(kind)) for kind in ("ADC", "NONE")] == [True, False]


def test_of_two_alike_the_series_whose_frames_are_original_is_chosen() -> None:
    derived, original = (
        FLAIR | {"SharedFunctionalGroupsSequence": [group_of_type(kind, "PRIMARY", "T2", "NONE")]}
        for kind in ("DERIVED", "ORIGINAL")
    )
    assert choose_of(stacks_of(derived, original), SeriesChoice()).flair.number == "2"
    assert choose_of(stacks_of(original, derived), SeriesChoice()).flair.number == "1"


@pytest.mark.parametrize(
    ("sine", "turned", "sizes"),
    [(0.009, 1, [6]), (0.011, 3, [5]), (0.011, 4, [5, 4]), (0.011, 5, [5, 5])],
)
def test_four_planes_turned_by_more_than_a_hundredth_are_a_stack_of_their_own(
    sine: float, turned: int, sizes: list[int]
) -> None:
    other = (1.0, 0, 0, 0, (1 - sine**2) ** 0.5, sine)
    frames = [frame_of(k * 5.0, AXIAL, **FLAIR) for k in range(5)]
    frames += [frame_of(k * 5.0, other, **FLAIR) for k in range(turned)]
    stacks, dropped = stack_frames(frames)
    assert sorted((len(stack.frames) for stack in stacks), reverse=True) == sizes
    assert dropped == len(frames) - sum(sizes)


def test_a_larger_part_of_a_series_in_another_frame_of_reference_is_missed() -> None:
    """Of two halves the original one was taken, and the head was half."""
    halves = (("1.2.3.4.8", {}), ("1.2.3.4.9", MPR))
    frames = [
        frame_of(5.0 * (5 * half + k), AXIAL, SeriesNumber=1, SeriesInstanceUID="1.2.3.4.5.1",
                 FrameOfReferenceUID=uid, **FLAIR, **kind)
        for half, (uid, kind) in enumerate(halves) for k in range(5)
    ]  # fmt: skip
    chosen = choose_of(stack_frames(frames)[0], SeriesChoice())
    assert (len(chosen.flair.frames), chosen.flair.torn) == (5, 5)
    with pytest.raises(InputError, match=r"^series 1: 5 slices continue it in another orientation"):
        chosen.flair.grid()


def test_frames_that_are_each_turned_in_their_own_way_are_not_compared_one_by_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A file may hold thousands, and so millions of pairs."""
    normals, normal = list[str](), Frame.normal.fget
    monkeypatch.setattr(
        Frame, "normal", property(lambda frame: (normals.append(frame.name), normal(frame))[1])
    )
    angles = np.linspace(0, np.pi, 100)
    frames = [
        frame_of(5.0 * k, (1.0, 0, 0, 0, float(np.cos(a)), float(np.sin(a))), **FLAIR)
        for a in angles
        for k in range(2)
    ]
    assert [len(stack.frames) for stack in stack_frames(frames)[0]] == [2] * 100
    assert len(normals) < 5 * len(frames)


def test_orientations_that_drift_are_parted_alike_in_any_order_of_files() -> None:
    """With a middle one first, nearly all lay within a hundredth of it, and a fiftieth apart."""
    sines = [0.0021 * k for k in range(10)]
    frames = [
        frame_of(5.0 * k, (1.0, 0, 0, 0, (1 - sine**2) ** 0.5, sine), **FLAIR)
        for k, sine in enumerate(sines)
    ]
    orders = (frames, frames[::-1], [*frames[5:], *frames[:5]])
    parted = [sorted(len(stack.frames) for stack in stack_frames(order)[0]) for order in orders]
    assert parted == [[5, 5]] * 3


@pytest.mark.parametrize("first", [False, True])
def test_a_derived_picture_in_a_series_is_dropped_wherever_its_file_is(first: bool) -> None:
    series = [frame_of(k * 5.0, AXIAL, **FLAIR) for k in range(5)]
    projection = frame_of(10.0, AXIAL, ImageType=["DERIVED", "PRIMARY", "MIP"], **FLAIR)
    stacks, dropped = stack_frames([projection, *series] if first else [*series, projection])
    assert ([len(stack.frames) for stack in stacks], dropped) == ([5], 1)


def test_the_three_sequences_are_chosen() -> None:
    chosen = choose_of(stacks_of(T1, FLAIR, {**T1, "ContrastBolusAgent": "x"}), SeriesChoice())
    assert chosen.flair.number == "2"
    assert {role: stack.number for role, stack in chosen.others.items()} == {"t1": "1", "t1c": "3"}
    assert chosen.notes == ()


@pytest.mark.parametrize(
    "series",
    [
        ({**FLAIR, "orientation": SAGITTAL}, FLAIR),
        ({**FLAIR, **MPR}, FLAIR),
        ({**FLAIR, **MPR}, {**FLAIR, "orientation": SAGITTAL}),
        ({**FLAIR, "orientation": TILTED}, FLAIR),
        ({**FLAIR, "orientation": SAGITTAL}, {**FLAIR, "orientation": TILTED}),
    ],
)
def test_an_original_and_axial_flair_goes_before_another(
    series: tuple[dict[str, Any], ...],
) -> None:
    assert choose_of(stacks_of(*series), SeriesChoice()).flair.number == "2"


@pytest.mark.parametrize(
    "series",
    [
        ({**T1, "orientation": SAGITTAL}, T1),
        (T1, {**T1, "step": 1.0}),
        ({**T1, "orientation": SAGITTAL, "step": 1.0}, T1),
        ({**T1, **MPR, "step": 1.0}, T1),
        ({**T1, **MPR}, {**T1, "orientation": SAGITTAL}),
    ],
)
def test_an_original_t1_then_flairs_plane_then_the_finer_one_is_taken(
    series: tuple[dict[str, Any], ...],
) -> None:
    assert choose_of(stacks_of(FLAIR, *series), SeriesChoice()).others["t1"].number == "3"


@pytest.mark.parametrize(
    ("orientation", "corner", "step"),
    [
        ((-1.0, 0, 0, 0, 1.0, 0), (7.0, 0, 20), 5.0),  # its normal points downwards
        ((1.0, 0, 0, 0, 0.9986, 0.0523), (0, 0.5, 0), 1.0),  # it leans by 3 degrees, and is finer
    ],
)
def test_a_t1_that_faces_the_other_way_or_hardly_leans_is_in_flairs_plane(
    orientation: tuple[float, ...], corner: tuple[float, float, float], step: float
) -> None:
    ours = {"SeriesNumber": 7, "SeriesInstanceUID": "7", "FrameOfReferenceUID": "1.2.3.4.9", **T1}
    normal = np.cross(orientation[:3], orientation[3:])
    frames = [
        replace(frame_of(**ours), orientation=orientation, position=tuple(corner + height * normal))
        for height in np.arange(0, 20 + step, step)
    ]
    plane = AXIAL if step < 5 else SAGITTAL
    stacks = [*stacks_of(FLAIR, {**T1, "orientation": plane}), *stack_frames(frames)[0]]
    assert choose_of(stacks, SeriesChoice()).others["t1"].number == "7"


@pytest.mark.parametrize("heights", [[9.0], [9.0] * 5, [2.0, 4, 6, 8, 10], [0.0, 1, 2, 18, 20]])
def test_a_t1_that_cannot_be_used_does_not_take_the_place_of_one_that_can(
    heights: list[float],
) -> None:
    """One slice, slices at one position, a thin slab, and irregular ones are all "finer"."""
    ours = {"SeriesNumber": 7, "SeriesInstanceUID": "7", "FrameOfReferenceUID": "1.2.3.4.9", **T1}
    (other,) = stack_frames([frame_of(height, AXIAL, **ours) for height in heights])[0]
    chosen = choose_of([*stacks_of(FLAIR, T1), other], SeriesChoice())
    assert chosen.others["t1"].number == "2"
    assert any("series 7 " in note and "does not fit FLAIR" in note for note in chosen.notes)
    assert choose_of([*stacks_of(FLAIR), other], SeriesChoice()).others["t1"].number == "7"


def test_of_several_t1_that_cannot_be_used_none_has_to_be_chosen() -> None:
    slabs = [
        stack_frames([
            frame_of(height, AXIAL, SeriesNumber=number, SeriesInstanceUID=str(number),
                     FrameOfReferenceUID="1.2.3.4.9", **T1)
            for height in (8.0, 9, 10, 11)
        ])[0]
        for number in (7, 8)
    ]  # fmt: skip
    chosen = choose_of([*stacks_of(FLAIR), *slabs[0], *slabs[1]], SeriesChoice())
    assert chosen.others["t1"].number == "7"  # whose reading says what it covers
    (told,) = (note for note in chosen.notes if "does not fit FLAIR" in note)
    assert told.startswith("series 8 ")


def test_a_missing_or_misplaced_t1_is_replaced_and_that_is_said() -> None:
    stacks = stacks_of(FLAIR, {**T1, "FrameOfReferenceUID": "1.2.3.4.8"})
    chosen = choose_of(stacks, SeriesChoice())
    assert chosen.others == {}
    assert chosen.notes == (
        "pre-contrast T1 is in another frame of reference; FLAIR in its place",
        "no post-contrast T1; FLAIR in its place",
    )


DUMMY = {"ContrastBolusAgent": "ANONYMIZED"}


def test_a_dummy_for_an_agent_is_one_where_another_t1_has_none() -> None:
    chosen = choose_of(stacks_of(FLAIR, {**T1, **DUMMY}, T1), SeriesChoice())
    assert {role: stack.number for role, stack in chosen.others.items()} == {"t1c": "2", "t1": "3"}
    assert chosen.notes == ()


def test_where_every_agent_is_a_dummy_no_t1_is_taken_for_one_after_contrast() -> None:
    """The dummy may stand for the empty value that some scanners write for none."""
    stacks = stacks_of(FLAIR, {**T1, **DUMMY})
    with pytest.raises(InputError) as refused:
        choose_of(stacks, SeriesChoice())
    assert str(refused.value) == (
        "no more than a dummy for its contrast agent: series 2 (T1, with or without contrast, "
        "axial, 5 x 8 x 8); choose by --t1 and --t1c, or read no T1 by --flair-only"
    )
    assert choose_of(stacks, SeriesChoice(t1="2")).others["t1"].number == "2"
    assert choose_of(stacks, SeriesChoice(flair_only=True)).others == {}


def test_a_description_of_one_t1_says_nothing_of_another_whose_agent_is_a_dummy() -> None:
    """Where all have the dummy: a sagittal T1 before contrast was taken for the one after it."""
    before, after = ({**T1, **DUMMY, "SeriesDescription": words} for words in ("PRE", "POST"))
    with pytest.raises(InputError, match=r"no more than a dummy .*: series 3 \(T1, with or with"):
        choose_of(stacks_of(FLAIR, before, {**T1, **DUMMY}), SeriesChoice())
    chosen = choose_of(stacks_of(FLAIR, before, {**T1, **DUMMY}, after), SeriesChoice())
    assert {role: stack.number for role, stack in chosen.others.items()} == {"t1": "2", "t1c": "4"}


def test_a_dummy_for_an_agent_does_no_harm_where_its_t1_is_of_no_use() -> None:
    elsewhere = stacks_of(FLAIR, {**T1, **DUMMY, "FrameOfReferenceUID": "1.2.3.4.8"})
    assert choose_of(elsewhere, SeriesChoice()).others == {}


@pytest.mark.parametrize("keyword", ["SeriesInstanceUID", "FrameOfReferenceUID"])
def test_slices_with_a_uid_each_that_a_series_has_once_are_told_as_that(keyword: str) -> None:
    frames = [frame_of(5.0 * k, **FLAIR, **{keyword: f"1.2.3.4.{k}"}) for k in range(6)]
    with pytest.raises(InputError) as refused:
        choose_of(stack_frames(frames)[0], SeriesChoice())
    assert str(refused.value) == (
        "6 slices of FLAIR have a SeriesInstanceUID or a FrameOfReferenceUID each; export the "
        "study again, with one for all slices of a series"
    )


@pytest.mark.parametrize(
    ("series", "choice", "message"),
    [
        ((FLAIR, T1, T1), {}, "2 series may be pre-contrast T1: series 2 (pre-contrast T1, axial, "
         "5 x 8 x 8), series 3 (pre-contrast T1, axial, 5 x 8 x 8); choose one with --t1 NUMBER"),
        ((FLAIR, {**T1, "step": 5.02}, T1), {}, "2 series may be pre-contrast T1: series 2 "
         "(pre-contrast T1, axial, 5 x 8 x 8), series 3 (pre-contrast T1, axial, 5 x 8 x 8); "
         "choose one with --t1 NUMBER"),
        ((FLAIR, {**FLAIR, "SeriesNumber": 1}), {}, "2 series may be FLAIR: series 1 (FLAIR, "
         "axial, 5 x 8 x 8), series 1 (FLAIR, axial, 5 x 8 x 8); choose one with --flair and its "
         "SeriesInstanceUID"),
        (({**FLAIR, "SeriesNumber": None}, FLAIR), {}, "2 series may be FLAIR: series ? (FLAIR, "
         "axial, 5 x 8 x 8), series 2 (FLAIR, axial, 5 x 8 x 8); choose one with --flair and its "
         "SeriesInstanceUID"),
        ((FLAIR, {**FLAIR, "SeriesInstanceUID": "1.2.3.4.5.1", "FrameOfReferenceUID": "1.2.3.4.8"}),
         {}, "2 series may be FLAIR: series 2 (FLAIR, axial, 5 x 8 x 8), series 1 (FLAIR, axial, "
         "5 x 8 x 8); export each stack as a series of its own"),
        ((), {}, "no FLAIR: all of its images are localizers or derived; export the original "
         "series too"),
        ((), {"flair": "1"}, "no FLAIR: all of its images are localizers or derived; export the "
         "original series too"),
    ],
)  # fmt: skip
def test_what_cannot_be_chosen_is_refused_with_the_candidates(
    series: tuple[dict[str, Any], ...], choice: dict[str, str], message: str
) -> None:
    with pytest.raises(InputError) as refused:
        choose_of(stacks_of(*series), SeriesChoice(**choice))
    assert str(refused.value) == message


def test_flair_without_a_frame_of_reference_is_told_as_that() -> None:
    nowhere = {"FrameOfReferenceUID": ""}
    chosen = choose_of(stacks_of({**FLAIR, **nowhere}, {**T1, **nowhere}), SeriesChoice())
    assert chosen.notes[0] == (
        "FLAIR has no frame of reference to find pre-contrast T1 in; FLAIR in its place"
    )


def test_with_flair_alone_no_t1_is_chosen_nor_missed() -> None:
    chosen = choose_of(stacks_of(FLAIR, T1, T1), SeriesChoice(flair_only=True))
    assert (chosen.flair.number, chosen.others) == ("1", {})
    assert chosen.notes == ("FLAIR in the place of the other sequences, as asked",)
    with pytest.raises(UsageError, match="--flair-only reads no T1; leave --t1 and --t1c out"):
        SeriesChoice(t1c="2", flair_only=True)


def test_a_choice_by_hand_is_a_number_or_a_uid() -> None:
    stacks = stacks_of(FLAIR, FLAIR, T1, T1)
    chosen = choose_of(stacks, SeriesChoice(flair="2", t1="1.2.3.4.5.4"))
    assert (chosen.flair.number, chosen.others["t1"].number) == ("2", "4")
