"""One decision from a cross-validation: every patient by the network that never saw it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from lgg_runtime.errors import InputError
from lgg_runtime.notice import RESEARCH_ONLY_LINE
from lgg_runtime.plural import count
from lgg_runtime.writers.atomic import require_writable
from lgg_train.cases import digest_cases, find_cases, load_cases
from lgg_train.decision import Decision, choose, find
from lgg_train.device import choose_device
from lgg_train.evaluation import predict_cases
from lgg_train.run import (
    DECISION_FILE,
    check_finished,
    fold_of,
    is_cross_validation,
    is_kept,
    read_json,
    write_json,
)
from lgg_train.splits import Split
from lgg_train.trained import TrainedModel, digest_model, load_model, read_split


def decide(folder: Path, data: Path, device: str, progress: bool) -> str:
    """Predict each fold's test patients and choose by the rule over all; writes `decision.json`.

    Raises InputError where a fold has no model, where it is not split by patient, is of another
    network or was trained on other data, and where the folds do not test every patient of the data
    once; ResourceError, before anything is predicted, where the file cannot be written. `progress`
    shows bars where standard error is a terminal.
    """
    try:
        folds = sum(path.is_dir() and path.name[5:].isdecimal() for path in folder.glob("fold_*"))
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({error.strerror})") from error
    if not folds:
        raise InputError(f"{folder}: no cross-validation; `lgg-train cv` writes one")
    check_finished("fold", folder, folds)
    require_writable(folder / DECISION_FILE)
    files = {case.patient: case for case in find_cases(data)}
    digests = _digest_folds(folder, folds)  # before: of what predicts
    models = [load_model(fold_of(folder, fold), choose_device(device)) for fold in range(folds)]
    splits = [read_split(fold_of(folder, fold), model) for fold, model in enumerate(models)]
    _check_folds(folder, models, splits)
    tested = [name for split in splits for name in split.patients("test")]
    if sorted(tested) != sorted(files):
        raise InputError(
            f"{folder}: its folds test {len(tested)} patients, the data hold {len(files)}; "
            f"each has to be tested once: {_name_wrong(tested, files)}"
        )
    cases = {case.patient: case for case in load_cases(files.values(), progress)}
    digest = digest_cases(cases.values())
    if any(model.training.data != digest for model in models):
        raise InputError(f"{folder}: trained on other data than {data}")
    found = []
    for model, split in zip(models, splits, strict=True):
        tests = [cases[name] for name in split.patients("test")]
        used = split.parts["test"]
        predicted = predict_cases(model.network, tests, used, model.intensity, progress=progress)
        found += [find(p.probability, p.truth, p.used) for p in predicted]
    who = f"{len(found)} patients of {folds} folds that did not train on them"
    decision = choose(found, who)
    write_json(folder / DECISION_FILE, decision.to_json() | {"models": digests})
    return f"{folder}: {decision.describe()}: {decision.how}\n{RESEARCH_ONLY_LINE}"


def load_decided(folder: Path) -> TrainedModel:
    """The model of a finished run, or of a cross-validation's first fold with its decision.

    Raises InputError as `load_model` does.
    """
    if not is_kept(folder, DECISION_FILE):
        if is_cross_validation(folder):
            raise InputError(f"{folder}: no {DECISION_FILE} in it; `lgg-train decide` chooses one")
        return load_model(folder)
    path = folder / DECISION_FILE
    held = read_json(path)
    try:
        decision = Decision.from_json(held)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    models = held.get("models")  # none where it was decided before they were kept
    if models is not None and not (isinstance(models, list) and models):
        raise InputError(f"{path}: no decision: models is no list of digests")
    if models is not None and models != _digest_folds(folder, len(models)):
        raise InputError(f"{path}: chosen over other networks than the folds'; decide again")
    return replace(load_model(fold_of(folder, 0)), decision=decision)


def _check_folds(folder: Path, models: Sequence[TrainedModel], splits: Sequence[Split]) -> None:
    """Raises InputError for a fold that is not split by patient, or not trained as the first."""
    for fold, split in enumerate(splits):
        if split.by != "patient":
            raise InputError(
                f"{fold_of(folder, fold)}: split by {split.by}; only one by patient tests patients "
                "that it did not train on"
            )
    trained = [(model.network.settings, model.intensity) for model in models]
    for fold, how in enumerate(trained):
        if how != trained[0]:
            raise InputError(
                f"{fold_of(folder, fold)}: another network, or other intensities, than fold 0; one "
                "cross-validation trains alike"
            )


def _name_wrong(tested: Sequence[str], held: Collection[str]) -> str:
    """The first five who are not tested once, or not in the data, and how often they are tested."""
    times = Counter(tested)
    wrong = [name for name in sorted({*times, *held}) if name not in held or times[name] != 1]
    return ", ".join(f"{name} {count(times[name], 'time')}" for name in wrong[:5])


def _digest_folds(folder: Path, folds: int) -> list[str]:
    check_finished("fold", folder, folds)
    return [digest_model(fold_of(folder, fold)) for fold in range(folds)]
