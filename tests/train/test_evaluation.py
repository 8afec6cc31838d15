"""Scores against scikit-learn, against direct thresholding, and by hand."""

import numpy as np
import pytest
from sklearn import metrics as oracle

from lgg_runtime.cleanup import CleanupSettings
from lgg_runtime.intensity import IntensitySettings, head_mask, normalise
from lgg_runtime.metrics import Counts
from lgg_runtime.volume import Volume
from lgg_train.cases import Case
from lgg_train.decision import Decision
from lgg_train.evaluation import (
    classification_report,
    describe_scores,
    precision_recall,
    predict_cases,
    score,
)
from lgg_train.predict import predict_slices
from lgg_train.prediction import Prediction
from lgg_train.unet import UNet, UNetSettings

PLAIN = Decision(0.5, CleanupSettings(), "by hand")


def make_prediction(patient, p, truth, used=None):
    p, truth = np.asarray(p, np.float32), np.asarray(truth, bool)
    slices = np.zeros((*p.shape, 3), np.uint8)
    used = tuple(range(len(p)) if used is None else used)
    return Prediction(patient, slices, p, truth, used, np.ones(p.shape, bool))


def make_random(seed, count=3):
    rng = np.random.default_rng(seed)
    predictions = []
    for number in range(count):
        truth = rng.random((4, 10, 12)) < 0.2
        p = np.clip(rng.normal(0.3, 0.2, truth.shape) + 0.3 * truth, 0, 1)
        predictions.append(make_prediction(f"P{number}", p, truth, used=(0, 2, 3)))
    return predictions


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("rate", [0.0, 0.05, 0.6])
def test_the_report_is_scikit_learn_s(seed, rate):
    rng = np.random.default_rng(seed)
    truth, found = rng.random(400) < 0.2, rng.random(400) < rate
    ours = classification_report(Counts.of(found, truth))
    theirs = oracle.classification_report(
        truth, found, output_dict=True, zero_division=0, target_names=["background", "tumour"]
    )
    names = {"macro average": "macro avg", "weighted average": "weighted avg"}
    for name in ("background", "tumour", "macro average", "weighted average"):
        for key in ("precision", "recall", "f1", "support"):
            expected = theirs[names.get(name, name)]["f1-score" if key == "f1" else key]
            assert ours[name][key] == pytest.approx(expected), (name, key)
    assert ours["accuracy"]["f1"] == pytest.approx(theirs["accuracy"])


def test_nothing_there_and_nothing_found_is_perfect():
    report = classification_report(Counts(tn=50))
    for name in ("background", "tumour", "macro average", "weighted average"):
        assert report[name]["precision"] == report[name]["recall"] == report[name]["f1"] == 1
    assert report["tumour"]["support"] == 0


def test_the_curve_is_that_of_direct_thresholding():
    predictions = make_random(0)
    p = np.concatenate([q.probability[list(q.used)].ravel() for q in predictions])
    truth = np.concatenate([q.truth[list(q.used)].ravel() for q in predictions])
    curve = precision_recall(predictions)
    assert [row["threshold"] for row in curve] == [n / 100 for n in range(1, 100)]
    for row in curve:
        found = p >= row["threshold"]
        precision = oracle.precision_score(truth, found, zero_division=0)
        assert row["precision"] == pytest.approx(precision), row
        assert row["recall"] == pytest.approx(oracle.recall_score(truth, found)), row


def test_probabilities_at_a_threshold_and_at_the_ends_count_on_the_right_side():
    p = np.array([n / 100 for n in range(101)], np.float32).reshape(1, 1, 101)
    truth = np.ones((1, 1, 101), bool)
    recalls = [row["recall"] for row in precision_recall([make_prediction("P", p, truth)])]
    assert recalls == pytest.approx([(101 - n) / 101 for n in range(1, 100)])


def make_two_patients():
    """A: slice 0 has IoU 1/3, slice 1 is empty and found empty, slice 2 does not count.
    B: slice 0 is a false alarm.
    """
    truth = np.zeros((3, 2, 4), bool)
    truth[0, 0, :2] = truth[2] = True
    p = np.full((3, 2, 4), 0.1)
    p[0, 0, 1:3] = 0.9
    other = np.full((1, 2, 4), 0.1)
    other[0, 1, 1] = 0.7
    return [
        make_prediction("A", p, truth, used=(0, 1)),
        make_prediction("B", other, np.zeros((1, 2, 4))),
    ]


def test_scores_by_hand():
    record = score(make_two_patients(), PLAIN)
    pooled, dice = record["pooled"], record["per_patient_dice"]
    # A: one pixel right, one too many, one missed of 16; B: one too many of 8.
    assert pooled["iou"] == pytest.approx(1 / 4)
    assert pooled["precision"] == pytest.approx(1 / 3)
    assert pooled["recall"] == pytest.approx(1 / 2)
    assert pooled["f1"] == pytest.approx(2 / 5)
    assert pooled["accuracy"] == pytest.approx(21 / 24)
    assert dice["by_patient"] == {"A": pytest.approx(1 / 2), "B": 0}
    assert dice["mean"] == pytest.approx(1 / 4)


