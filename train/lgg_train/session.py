"""From data and a request to a finished run folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from torch import nn

from lgg_runtime.cleanup import CleanupSettings, clean_up
from lgg_runtime.metrics import Counts
from lgg_runtime.notice import RESEARCH_ONLY_LINE
from lgg_train.beginning import Beginning, begin
from lgg_train.decision import Decision, choose_decision
from lgg_train.evaluation import predict_cases
from lgg_train.figures import draw_curves
from lgg_train.history import read_history
from lgg_train.loop import train
from lgg_train.predecessors import load_predecessors
from lgg_train.prediction import Prediction
from lgg_train.report import write_report
from lgg_train.request import TrainingRequest
from lgg_train.settings import Origin
from lgg_train.trained import TrainedModel, save_model
from lgg_train.unet import UNet


def run_training(data: Path, out: Path, request: TrainingRequest) -> str:
    """Train, choose the decision and score the validation patients; returns the scores as text.

    Where every patient trains, none validates: then the decision is that of another run.
    """
    before = load_predecessors(request)
    with begin(data, out, request, before) as run:
        return _train(out, request, run, before.origin(request.resume, run.training))


def _train(out: Path, request: TrainingRequest, run: Beginning, origin: Origin) -> str:
    def validate(network: nn.Module) -> dict[str, float]:
        if not run.held:
            return {}
        found = predict_cases(network, run.held, run.used, run.intensity, run.settings.precision)
        return _validate(list(found))

    network = train(run.slices, run.settings, request.machinery, out, validate, origin)
    if run.decision is None:
        return _finish(out, network, run)
    patients = f"all {run.training.patients['train']} patients"
    after = f"; then trained on {patients}"
    how = run.decision.how.removesuffix(after) + after
    _save(out, network, run, replace(run.decision, how=how))
    return (
        f"{out}: trained on {patients}; threshold and clean-up are those of "
        f"{request.decision or request.start}\n{RESEARCH_ONLY_LINE}"
    )


def _validate(predictions: Sequence[Prediction]) -> dict[str, float]:
    """Numbers for the history, at a threshold of 0.5: raw, and with the largest component alone."""
    raw: list[Counts] = []
    largest: list[Counts] = []
    for p in predictions:
        mask = p.probability >= 0.5
        raw.append(p.counts_of(mask))
        largest.append(p.counts_of(clean_up(mask, CleanupSettings(smallest_fraction=1.0))))
    pooled = sum(raw, Counts())
    return {
        "dice_mean": float(np.mean([c.dice for c in raw])),
        "dice_median": float(np.median([c.dice for c in raw])),
        "dice_mean_largest": float(np.mean([c.dice for c in largest])),
        "f1": pooled.dice,
        "recall": pooled.recall,
    }


def _finish(out: Path, network: UNet, run: Beginning) -> str:
    """Choose the decision on the validation patients, write the model and its scores.

    The scores come after the model, and an evaluation of the validation part repeats them.
    """
    draw_curves(read_history(out), out / "curves.png")
    predictions = list(predict_cases(network, run.held, run.used, run.intensity))
    decision = choose_decision([(p.probability, p.truth, p.used) for p in predictions])
    model = _save(out, network, run, decision)
    return write_report(out, model, "validation", predictions)


def _save(out: Path, network: UNet, run: Beginning, decision: Decision) -> TrainedModel:
    model = TrainedModel(network.cpu(), decision, run.intensity, run.training)
    save_model(out, model)
    return model
