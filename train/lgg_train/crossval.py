"""Cross-validation by patient: a run for each fold, and one record of all the patients' scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lgg_runtime.contract import RESEARCH_ONLY
from lgg_runtime.errors import InputError
from lgg_runtime.metrics import Counts, PatientScores
from lgg_runtime.report import format_table
from lgg_runtime.writers.atomic import make_folder
from lgg_train.assessment import bootstrap, by_institution
from lgg_train.run import CONFIG_FILE, FLAIR_ONLY, LAST_FILE, MODEL_FILE, read_json, write_json

SCORES, FLAIR_SCORES = "metrics_test.json", f"metrics_test{FLAIR_ONLY}.json"
RESULT = "cv.json"


def fold_of(folder: Path, fold: int) -> Path:
    """Where a cross-validation keeps the run of a fold."""
    return folder / f"fold_{fold}"


def is_begun(folder: Path) -> bool:
    """Whether a run's settings are in the folder."""
    return (folder / CONFIG_FILE).is_file()


def is_finished(folder: Path) -> bool:
    """Whether a run has been trained to its end."""
    return (folder / MODEL_FILE).is_file()


def check_finished(option: str, folder: Path, folds: int) -> None:
    """Raises InputError, which names the option, for a cross-validation that lacks a fold's model.

    Asked before the first fold, so that no hours are spent before the last one is missed.
    """
    for fold in range(folds):
        if not is_finished(fold_of(folder, fold)):
            raise InputError(f"{option} {fold_of(folder, fold)}: no {MODEL_FILE} in it")


def cross_validate(out: Path, folds: int, run_fold: Callable[[Path, int, bool], None]) -> str:
    """Run every fold that has no scores yet, then write `cv.json`; returns the scores as text.

    `run_fold(folder, fold, resume)` trains a fold and scores its test patients into the folder,
    with all sequences and with FLAIR alone. A fold that was broken off goes on from its checkpoint.
    """
    make_folder(out)
    folders = [fold_of(out, fold) for fold in range(folds)]
    wanted = (SCORES, FLAIR_SCORES)
    for fold, folder in enumerate(folders):
        if not all((folder / name).is_file() for name in wanted):
            run_fold(folder, fold, (folder / LAST_FILE).is_file())
    record = gather(*([read_json(folder / name) for folder in folders] for name in wanted))
    write_json(out / RESULT, record)
    return describe(record, out)


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
            raise InputError(f"{len(twice)} patients were tested in two folds: not one split")
        dice |= theirs
    pooled = sum((_counts(fold["pooled"]) for fold in folds), Counts())
    return {"pooled": pooled.to_json(), "per_patient_dice": PatientScores(dice).to_json()}


def describe(record: dict[str, Any], out: Path) -> str:
    dice, pooled = record["per_patient_dice"], record["pooled"]
    rows = [
        [str(number), str(fold["patients"]), f"{fold['mean']:.4f}",
         f"{fold['decision']['threshold']:g}"]
        for number, fold in enumerate(record["folds"])
    ]  # fmt: skip
    low, high = record["intervals"]["mean"]
    alone = record["flair_only"]
    return "\n".join(
        (
            f"{out}: cross-validation by patient\nResearch use only, not for diagnosis.",
            format_table(["fold", "patients", "mean Dice", "threshold"], rows),
            f"Dice by patient: mean {dice['mean']:.4f} (95 % interval {low:.4f} to {high:.4f}), "
            f"median {dice['median']:.4f}, worst tenth {dice['worst_tenth']:.4f} "
            f"({dice['patients']} patients)",
            f"Pooled pixels: IoU {pooled['iou']:.4f}, precision {pooled['precision']:.4f}, "
            f"recall {pooled['recall']:.4f}, F1 {pooled['f1']:.4f}",
            f"FLAIR alone: mean Dice {alone['per_patient_dice']['mean']:.4f}, "
            f"recall {alone['pooled']['recall']:.4f}",
        )
    )


def _counts(pooled: dict[str, Any]) -> Counts:
    """The pixel counts behind a record's ratios, which determine them."""
    tumour, background = pooled["support"]["tumour"], pooled["support"]["background"]
    tp = round(pooled["recall"] * tumour) if tumour else 0
    fn = tumour - tp
    fp = round((1 - pooled["accuracy"]) * (tumour + background)) - fn
    return Counts(tp, fp, fn, background - fp)
