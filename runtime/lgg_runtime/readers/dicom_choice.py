"""From the stacks of a study to the three sequences that the model takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lgg_runtime.errors import InputError
from lgg_runtime.readers.dicom_recognition import UNTOLD_T1, has_dummy_agent
from lgg_runtime.readers.dicom_series import ROLE_NAMES, UNNUMBERED, SeriesChoice, Stack
from lgg_runtime.readers.sequences import AS_ASKED, fits
from lgg_runtime.volume import Mask

# Where the head is in the images of a stack, (S, H, W).
FindHead = Callable[[Stack], Mask]


class ChoiceError(InputError):
    """No series is what is looked for, or several may be."""


@dataclass(frozen=True)
class Chosen:
    """The stacks to read.

    others: the usable T1 stacks by role, t1 or t1c. notes: why there is none for a role.
    """

    flair: Stack
    others: dict[str, Stack]
    notes: tuple[str, ...]


def choose(stacks: Sequence[Stack], choice: SeriesChoice, find_head: FindHead) -> Chosen:
    """Choose by hand where that was said, else by the rules.

    FLAIR: an original series is preferred to a derived one, then axial to another plane, then
    straight to oblique. T1: only one in FLAIR's frame of reference is taken; one that fits FLAIR is
    preferred, then an original series, then FLAIR's plane, then finer slices. Candidates that are
    equal in all of that are ambiguous, unless none fits. find_head: called for FLAIR, where a T1
    has another grid. Raises ChoiceError, with the reason alone, where there is no FLAIR or a choice
    is ambiguous; the candidates are listed.
    """
    if not stacks:
        raise ChoiceError(
            "no FLAIR: all of its images are localizers or derived; export the original series too"
        )
    stacks = _tell_contrast(stacks)
    flair = _choose_flair(stacks, choice.flair)
    if choice.flair_only:
        return Chosen(flair, {}, (AS_ASKED,))
    if choice.t1 is None and choice.t1c is None:
        _refuse_untold(stacks, flair)
    others, notes = {}, []
    for role, by_hand in (("t1", choice.t1), ("t1c", choice.t1c)):
        found, passed_over = _choose_t1(stacks, role, by_hand, flair, find_head)
        notes += [f"{stack.describe()} does not fit FLAIR" for stack in passed_over]
        if isinstance(found, str):
            notes.append(f"{found}; FLAIR in its place")
        else:
            others[role] = found
    return Chosen(flair, others, tuple(notes))


def _tell_contrast(stacks: Sequence[Stack]) -> list[Stack]:
    """The stacks; a dummy for a contrast agent stands for one where another T1 has none.

    Where all have the dummy, though a description tells of one that it is before contrast, it may
    stand for the empty value that some scanners write.
    """
    is_told = any(stack.role == "t1" and not has_dummy_agent(stack.first) for stack in stacks)
    return [
        replace(stack, role="t1c") if is_told and stack.role == UNTOLD_T1 else stack
        for stack in stacks
    ]


def _refuse_untold(stacks: Sequence[Stack], flair: Stack) -> None:
    place = flair.frame_of_reference
    near = [stack for stack in stacks if stack is not flair and stack.frame_of_reference == place]
    if {"t1", "t1c"} <= {stack.role for stack in near}:
        return  # none of the others is needed
    if untold := [stack for stack in near if stack.role == UNTOLD_T1]:
        raise ChoiceError(
            f"no more than a dummy for its contrast agent: {_listed(untold)}; choose by --t1 and "
            "--t1c, or read no T1 by --flair-only"
        )


def _choose_flair(stacks: Sequence[Stack], by_hand: str | None) -> Stack:
    if by_hand is not None:
        return _find(stacks, by_hand, "flair")
    candidates = [stack for stack in stacks if stack.role == "flair"]
    if not candidates:
        raise ChoiceError(f"no FLAIR among {_listed(stacks)}; choose it with --flair NUMBER")

    def rank(stack: Stack) -> tuple[bool, ...]:
        return (not _is_original(stack), not stack.plane.endswith("axial"), stack.plane != "axial")

    return _best(candidates, rank, "flair")


def _choose_t1(
    stacks: Sequence[Stack], role: str, by_hand: str | None, flair: Stack, find_head: FindHead
) -> tuple[Stack | str, list[Stack]]:
    """A stack, or why there is none; and the others that do not fit FLAIR.

    Where none fits, the stack is one that does not either, and says why when it is read.
    """
    if by_hand is not None:
        found = _find(stacks, by_hand, role)
        if found.frame_of_reference != flair.frame_of_reference:
            raise ChoiceError(f"--{role}: {found.describe()} is not in FLAIR's frame of reference")
        return found, []
    candidates = [stack for stack in stacks if stack.role == role]
    if not candidates:
        return f"no {ROLE_NAMES[role]}", []
    if not flair.frame_of_reference:
        return f"FLAIR has no frame of reference to find {ROLE_NAMES[role]} in", []
    near = [s for s in candidates if s.frame_of_reference == flair.frame_of_reference]
    if not near:
        return f"{ROLE_NAMES[role]} is in another frame of reference", []
    fitting = [stack for stack in near if _fits(stack, flair, find_head)]
    others = [stack for stack in near if stack not in fitting]

    def rank(stack: Stack) -> tuple[Any, ...]:
        away = 1 - abs(float(stack.first.normal @ flair.first.normal))
        return (not _is_original(stack), round(away, 2), round(_thickness(stack), 1))

    if not fitting:
        # FLAIR takes its place, so that there is nothing to choose between equals.
        first, *rest = sorted(others, key=rank)
        return first, rest
    return _best(fitting, rank, role), others


def _fits(stack: Stack, flair: Stack, find_head: FindHead) -> bool:
    """Whether it can be used: its slices span a grid, and that holds enough of FLAIR's head."""
    try:
        source, target = stack.grid().lattice, flair.grid().lattice
    except InputError:
        return False
    return fits(source, target, lambda: find_head(flair))