def test_mean_iou_is_over_slices_with_tumour_in_truth_or_prediction():
    pooled = score(make_two_patients(), PLAIN)["pooled"]
    assert pooled["mean_iou_tumour_slices"] == pytest.approx((1 / 3 + 0) / 2)


def test_mean_iou_without_any_tumour_is_perfect():
    empty = make_prediction("A", np.full((2, 2, 4), 0.1), np.zeros((2, 2, 4)))
    record = score([empty], PLAIN)
    assert record["pooled"]["mean_iou_tumour_slices"] == 1
    assert record["per_patient_dice"]["mean"] == 1


def test_slices_that_do_not_count_still_carry_the_clean_up():
    # The component of the second slice is the largest; it lies in a slice of another part.
    p, truth = np.full((2, 4, 4), 0.1), np.zeros((2, 4, 4), bool)
    p[0, 0, 0] = 0.9
    p[1, 2:, :] = 0.9
    largest_alone = Decision(0.5, CleanupSettings(smallest_fraction=1.0), "")
    prediction = make_prediction("A", p, truth, used=(0,))
    assert score([prediction], largest_alone)["per_patient_dice"]["mean"] == 1
    assert score([prediction], PLAIN)["per_patient_dice"]["mean"] == 0


def test_the_record_carries_the_decision_and_the_report_of_the_same_pixels():
    predictions = make_random(1)
    record = score(predictions, PLAIN)
    assert Decision.from_json(record["decision"]) == PLAIN
    assert record["classification_report"]["tumour"]["f1"] == record["pooled"]["f1"]
    at_half = record["precision_recall"][49]
    assert at_half["threshold"] == 0.5
    assert at_half["recall"] == pytest.approx(record["pooled"]["recall"])


def test_the_description_holds_the_figures():
    record = score(make_random(2), PLAIN)
    text = describe_scores(record, "a title")
    lines = text.splitlines()
    assert lines[0] == "a title"
    for name in ("background", "tumour", "macro average", "weighted average"):
        (line,) = [line for line in lines if line.startswith(name)]
        row = record["classification_report"][name]
        cells = [f"{row[key]:.4f}" for key in ("precision", "recall", "f1")]
        assert line.removeprefix(name).split() == [*cells, f"{row['support']:.0f}"]
    pooled, dice = record["pooled"], record["per_patient_dice"]
    for key in ("iou", "precision", "recall", "f1", "mean_iou_tumour_slices"):
        assert f"{pooled[key]:.4f}" in text
    for key in ("mean", "median", "worst_tenth"):
        assert f"{key.replace('_', ' ')} {dice[key]:.4f}" in text
    worst = min(dice["by_patient"], key=dice["by_patient"].get)
    assert "Dice of 3 patients: mean" in text
    assert f"lowest {worst} {dice['by_patient'][worst]:.4f}" in text


@pytest.mark.parametrize("tumour", [0, 1])
def test_scores_without_tumour_say_that_they_tell_nothing(tumour):
    truth = np.zeros((1, 4, 4), bool)
    truth[0, 0, 0] = tumour
    text = describe_scores(score([make_prediction("A", np.zeros((1, 4, 4)), truth)], PLAIN), "t")
    told = "No tumour in the masks: the scores tell nothing of tumour found or missed"
    assert (text.splitlines()[1] == told) == (not tumour)
    assert (told in text) == (not tumour)


def test_cases_are_predicted_whole_and_normalised(one_thread):
    rng = np.random.default_rng(0)
    cases = []
    for name in "AB":
        pixels = rng.integers(50, 200, (3, 16, 16, 3), dtype=np.uint8)
        pixels[:, :3] = 0
        pixels[:, 3:6] //= 8  # at the head's rim, which is another one after normalisation
        cases.append(Case(name, Volume(pixels), pixels[..., 0] > 150, ""))
    model = UNet(UNetSettings(features=2, depth=1)).eval()
    intensity = IntensitySettings(centre=90)
    used = {"A": (0, 2), "B": (1,)}
    found = list(predict_cases(model, cases, used, intensity))
    for case, p in zip(cases, found, strict=True):
        slices = normalise(case.volume.pixels, intensity)
        np.testing.assert_array_equal(p.slices, slices)
        np.testing.assert_array_equal(p.probability, predict_slices(model, slices))
        np.testing.assert_array_equal(p.truth, case.masks)
        np.testing.assert_array_equal(p.head, head_mask(case.volume.pixels, intensity))
        assert not p.head[:, :3].any()
        assert p.head.any()
        assert (p.patient, p.used) == (case.patient, used[case.patient])
    (rough,) = predict_cases(model, cases[:1], used, intensity, "bf16")
    assert (rough.probability != found[0].probability).any()
