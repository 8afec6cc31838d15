"""Cross-validation by patient: a run for each fold, and one record of all the patients' scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lgg_runtime.errors import InputError, OutputConflictError, UsageError
from lgg_runtime.metrics import Counts, describe_dice, describe_pooled, join_scores
from lgg_runtime.notice import RESEARCH_ONLY, RESEARCH_ONLY_LINE
from lgg_runtime.plural import count
from lgg_runtime.table import format_table
from lgg_runtime.terminal import tell
from lgg_runtime.writers.atomic import require_folder
from lgg_train.assessment import bootstrap, by_institution
from lgg_train.beginning import check_same_run
from lgg_train.cases import find_cases, load_cases
from lgg_train.claim import check_unclaimed, claim
from lgg_train.report import run_evaluation
from lgg_train.request import TrainingRequest
from lgg_train.run import (
    FLAIR_ONLY,
    LAST_FILE,
    check_finished,
    clear_scores,
    fold_of,
    is_begun,
    is_finished,
    is_kept,
    write_json,
)
from lgg_train.scores import count_pixels, read_own_scores
from lgg_train.session import run_training
from lgg_train.splits import make_split

# A fold's scores on its test patients: with all sequences, with FLAIR alone.
TESTED = ("metrics_test.json", f"metrics_test{FLAIR_ONLY}.json")
# All that a fold is scored on, by file: the part, and whether with FLAIR alone.
SCORES = {
    "metrics_validation.json": ("validation", False),
    TESTED[0]: ("test", False),
    TESTED[1]: ("test", True),
}
RESULT = "cv.json"


def run_cross_validation(data: Path, out: Path, folds: int, request: TrainingRequest) -> str:
    """Train every fold and score its test patients, then write `cv.json`; returns the scores.

    request: what each fold is asked for; its `start` and `teachers` are folders of as many folds,
    and each goes on from its own. A fold that was broken off goes on from its checkpoint, and what
    is finished is not done again. Raises InputError, before the first fold, where a folder lacks a
    fold's model, where the patients are too few, or where what was begun is of another call,
    UsageError where the folder is a run's own, and OutputConflictError where another training is
    at work in the folder or in a fold's.
    """
    if request.start is not None:
        check_finished("--start", request.start, folds)
    for teacher in request.teachers:
        check_finished("--teacher", teacher, folds)
    folders = [fold_of(out, fold) for fold in range(folds)]
    for folder in (out, *folders):
        check_unclaimed(folder)
    requests = [_request_fold(request, fold, folds) for fold in range(folds)]
    if is_begun(out):
        raise UsageError(f"{out} holds a run; choose another folder")
    files = find_cases(data)
    for asked in requests:
        make_split(files, asked.split)
    begun = [fold for fold in range(folds) if is_begun(folders[fold])]
    digests = {case.patient: case.digest for case in load_cases(files)} if begun else {}
    for fold in begun:
        check_same_run(folders[fold], files, digests, requests[fold])
    require_folder(out)
    with claim(out):
        for fold, (folder, asked) in enumerate(zip(folders, requests, strict=True)):
            if is_begun(folder) and fold not in begun:
                raise OutputConflictError(
                    f"{folder}: another run was begun there meanwhile; cv once more looks whether "
                    "it is the fold's"
                )
            _run_fold(data, folder, asked)
        remedy = "take it away, and cv scores anew"
        record = gather(
            *([read_own_scores(folder / name, remedy) for folder in folders] for name in TESTED)
        )
        write_json(out / RESULT, record)
    return describe(record, out)


def _request_fold(request: TrainingRequest, fold: int, folds: int) -> TrainingRequest:
    return replace(
        request,
        split=replace(request.split, folds=folds, fold=fold),
        start=fold_of(request.start, fold) if request.start is not None else None,
        teachers=tuple(fold_of(teacher, fold) for teacher in request.teachers),
    )


def _run_fold(data: Path, folder: Path, request: TrainingRequest) -> None:
    """Train a fold and score its test patients: what of it is missing, as after a break-off.

    Scores without a model are of another one than will be trained.
    """
    if not is_finished(folder):
        clear_scores(folder)
    elif all(is_kept(folder, name) for name in SCORES):
        return
    tell(f"fold {request.split.fold} of {request.split.folds}")
    if not is_finished(folder):
        run_training(data, folder, replace(request, resume=is_kept(folder, LAST_FILE)))
    for name, (part, flair_only) in SCORES.items():
        if not is_kept(folder, name):
            device, progress = request.machinery.device, request.machinery.progress
            run_evaluation(folder, data, part, str(device), flair_only, progress)


def gather(folds: Sequence[dict[str, Any]], flair_only: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The scores of all folds' test patients as one: each patient was tested once.

    flair_only: the same folds with FLAIR in the place of the other sequences. Threshold and
    clean-up are each fold's own, chosen on its validation patients with all sequences.
    """
    scores = _pool(folds)
    dice = scores["per_patient_dice"]["by_patient"]
    return {
        "use": RESEARCH_ONLY,
        "folds": [
            {
                "patients": fold["per_patient_dice"]["patients"],
                "mean": fold["per_patient_dice"]["mean"],
                "decision": fold["decision"],
                "expected_calibration_error": fold["assessment"]["calibration"]["expected_error"],
            }
            for fold in folds
        ],
        **scores,
        "intervals": bootstrap(list(dice.values())),
        "by_institution": by_institution(dice),
        "flair_only": _pool(flair_only),
    }


def _pool(folds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Raises InputError for a patient whom two folds tested."""
    dice: dict[str, float] = {}
    for fold in folds:
        theirs = fold["per_patient_dice"]["by_patient"]
        if twice := dice.keys() & theirs.keys():
            raise InputError(f"{count(len(twice), 'patient')} tested in two folds: not one split")
        dice |= theirs
    pooled = sum((count_pixels(fold["pooled"]) for fold in folds), Counts())
    return join_scores(pooled, dice)


def describe(record: dict[str, Any], out: Path) -> str:
    """What `gather` gave, as text for a person; out: the folder that it is of."""
    rows = [
        [str(number), str(fold["patients"]), f"{fold['mean']:.4f}",
         f"{fold['decision']['threshold']}"]
        for number, fold in enumerate(record["folds"])
    ]  # fmt: skip
    interval = " (95 % interval {:.4f} to {:.4f})".format(*record["intervals"]["mean"])
    alone = record["flair_only"]
    return "\n".join(
        (
            f"{out}: cross-validation by patient\n{RESEARCH_ONLY_LINE}",
            format_table(["fold", "patients", "mean Dice", "threshold"], rows),
            describe_dice(record["per_patient_dice"], interval),
            describe_pooled(record["pooled"]),
            f"FLAIR alone: mean Dice {alone['per_patient_dice']['mean']:.4f}, "
            f"recall {alone['pooled']['recall']:.4f}",
        )
    )
