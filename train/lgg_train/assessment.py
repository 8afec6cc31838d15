"""How far scores can be trusted: intervals, institutions, lesions, surfaces, calibration."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from monai.metrics.hausdorff_distance import compute_hausdorff_distance

from lgg_runtime.cleanup import label_components
from lgg_runtime.volume import Mask
from lgg_train.cases import institution_of
from lgg_train.decision import Decision
from lgg_train.prediction import Prediction

RESAMPLES = 10_000
CALIBRATION_BINS = 15
# Specks below this are the rim of an outline drawn slice by slice, not lesions of their own.
SMALLEST_LESION = 20


def assess(predictions: Sequence[Prediction], decision: Decision) -> dict[str, Any]:
    """Everything beyond the plain scores, as JSON values.

    Lesions and surfaces need whole volumes, so they are left out where a part holds single slices.
    """
    found = {p.patient: decision.apply(p.probability) for p in predictions}
    dice = {p.patient: p.counts_of(found[p.patient]).dice for p in predictions}
    record: dict[str, Any] = {
        "intervals": bootstrap(list(dice.values())),
        "by_institution": by_institution(dice),
        "empty_slices": _empty_slices(predictions, found),
        "calibration": calibrate(predictions),
    }
    if all(len(p.used) == len(p.truth) for p in predictions):
        masks = {p.patient: (found[p.patient], p.truth) for p in predictions}
        record["lesions"] = count_lesions(masks.values())
        record["hd95_pixels"] = _surfaces(masks)
    return record


def bootstrap(values: Sequence[float]) -> dict[str, list[float]]:
    """95 % percentile intervals of mean and median over patients drawn with replacement.

    Efron and Tibshirani 1993, chapter 13; 10,000 draws.
    """
    rng = np.random.default_rng(0)
    drawn = rng.choice(np.asarray(values, np.float64), (RESAMPLES, len(values)))
    statistics: dict[str, Callable[..., Any]] = {"mean": np.mean, "median": np.median}
    return {
        name: [float(v) for v in np.percentile(statistic(drawn, axis=1), (2.5, 97.5))]
        for name, statistic in statistics.items()
    }


def by_institution(dice: dict[str, float]) -> dict[str, dict[str, float]]:
    """Patients, mean and median Dice of each institution, from the patients' Dice."""
    groups: dict[str, list[float]] = defaultdict(list)
    for patient, value in dice.items():
        groups[institution_of(patient)].append(value)
    return {
        name: {
            "patients": len(group),
            "mean": float(np.mean(group)),
            "median": float(np.median(group)),
        }
        for name, group in sorted(groups.items())
    }


def calibrate(predictions: Iterable[Prediction]) -> dict[str, Any]:
    """Expected calibration error over the pixels of the head (Guo et al. 2017), 15 equal bins.

    Each bin holds the pixels whose probability falls into it: how many, their mean probability
    and the fraction of them that is tumour. The error is the mean distance of the two, weighted
    by pixels.
    """
    pixels = np.zeros(CALIBRATION_BINS)
    confidence, tumour = pixels.copy(), pixels.copy()
    for p in predictions:
        used = list(p.used)
        head = p.head[used]
        probability = p.probability[used][head].astype(np.float64)
        bins = np.minimum((probability * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
        pixels += np.bincount(bins, minlength=CALIBRATION_BINS)
        confidence += np.bincount(bins, probability, CALIBRATION_BINS)
        tumour += np.bincount(bins, p.truth[used][head], CALIBRATION_BINS)
    filled = pixels > 0
    rows = [
        {"pixels": int(n), "probability": float(c / n), "tumour": float(t / n)}
        for n, c, t in zip(pixels[filled], confidence[filled], tumour[filled], strict=True)
    ]
    total = float(pixels.sum())
    error = float(np.abs(confidence - tumour).sum() / total) if total else 0.0
    return {"expected_error": error, "head_pixels": int(total), "bins": rows}


def count_lesions(masks: Iterable[tuple[Mask, Mask]]) -> dict[str, Any]:
    """Lesions of the truth that a (found, truth) mask touches, and found ones that touch none.

    A lesion is a 3-D component of at least 20 voxels.
    """
    lesions = hit = false = volumes = 0
    for found, truth in masks:
        volumes += 1
        for component in _components(truth):
            lesions += 1
            hit += bool(found[component].any())
        false += sum(not truth[component].any() for component in _components(found))
    return {
        "lesions": lesions,
        "found": hit,
        "sensitivity": hit / lesions if lesions else 1.0,
        "false_per_patient": false / volumes if volumes else 0.0,
        "smallest_voxels": SMALLEST_LESION,
    }


def measure_hd95(found: Mask, truth: Mask) -> float | None:
    """95th percentile of the distance between two surfaces, the larger of both directions.

    Masks (S, H, W); in pixels, a slice counting as one pixel apart, since the dataset has no
    spacing. MONAI's `compute_hausdorff_distance`. None where either mask is empty.
    """
    if not found.any() or not truth.any():
        return None
    ours, theirs = (
        torch.from_numpy(mask[None, None].astype(np.float32)) for mask in (found, truth)
    )
    with warnings.catch_warnings():
        # MONAI 1.6 passes an argument on to itself that it has deprecated.
        warnings.simplefilter("ignore", FutureWarning)
        distance = compute_hausdorff_distance(ours, theirs, include_background=True, percentile=95)
    return float(distance)


def _surfaces(masks: dict[str, tuple[Mask, Mask]]) -> dict[str, Any]:
    by_patient = {name: measure_hd95(*pair) for name, pair in sorted(masks.items())}
    known = [value for value in by_patient.values() if value is not None]
    return {
        "mean": float(np.mean(known)) if known else None,
        "median": float(np.median(known)) if known else None,
        "undefined": len(by_patient) - len(known),
        "by_patient": by_patient,
    }


def _empty_slices(predictions: Sequence[Prediction], found: dict[str, Mask]) -> dict[str, Any]:
    """Slices without tumour in the truth, and how many of them were given some."""
    slices = wrong = pixels = total = 0
    for p in predictions:
        used = np.array(p.used)
        empty = used[~p.truth[used].any(axis=(1, 2))]
        marked = found[p.patient][empty]
        slices += len(empty)
        wrong += int(marked.any(axis=(1, 2)).sum())
        pixels += int(marked.sum())
        total += marked.size
    return {
        "slices": slices,
        "with_false_tumour": wrong,
        "fraction": wrong / slices if slices else 0.0,
        "false_pixels_per_100k": 1e5 * pixels / total if total else 0.0,
    }


def _components(mask: Mask) -> list[npt.NDArray[np.bool_]]:
    labels, count = label_components(mask)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    return [labels == n for n in range(1, count + 1) if sizes[n] >= SMALLEST_LESION]