def _best(candidates: Sequence[Stack], rank: Callable[[Stack], Any], role: str) -> Stack:
    ranked = sorted(candidates, key=rank)
    equals = [stack for stack in ranked if rank(stack) == rank(ranked[0])]
    if len(equals) > 1 and all(len(stack.frames) == 1 for stack in equals):
        raise ChoiceError(
            f"{len(equals)} slices of {ROLE_NAMES[role]} have a SeriesInstanceUID or a "
            "FrameOfReferenceUID each; export the study again, with one for all slices of a series"
        )
    if len(equals) > 1:
        raise ChoiceError(
            f"{len(equals)} series may be {ROLE_NAMES[role]}: {_listed(equals)}; "
            f"{_tell_apart(equals, role)}"
        )
    return ranked[0]


def _tell_apart(stacks: Sequence[Stack], role: str) -> str:
    """How to choose one of them by hand: what has the same SeriesInstanceUID cannot be chosen."""
    if len({stack.uid for stack in stacks}) < len(stacks):
        return "export each stack as a series of its own"
    numbers = {stack.number for stack in stacks} - {UNNUMBERED}
    how = "NUMBER" if len(numbers) == len(stacks) else "and its SeriesInstanceUID"
    return f"choose one with --{role} {how}"


def _find(stacks: Sequence[Stack], wanted: str, role: str) -> Stack:
    found = [stack for stack in stacks if wanted in (stack.number, stack.uid)]
    if len(found) == 1:
        return found[0]
    option = f"--{role}"
    if not found:
        raise ChoiceError(f"{option}: no such series; there are {_listed(stacks)}")
    raise ChoiceError(f"{option}: {len(found)} stacks of that series: {_listed(found)}")


def _is_original(stack: Stack) -> bool:
    return "DERIVED" not in stack.first.texts("ImageType", "FrameType")


def _thickness(stack: Stack) -> float:
    """Median step between the slices in mm, 0 for one slice."""
    along = [float(stack.first.normal @ np.array(frame.position)) for frame in stack.frames]
    return float(np.median(np.diff(along))) if len(along) > 1 else 0.0


def _listed(stacks: Sequence[Stack]) -> str:
    return ", ".join(stack.describe() for stack in stacks)
