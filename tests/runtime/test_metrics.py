"""Counts against scikit-learn, their additivity, and what a ratio of nothing is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn import metrics as oracle

from lgg_runtime.errors import InputError
from lgg_runtime.metrics import Counts, join_scores, summarise

BOTH = np.array([[1, 1, 0, 0], [0, 1, 0, 0]], bool)
TRUTH = np.array([[1, 0, 0, 0], [1, 1, 1, 0]], bool)
EMPTY, FULL = np.zeros((2, 4), bool), np.ones((2, 4), bool)


def test_pixels_are_counted_by_prediction_and_truth() -> None:
    assert Counts.of(BOTH, TRUTH) == Counts(tp=2, fp=1, fn=2, tn=3)


@pytest.mark.parametrize("fraction", [0.02, 0.5, 0.98])
def test_ratios_are_those_of_scikit_learn(fraction: float) -> None:
    random = np.random.default_rng(int(fraction * 100))
    predicted, truth = random.random((2, 3, 17, 19)) < fraction
    counts = Counts.of(predicted, truth)
    flat = (truth.ravel(), predicted.ravel())
    tn, fp, fn, tp = oracle.confusion_matrix(*flat).ravel()
    assert counts == Counts(tp, fp, fn, tn)
    assert counts.dice == pytest.approx(oracle.f1_score(*flat), abs=1e-12)
    assert counts.iou == pytest.approx(oracle.jaccard_score(*flat), abs=1e-12)
    assert counts.precision == pytest.approx(oracle.precision_score(*flat), abs=1e-12)
    assert counts.recall == pytest.approx(oracle.recall_score(*flat), abs=1e-12)
    assert counts.accuracy == pytest.approx(oracle.accuracy_score(*flat), abs=1e-12)


@pytest.mark.parametrize(
    ("predicted", "truth", "dice", "iou", "precision", "recall"),
    [
        (EMPTY, EMPTY, 1.0, 1.0, 1.0, 1.0),
        (EMPTY, TRUTH, 0.0, 0.0, 0.0, 0.0),
        (BOTH, EMPTY, 0.0, 0.0, 0.0, 1.0),
        (FULL, FULL, 1.0, 1.0, 1.0, 1.0),
        (FULL, EMPTY, 0.0, 0.0, 0.0, 1.0),
    ],
)
def test_nothing_to_find_and_nothing_found(
    predicted: np.ndarray,
    truth: np.ndarray,
    dice: float,
    iou: float,
    precision: float,
    recall: float,
) -> None:
    counts = Counts.of(predicted, truth)
    found = (counts.dice, counts.iou, counts.precision, counts.recall)
    assert found == (dice, iou, precision, recall)


def test_the_ratios_of_no_pixel_at_all_are_defined() -> None:
    nothing = Counts()
    assert (nothing.dice, nothing.iou, nothing.accuracy) == (1, 1, 1)


masks = hnp.arrays(bool, (2, 3, 4))


@given(masks, masks, st.integers(0, 2))
def test_counts_of_parts_add_up_to_those_of_the_whole(
    predicted: np.ndarray, truth: np.ndarray, at: int
) -> None:
    whole = Counts.of(predicted, truth)
    first, second = (
        Counts.of(predicted[:, :at], truth[:, :at]),
        Counts.of(predicted[:, at:], truth[:, at:]),
    )
    assert first + second == whole
    assert whole.total == 24


def test_any_value_but_zero_is_tumour() -> None:
    assert Counts.of(BOTH.astype(np.uint8) * 255, TRUTH * 1.0) == Counts.of(BOTH, TRUTH)


def test_masks_of_two_shapes_are_refused_with_both() -> None:
    with pytest.raises(InputError, match=r"\(2, 4\) and \(4, 2\)"):
        Counts.of(BOTH, TRUTH.T)


def test_pooled_metrics_weigh_pixels_and_dice_weighs_patients() -> None:
    result = summarise({"b": Counts.of(BOTH, TRUTH), "a": Counts.of(FULL, FULL)})
    pooled = Counts(tp=10, fp=1, fn=2, tn=3)
    assert result["pooled"] == {
        "iou": pytest.approx(10 / 13),
        "precision": pytest.approx(10 / 11),
        "recall": pytest.approx(10 / 12),
        "f1": pytest.approx(20 / 23),
        "accuracy": pytest.approx(13 / 16),
        "support": {"tumour": 12, "background": 4},
    }
    assert result == summarise({"x": pooled}) | {"per_patient_dice": result["per_patient_dice"]}
    dice = result["per_patient_dice"]
    assert dice["by_patient"] == {"a": 1.0, "b": pytest.approx(4 / 7)}
    assert list(dice["by_patient"]) == ["a", "b"]
    assert (dice["patients"], dice["mean"]) == (2, pytest.approx(11 / 14))


@pytest.mark.parametrize(("patients", "worst"), [(1, 0.0), (14, 0.0), (15, 0.5), (24, 0.5)])
def test_the_worst_tenth_is_at_least_one_patient(patients: int, worst: float) -> None:
    dice = {str(n): float(n) for n in range(patients)}
    scores = join_scores(Counts(), dice)["per_patient_dice"]
    assert scores["worst_tenth"] == worst
    assert scores["median"] == (patients - 1) / 2


def test_the_median_is_of_the_patient_in_the_middle() -> None:
    scores = join_scores(Counts(), {"a": 0.9, "b": 0.1, "c": 0.8})["per_patient_dice"]
    assert (scores["median"], scores["mean"]) == (0.8, pytest.approx(0.6))
