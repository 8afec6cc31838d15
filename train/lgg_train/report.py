"""Scores of a finished run on one part of its split, as JSON, pictures and text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lgg_runtime.notice import RESEARCH_ONLY, RESEARCH_ONLY_LINE
from lgg_runtime.writers.atomic import require_writable
from lgg_train.assessment import assess
from lgg_train.cases import find_cases, keep_flair, load_cases
from lgg_train.device import choose_device
from lgg_train.evaluation import describe_scores, predict_cases, score
from lgg_train.figures import draw_panels, draw_precision_recall
from lgg_train.prediction import Prediction
from lgg_train.run import FLAIR_ONLY, SPLIT_FILE, check_cases, files_of, write_json
from lgg_train.splits import find_members
from lgg_train.trained import TrainedModel, digest_model, load_model, read_split


def run_evaluation(
    run: Path,
    data: Path,
    part: str,
    device: str,
    flair_only: bool = False,
    progress: bool = False,
) -> str:
    """Score one part of the run's split; writes the scores and their pictures into the run.

    `flair_only` scores with FLAIR in the place of the other sequences, into files of its own;
    `progress` shows bars where standard error is a terminal.
    Raises ResourceError, before anything is predicted, where they cannot be written.
    """
    scored = f"{part}{FLAIR_ONLY if flair_only else ''}"
    model = load_model(run, choose_device(device))
    for path in files_of(run, scored):
        require_writable(path)
    split = read_split(run, model)
    cases = load_cases(find_members(split, part, find_cases(data), run / SPLIT_FILE), progress)
    check_cases(run, cases)
    if flair_only:
        cases = [keep_flair(case) for case in cases]
    used = split.parts[part]
    found = predict_cases(model.network, cases, used, model.intensity, progress=progress)
    return write_report(run, model, scored, list(found))


def write_report(
    out: Path, model: TrainedModel, part: str, predictions: Sequence[Prediction]
) -> str:
    """Write a part's scores and their pictures into the run; returns the scores as text.

    The scores come last, so that where they are, the pictures are.
    """
    record = {"use": RESEARCH_ONLY, "model": digest_model(out)} | score(predictions, model.decision)
    record["assessment"] = assess(predictions, model.decision)
    title = f"{part.replace('_', ' ')}, split by {model.training.split_by}"
    curve, panels, scores = files_of(out, part)
    draw_precision_recall(record, title, curve)
    draw_panels(predictions, model.decision, panels)
    write_json(scores, record)
    heading = f"{out}: {title}; {model.decision.describe()}\n{RESEARCH_ONLY_LINE}"
    return describe_scores(record, heading)
