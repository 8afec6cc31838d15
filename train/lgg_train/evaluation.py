"""Scores of a model on one part of a split, as the notebook reports them and by patient."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from torch import nn

from lgg_runtime.errors import printable
from lgg_runtime.intensity import IntensitySettings, head_mask, normalise
from lgg_runtime.metrics import Counts, describe_dice, describe_pooled, summarise
from lgg_runtime.table import format_table
from lgg_train.cases import Case
from lgg_train.decision import Decision
from lgg_train.predict import predict_slices
from lgg_train.prediction import Prediction
from lgg_train.progress import watch_patients

_BINS = 1000


def predict_cases(
    model: nn.Module,
    cases: Iterable[Case],
    used: dict[str, tuple[int, ...]],
    intensity: IntensitySettings,
    precision: str = "fp32",
    progress: bool = False,
) -> Iterator[Prediction]:
    """Predict whole volumes, one at a time, as `predict_slices` does in that precision.

    `progress` shows a bar where standard error is a terminal.
    """
    for case in watch_patients(cases, "predict", progress):
        slices = normalise(case.volume.pixels, intensity)
        probability = predict_slices(model, slices, precision=precision)
        head = head_mask(case.volume.pixels, intensity)
        yield Prediction(case.patient, slices, probability, case.masks, used[case.patient], head)


def score(predictions: Sequence[Prediction], decision: Decision) -> dict[str, Any]:
    """Pooled metrics and Dice by patient under a decision, and the precision-recall curve.

    `mean_iou_tumour_slices` is the mean IoU over slices with tumour in truth or prediction, the
    figure closest to a mean over images. The curve is over raw probabilities, before clean-up.
    """
    counts: dict[str, Counts] = {}
    ious: list[float] = []
    for p in predictions:
        by_slice = p.counts_by_slice(decision)
        counts[p.patient] = sum(by_slice, Counts())
        ious += [c.iou for c in by_slice if c.total > c.tn]
    pooled = sum(counts.values(), Counts())
    record = summarise(counts)
    record["pooled"]["mean_iou_tumour_slices"] = float(np.mean(ious)) if ious else 1.0
    record["classification_report"] = classification_report(pooled)
    record["decision"] = decision.to_json()
    record["precision_recall"] = precision_recall(predictions)
    return record


def classification_report(counts: Counts) -> dict[str, dict[str, float]]:
    """Precision, recall, F1 and support of both classes, accuracy, macro and weighted averages."""
    inverse = Counts(counts.tn, counts.fn, counts.fp, counts.tp)
    classes = {"background": inverse, "tumour": counts}
    rows: dict[str, dict[str, float]] = {
        name: {
            "precision": c.precision,
            "recall": c.recall,
            "f1": c.dice,
            "support": float(c.tp + c.fn),
        }
        for name, c in classes.items()
    }
    support = np.array([rows[name]["support"] for name in classes])
    averages = {"macro average": np.full(2, 0.5), "weighted average": support / support.sum()}
    for name, weights in averages.items():
        rows[name] = {
            key: float(np.dot(weights, [rows[c][key] for c in classes]))
            for key in ("precision", "recall", "f1")
        } | {"support": float(support.sum())}
    rows["accuracy"] = {"f1": counts.accuracy, "support": float(support.sum())}
    return rows


def precision_recall(predictions: Iterable[Prediction]) -> list[dict[str, float]]:
    """Pooled precision and recall at 99 thresholds from 0.01 to 0.99."""
    tumour, other = np.zeros(_BINS, np.int64), np.zeros(_BINS, np.int64)
    for p in predictions:
        used = list(p.used)
        bins = np.minimum((p.probability[used] * _BINS).astype(np.int64), _BINS - 1)
        truth = p.truth[used]
        tumour += np.bincount(bins[truth], minlength=_BINS)
        other += np.bincount(bins[~truth], minlength=_BINS)
    curve = []
    for percent in range(1, 100):
        start = percent * _BINS // 100
        tp, fp = int(tumour[start:].sum()), int(other[start:].sum())
        c = Counts(tp, fp, int(tumour[:start].sum()))
        curve.append({"threshold": percent / 100, "precision": c.precision, "recall": c.recall})
    return curve


def describe_scores(record: dict[str, Any], title: str) -> str:
    """The scores as text for a person, beginning with the notebook's classification report."""
    report, pooled = record["classification_report"], record["pooled"]
    dice = record["per_patient_dice"]
    keys = ("precision", "recall", "f1", "support")
    rows = [[name, *(_cell(report[name], key) for key in keys)] for name in _ORDER]
    worst = min(dice["by_patient"], key=dice["by_patient"].get)
    untold = () if pooled["support"]["tumour"] else (_WITHOUT_TUMOUR,)
    return "\n".join(
        (
            title,
            *untold,
            format_table(["", *keys], rows),
            f"{describe_pooled(pooled)}; "
            f"IoU as a mean over tumour slices {pooled['mean_iou_tumour_slices']:.4f}",
            f"{describe_dice(dice)}, lowest {printable(worst)} {dice['by_patient'][worst]:.4f}",
        )
    )


_WITHOUT_TUMOUR = "No tumour in the masks: the scores tell nothing of tumour found or missed"
_ORDER = ("background", "tumour", "accuracy", "macro average", "weighted average")


def _cell(row: dict[str, float], key: str) -> str:
    if key not in row:
        return ""
    return f"{row[key]:.0f}" if key == "support" else f"{row[key]:.4f}"
