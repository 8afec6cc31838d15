"""Which slices train, validate and test: by patient, by slice, in folds, or all train; kept as
JSON.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lgg_runtime import strict_json
from lgg_runtime.errors import InputError, ModelError, UsageError, naming
from lgg_runtime.readers.regular import read_text
from lgg_runtime.writers.atomic import write_atomically
from lgg_train.cases import CaseFiles, institution_of

PARTS = ("train", "validation", "test")
_SCHEMA = 1
VALIDATION_FRACTION = 0.10
# 0.16 of the patients, or as the usual notebook has it, a tenth of the slices.
TEST_FRACTIONS = {"patient": 0.16, "slice": 0.10, "all": 0.0}
SPLIT_BY = tuple(TEST_FRACTIONS)
_LEAST_DIVIDED = 6  # patients, or slices: a tenth of fewer rounds to none that validates


@dataclass(frozen=True)
class SplitSettings:
    """How to split.

    by: patient or slice, or `all`: every patient trains, none validates or tests. seed: of the
    draw. With `folds`, the patients are dealt into that many groups and `fold` is the test group,
    None for the first.
    """

    by: str = "patient"
    seed: int = 20
    folds: int | None = None
    fold: int | None = None

    def __post_init__(self) -> None:
        if self.by not in SPLIT_BY:
            raise UsageError(f"split by {self.by!r}: expected {', '.join(SPLIT_BY)}")
        if self.folds is not None and not (self.folds > 1 and 0 <= self.test_fold < self.folds):
            raise UsageError(
                f"fold {self.test_fold} of {self.folds}: expected 0 <= fold < folds, folds > 1"
            )
        if self.folds is not None and self.by != "patient":
            raise UsageError(f"folds are by patient; --split-by {self.by} has none")
        if self.folds is None and self.fold is not None:
            raise UsageError(f"fold {self.fold} without folds: expected --folds as well")

    @property
    def test_fold(self) -> int:
        return self.fold or 0


@dataclass(frozen=True)
class Split:
    """For each part, the slice numbers used of each patient (indices into the patient's volume)."""

    by: str
    seed: int
    parts: dict[str, dict[str, tuple[int, ...]]]

    def patients(self, part: str) -> list[str]:
        return sorted(self.parts[part])

    def dumps(self) -> bytes:
        """The file's content, the same for the same split."""
        parts = {p: {k: list(v) for k, v in s.items()} for p, s in self.parts.items()}
        record = {"schema": _SCHEMA, "by": self.by, "seed": self.seed, "parts": parts}
        return (json.dumps(record, indent=1) + "\n").encode("ascii")

    def write(self, path: Path) -> None:
        write_atomically(path, self.dumps())

    @classmethod
    def read(cls, path: Path) -> Split:
        """Raises InputError for a file that is missing, is no split of this schema, names a part or
        a patient twice or a slice by anything but a whole number, has an empty part, or whose parts
        share a slice, or a patient where it is by patient.
        """
        try:
            record = strict_json.loads(read_text(path))
            parts = {part: _read_part(record["parts"][part]) for part in PARTS}
            split = cls(str(record["by"]), _read_whole(record["seed"]), parts)
            schema = record["schema"]
        except FileNotFoundError as error:
            raise InputError(f"{path}: no such split file") from error
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror})") from error
        except (ModelError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"{path}: not a split file ({error})") from error
        if schema != _SCHEMA:
            raise InputError(f"{path}: expected split schema {_SCHEMA}, found {schema!r}")
        with naming(str(path)):
            _check_parts(split)
        return split


def _read_part(members: dict[str, Sequence[object]]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(map(_read_whole, indices)) for name, indices in members.items()}


def _read_whole(value: object) -> int:
    """Raises TypeError for all else, be it 1.0, true or "1"."""
    if type(value) is not int:
        raise TypeError(f"{value!r}: expected a whole number")
    return value


def _check_parts(split: Split) -> None:
    """Raises InputError, the reason alone, for parts that are not what the split says it is."""
    if split.seed < 0:
        raise InputError(f"not a split file (seed {split.seed}, expected 0 or more)")
    parts = split.parts
    taken = [(name, i) for part in parts.values() for name, used in part.items() for i in used]
    if below := [f"{name} {index}" for name, index in taken if index < 0]:
        raise InputError(f"not a split file (slice below 0: {below[0]})")
    for part, held in parts.items():
        if twice := [name for name, used in held.items() if len(used) > len(set(used))]:
            raise InputError(f"a slice of {twice[0]} stands twice in {part}")
    if len(taken) != len(set(taken)):
        raise InputError("a slice stands in two parts")
    if split.by not in SPLIT_BY:
        raise InputError(f"split by {split.by!r}: expected {', '.join(SPLIT_BY)}")
    members = [(name, len(used)) for part in PARTS for name, used in parts[part].items()]
    if split.by == "patient" and len(dict(members)) < len(members):
        raise InputError("a patient stands in two parts of a split by patient")
    if split.by == "all" and (parts["validation"] or parts["test"]):
        raise InputError("by all, and not all slices train")
    if empty := [part for part in needed_parts(split.by) if not any(parts[part].values())]:
        raise InputError(f"nothing in {' and '.join(empty)}")
    if bare := [name for name, count in members if not count]:
        raise InputError(f"no slice of {bare[0]} is used")


