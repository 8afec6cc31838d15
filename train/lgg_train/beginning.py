"""What a run begins from: a folder of its own, and divided data."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from lgg_runtime.contract import Training
from lgg_runtime.errors import InputError
from lgg_runtime.intensity import IntensitySettings
from lgg_runtime.plural import count
from lgg_runtime.terminal import tell
from lgg_runtime.writers.atomic import require_folder
from lgg_train.cases import Case, CaseFiles, digest_cases, find_cases, load_cases
from lgg_train.claim import (
    check_unclaimed,
    claim,
    require_begun,
    require_checkpoint,
    require_no_run,
)
from lgg_train.dataset import TrainingSlices
from lgg_train.decision import Decision
from lgg_train.history import EVENTS_FOLDER, carry_rounds, clear_rounds
from lgg_train.predecessors import Predecessors, check_predecessors
from lgg_train.request import TrainingRequest
from lgg_train.run import (
    CONFIG_FILE,
    LAST_FILE,
    SPLIT_FILE,
    clear_scores,
    read_config,
    versions,
    write_json,
)
from lgg_train.settings import TrainSettings
from lgg_train.splits import Split, SplitSettings, check_held, make_split
from lgg_train.state import load_same
from lgg_train.trained import describe_training, digest_model


@dataclass(frozen=True)
class Beginning:
    """All that training and scoring need, once the run's folder holds its split and its config.

    held: the validation patients, none where every patient trains; used: of each, the slices that
    count. decision: the one that a run without validation takes over, None where it chooses one.
    """

    settings: TrainSettings
    intensity: IntensitySettings
    training: Training
    slices: TrainingSlices
    held: list[Case]
    used: dict[str, tuple[int, ...]]
    decision: Decision | None


@contextlib.contextmanager
def begin(
    data: Path, out: Path, request: TrainingRequest, before: Predecessors
) -> Iterator[Beginning]:
    """Divide the data and write the split and the config into the run's folder, which no other
    training may use within the block.

    Everything that can be refused is refused before the folder is made or changed. Raises
    NoInputError without data, OutputConflictError where another training holds the folder,
    UsageError where it holds a run or a cross-validation already, ResourceError where it cannot be
    written, InputError where there is none to resume, or where runs, split and data are not of each
    other.
    """
    check_unclaimed(out)
    settings = _identify(request)
    files = find_cases(data)
    if request.resume:
        require_begun(out)
        require_checkpoint(out)
    else:
        require_folder(out)
        require_no_run(out)
    if request.machinery.tensorboard:
        require_folder(out / EVENTS_FOLDER)
    split = _divide(files, request, out / SPLIT_FILE if request.resume else request.split_file)
    cases = {case.patient: case for case in load_cases(files, request.machinery.progress)}
    training = describe_training(split, digest_cases(cases.values()))
    intensity = IntensitySettings()
    check_predecessors(before, training, intensity)
    trained = [cases[name] for name in split.patients("train")]
    slices = TrainingSlices(
        trained, split.parts["train"], intensity, settings.samples, settings.unet.symmetry
    )
    held = [cases[name] for name in split.patients("validation")]
    _warn_without_tumour(cases, split)
    decided = before.decided or before.start
    decision = decided.decision if decided is not None and not held else None
    if request.resume:
        _check_resumed(out, training, settings, decision)
    used = split.parts["validation"]
    run = Beginning(settings, intensity, training, slices, held, used, decision)
    config = _describe(run, request, data, cases)
    with claim(out):
        if not request.resume:
            require_no_run(out)  # another training may have ended there since it was asked first
            clear_rounds(out)
            clear_scores(out)
        split.write(out / SPLIT_FILE)
        write_json(out / CONFIG_FILE, config)
        if before.start is not None and not request.resume:
            carry_rounds(before.rounds, out)
        yield run


# What a part without tumour cannot tell.
_UNTOLD = {
    "validation": "threshold and clean-up are chosen by false marks alone",
    "test": "its scores tell nothing of tumour found or missed",
}


def _warn_without_tumour(cases: dict[str, Case], split: Split) -> None:
    """Such a part would score 1.0 where nothing is marked, whatever the network learnt."""
    for part, untold in _UNTOLD.items():
        members = split.parts[part]
        if members and not any(cases[p].masks[list(used)].any() for p, used in members.items()):
            tell(
                f"Warning: the {part} part holds no tumour; {untold}; another --split-seed deals "
                "anew"
            )


def _describe(
    run: Beginning, request: TrainingRequest, data: Path, cases: dict[str, Case]
) -> dict[str, Any]:
    """What config.json records."""
    return {
        "data": str(data.resolve()),
        "training": asdict(run.training),
        "settings": run.settings.to_json(),
        "options": request.options(),
        "decided": _name_decided(run.decision),
        "intensity": asdict(run.intensity),
        "device": str(request.machinery.device),
        "versions": versions(),
        "digests": {name: case.digest for name, case in sorted(cases.items())},
    }


def recorded_options(out: Path) -> dict[str, Any]:
    """The options that the run in this folder was begun with, none where it recorded none.

    Raises InputError for a folder without a run, or a damaged one.
    """
    require_begun(out)
    recorded: dict[str, Any] = read_config(out, "training").get("options", {})
    return recorded


def check_same_run(
    out: Path, files: Sequence[CaseFiles], digests: dict[str, str], request: TrainingRequest
) -> None:
    """Raises InputError where the run in this folder has other data, another split or other
    settings than a new one would have.

    digests: of each patient of the data.
    """
    config = read_config(out, "digests", "settings")
    if config["digests"] != digests:
        raise InputError(f"{out}: a run on other data; choose another folder")
    if Split.read(out / SPLIT_FILE) != make_split(files, request.split):
        raise InputError(f"{out}: a run with another split; choose another folder")
    if other := _identify(request).differing(config["settings"]):
        raise InputError(f"{out}: a run with other settings ({', '.join(other)}); choose another")


def _identify(request: TrainingRequest) -> TrainSettings:
    """The settings with the digests of the models that the run begins with and learns from."""
    return replace(
        request.settings,
        start=digest_model(request.start) if request.start is not None else None,
        teachers=tuple(digest_model(run) for run in request.teachers),
    )


def _divide(files: Sequence[CaseFiles], request: TrainingRequest, given: Path | None) -> Split:
    """The split of the given file, or without one a new one. Raises InputError for one that is not
    of these data.
    """
    if given is None:
        return make_split(files, request.split)
    split = Split.read(given)
    known = {case.patient: case for case in files}
    for members in split.parts.values():
        check_held(members, known, given)
    if split.by == "all" and split != make_split(files, SplitSettings("all", seed=split.seed)):
        raise InputError("the split, by all, leaves slices of the data out")
    _warn_of_unused(split, files)
    return split


def _warn_of_unused(split: Split, files: Sequence[CaseFiles]) -> None:
    """As of a split that was made before patients were added."""
    held = sum(len(case.slices) for case in files)
    taken = [(name, len(used)) for part in split.parts.values() for name, used in part.items()]
    if unused := held - sum(slices for _, slices in taken):
        patients = count(len(files) - len({name for name, _ in taken}), "whole patient")
        tell(f"Warning: the split leaves {unused} of {held} slices out, {patients} among them")


def _check_resumed(
    out: Path, training: Training, settings: TrainSettings, decision: Decision | None
) -> None:
    """Raises InputError where the run was begun with anything else.

    A run that did not record what was decided, begun before that was kept, may take any decision.
    """
    config = read_config(out, "training")
    if config["training"] != asdict(training):
        raise InputError(f"{out}: the run was begun on other data or another split")
    ours = _name_decided(decision)
    if config.get("decided", ours) != ours:
        raise InputError(f"{out}: the run was begun with another threshold or clean-up")
    load_same(out / LAST_FILE, settings, training)


def _name_decided(decision: Decision | None) -> dict[str, Any] | None:
    """The decision that a run takes over, for JSON; not how it was made, which decides no mask."""
    if decision is None:
        return None
    return {"threshold": decision.threshold, "cleanup": asdict(decision.cleanup)}