def find_members(
    split: Split, part: str, known: Iterable[CaseFiles], file: Path
) -> list[CaseFiles]:
    """The files of a part's patients, sorted; file: the split's. Raises InputError where it leaves
    nothing for the part, or the data do not hold all of it.
    """
    members = split.parts[part]
    if not members:
        raise InputError(f"the split, by {split.by}, leaves nothing for {part}; all slices train")
    files = {case.patient: case for case in known}
    check_held(members, files, file)
    return [files[name] for name in split.patients(part)]


def check_held(
    members: dict[str, tuple[int, ...]], known: dict[str, CaseFiles], file: Path
) -> None:
    """Raises InputError, naming the split's file, for a patient or a slice that the data lack."""
    missing = [
        name
        for name, indices in members.items()
        if name not in known or max(indices, default=0) >= len(known[name].slices)
    ]
    if missing:
        names = ", ".join(missing)
        raise InputError(f"{file}: the data do not hold all slices that the split names of {names}")


def needed_parts(by: str) -> tuple[str, ...]:
    """The parts of such a split that may not be empty."""
    return PARTS[:1] if by == "all" else PARTS


def make_split(cases: Sequence[CaseFiles], settings: SplitSettings) -> Split:
    """Divide the patients, stratified by institution, or their slices. Institutions of one patient
    are one stratum.

    Raises InputError where a part would be empty.
    """
    sizes = {case.patient: len(case.slices) for case in cases}
    rng = np.random.default_rng(settings.seed)
    if settings.by == "slice":
        parts = _deal_slices(sizes, settings, rng)
    elif settings.by == "all":
        every = {name: tuple(range(sizes[name])) for name in sorted(sizes)}
        parts = {"train": every, "validation": {}, "test": {}}
    else:
        groups = _deal_patients(cases, settings, rng)
        parts = {p: {k: tuple(range(sizes[k])) for k in sorted(g)} for p, g in groups.items()}
    empty = [part for part in needed_parts(settings.by) if not parts[part]]
    if empty:
        divided = sum(sizes.values()) if settings.by == "slice" else len(sizes)
        noun = "slice" if settings.by == "slice" else "patient"
        leave = f"{noun} leaves" if divided == 1 else f"{noun}s leave"
        least = max(_LEAST_DIVIDED, settings.folds or 0)
        raise InputError(
            f"{divided} {leave} nothing for {' and '.join(empty)}; expected {least} or more"
        )
    return Split(settings.by, settings.seed, parts)


def _deal_patients(
    cases: Sequence[CaseFiles], settings: SplitSettings, rng: np.random.Generator
) -> dict[str, list[str]]:
    strata: dict[str, list[str]] = defaultdict(list)
    for case in cases:
        strata[institution_of(case.patient)].append(case.patient)
    # Of strata of one patient each the seed would shuffle nothing, and the names alone decide.
    alone = sorted(name for name, group in strata.items() if len(group) == 1)
    for name in alone[1:]:
        strata[alone[0]] += strata.pop(name)
    members = {name: rng.permutation(sorted(strata[name])).tolist() for name in sorted(strata)}
    if settings.folds is not None:
        order = [patient for name in members for patient in members[name]]
        test = order[settings.test_fold :: settings.folds]
    else:
        test = _take(members, TEST_FRACTIONS[settings.by])
    rest = {name: [p for p in group if p not in set(test)] for name, group in members.items()}
    validation = _take(rest, VALIDATION_FRACTION * len(cases) / max(1, len(cases) - len(test)))
    train = [p for group in rest.values() for p in group if p not in set(validation)]
    return {"train": train, "validation": validation, "test": test}


def _take(members: dict[str, list[str]], fraction: float) -> list[str]:
    """That fraction of every group: whole seats first, then the largest remainders."""
    seats = {name: int(len(group) * fraction) for name, group in members.items()}
    wanted = round(sum(len(group) for group in members.values()) * fraction)
    by_remainder = sorted(members, key=lambda name: seats[name] - len(members[name]) * fraction)
    for name in by_remainder[: wanted - sum(seats.values())]:
        seats[name] += 1
    return [patient for name, group in members.items() for patient in group[: seats[name]]]


def _deal_slices(
    sizes: dict[str, int], settings: SplitSettings, rng: np.random.Generator
) -> dict[str, dict[str, tuple[int, ...]]]:
    every = [(name, index) for name in sorted(sizes) for index in range(sizes[name])]
    order = rng.permutation(len(every))
    test = round(len(every) * TEST_FRACTIONS[settings.by])
    validation = test + round(len(every) * VALIDATION_FRACTION)
    cuts = {"test": order[:test], "validation": order[test:validation], "train": order[validation:]}
    parts: dict[str, dict[str, tuple[int, ...]]] = {}
    for part in PARTS:
        chosen: dict[str, list[int]] = defaultdict(list)
        for position in sorted(cuts[part].tolist()):
            name, index = every[position]
            chosen[name].append(index)
        parts[part] = {name: tuple(indices) for name, indices in chosen.items()}
    return parts
