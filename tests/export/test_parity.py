"""The judge: what is equal passes, and each way to differ is found and named."""

from dataclasses import replace

import numpy as np
import pytest

from lgg_export.parity import Limits, compare, without_patients
from lgg_runtime.cleanup import CleanupSettings
from lgg_runtime.errors import ParityError
from lgg_train.decision import Decision
from lgg_train.prediction import Prediction

PLAIN = Decision(0.5, CleanupSettings(), "by hand")
LIMITS = Limits(probability=0.01, flipped=0.01, metric=0.01)
NONE = Limits(0, 0, 0)


def make_reference(patient="A", tumour=8):
    """Two slices of 4 x 8; the first `tumour` pixels of the first are tumour and found."""
    p, truth = np.full((2, 4, 8), 0.25, np.float32), np.zeros((2, 4, 8), bool)
    truth[0].flat[:tumour] = True
    p[truth] = 0.75
    slices = np.zeros((2, 4, 8, 3), np.uint8)
    slices[..., 0] = len(patient)
    return Prediction(patient, slices, p, truth, (0, 1), np.ones(truth.shape, bool))


def compare_with(reference, found, decision=PLAIN):
    return compare("a test", [reference], lambda _slices: found, decision)


def test_the_same_numbers_have_no_difference_and_no_failure():
    reference = make_reference()
    parity = compare_with(reference, reference.probability.copy())
    assert parity.failures(NONE) == []
    assert (parity.subject, parity.patients, parity.slices) == ("a test", 1, 2)
    assert parity.largest_probability_difference == parity.flipped_pixels == 0
    assert parity.largest_metric_difference == parity.largest_dice_difference == 0
    assert parity.pytorch == parity.artifact
    assert parity.pytorch["pooled"]["f1"] == 1


def test_one_pixel_off_on_its_own_side_is_a_probability_difference_alone():
    reference = make_reference()
    found = reference.probability.copy()
    found[1, 2, 3] += 0.125
    parity = compare_with(reference, found)
    assert parity.largest_probability_difference == 0.125
    assert parity.failures(LIMITS) == ["probability difference 0.125 over 0.01"]


def test_a_difference_downwards_counts_as_one_upwards():
    reference = make_reference()
    found = reference.probability.copy()
    found[1, 2, 3] -= 0.125
    assert compare_with(reference, found).largest_probability_difference == 0.125


def test_a_pixel_on_the_other_side_of_the_threshold_is_flipped():
    reference = make_reference()
    found = reference.probability.copy()
    found[0, 0, 0] = 0.25
    parity = compare_with(reference, found)
    assert parity.flipped_pixels == pytest.approx(1 / 64)
    # 7 of 8 are still found: recall 7/8, IoU 7/8, Dice 14/15.
    assert parity.largest_metric_difference == pytest.approx(1 / 8)
    assert parity.largest_dice_difference == pytest.approx(1 / 15)
    assert parity.failures(LIMITS) == [
        "probability difference 0.5 over 0.01",
        "flipped pixels 0.0156 over 0.01",
        "metric difference 0.125 over 0.01",
        "Dice difference of a patient 0.0667 over 0.01",
    ]


def test_the_threshold_of_the_decision_is_the_one_that_flips():
    reference = make_reference()
    found = reference.probability.copy()
    found[0, 0, 0] = 0.6
    assert compare_with(reference, found).flipped_pixels == 0
    higher = Decision(0.7, CleanupSettings(), "")
    assert compare_with(reference, found, higher).flipped_pixels == pytest.approx(1 / 64)


def test_a_threshold_itself_is_on_the_tumour_s_side():
    reference = make_reference()
    found = reference.probability.copy()
    found[0, 0, 0] = 0.5
    assert compare_with(reference, found).flipped_pixels == 0


def test_one_patient_s_dice_is_seen_among_many():
    references = [make_reference("A" * n) for n in range(1, 21)]
    references.append(make_reference("B" * 30, tumour=1))

    def run(slices):
        found = make_reference(tumour=1 if slices[0, 0, 0, 0] == 30 else 8).probability.copy()
        if slices[0, 0, 0, 0] == 30:
            found[0, 0, 0] = 0.25
        return found

    parity = compare("a test", references, run, PLAIN)
    assert (parity.patients, parity.slices) == (21, 42)
    assert parity.largest_dice_difference == 1
    assert parity.largest_metric_difference < 0.01
    assert parity.failures(Limits(1, 1, 0.5)) == ["Dice difference of a patient 1 over 0.5"]


def test_the_worst_patient_s_probability_counts_and_flips_are_over_all_pixels():
    a, b = make_reference("A"), make_reference("BB")
    found = {1: a.probability.copy(), 2: b.probability.copy()}
    found[1][0, 0, 0], found[2][0, 0, 0] = 0.0, 0.625
    parity = compare("a test", [a, b], lambda slices: found[slices[0, 0, 0, 0]], PLAIN)
    assert parity.largest_probability_difference == 0.75
    assert parity.flipped_pixels == 1 / 128


def test_a_difference_that_is_no_number_keeps_no_limit():
    reference = make_reference()
    parity = compare_with(reference, reference.probability)
    broken = replace(parity, flipped_pixels=np.nan)
    assert broken.failures(LIMITS) == ["flipped pixels nan over 0.01"]


def test_metrics_that_are_better_differ_too():
    reference = make_reference()
    found = reference.probability.copy()
    reference.probability[0, 0, 0] = 0.25
    assert compare_with(reference, found).largest_metric_difference == pytest.approx(1 / 8)


def test_clean_up_is_part_of_what_is_compared():
    reference = make_reference()
    found = reference.probability.copy()
    found[1, 3, 7] = 0.75  # alone, and cleaned away
    largest_alone = Decision(0.5, CleanupSettings(smallest_fraction=1.0), "")
    parity = compare_with(reference, found, largest_alone)
    assert parity.flipped_pixels == pytest.approx(1 / 64)
    assert parity.largest_metric_difference == parity.largest_dice_difference == 0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("side", ["artifact", "PyTorch"])
def test_an_output_that_is_no_number_is_a_parity_error(bad, side):
    reference = make_reference()
    found = reference.probability.copy()
    (found if side == "artifact" else reference.probability)[1, 0, 0] = bad
    with pytest.raises(ParityError, match="a test: the output is no number"):
        compare_with(reference, found)


def test_nothing_to_compare_is_a_parity_error():
    with pytest.raises(ParityError, match="a test: no patient to compare on"):
        compare("a test", [], lambda slices: slices, PLAIN)


def test_a_difference_at_its_limit_passes():
    reference = make_reference()
    found = reference.probability.copy()
    found[0, 0, 0] = 0.25
    parity = compare_with(reference, found)
    assert parity.failures(Limits(0.5, 1 / 64, 0.125)) == []


def test_the_summary_leaves_the_patients_out_and_keeps_the_rest():
    reference = make_reference("SOMEBODY")
    parity = compare_with(reference, reference.probability)
    assert "SOMEBODY" in str(parity.pytorch)
    summary = parity.summary()
    assert "SOMEBODY" not in str(summary)
    assert summary["pytorch"]["pooled"] == parity.pytorch["pooled"]
    assert summary["artifact"]["per_patient_dice"]["mean"] == 1
    assert summary["flipped_pixels"] == 0


def test_scores_without_patients_keep_the_summary_of_their_dice():
    scores = {
        "pooled": {"f1": 0.5},
        "per_patient_dice": {"mean": 0.4, "by_patient": {"A": 0.4}},
        "precision_recall": [1],
    }
    assert without_patients(scores) == {"pooled": {"f1": 0.5}, "per_patient_dice": {"mean": 0.4}}
    assert "by_patient" in scores["per_patient_dice"]


def test_what_is_lost_counts_and_what_is_gained_does_not():
    # Of 8 tumour pixels A loses one; of B's 6, PyTorch found 4 and the artifact finds all.
    a, b, c = make_reference("A"), make_reference("BB", tumour=6), make_reference("CCC")
    b.probability[0].flat[4:6] = 0.25
    found = {1: a.probability.copy(), 2: make_reference(tumour=6).probability, 3: c.probability}
    found[1][0, 0, 0] = 0.25
    parity = compare("a test", [a, b, c], lambda slices: found[slices[0, 0, 0, 0]], PLAIN)
    assert parity.largest_dice_loss == pytest.approx(1 - 14 / 15)
    assert parity.largest_dice_difference == pytest.approx(1 - 8 / 10)
    assert parity.mean_dice_loss == pytest.approx((1 - 14 / 15 - (1 - 8 / 10)) / 3)
    assert parity.recall_loss == pytest.approx(20 / 22 - 21 / 22)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("mean_dice_loss", "loss of mean Dice 0.0222 over 0.02"),
        ("patient_dice_loss", "loss of a patient's Dice 0.0667 over 0.02"),
        ("recall_loss", "loss of recall 0.0417 over 0.02"),
    ],
)
def test_each_loss_has_a_limit_of_its_own(name, said):
    a, b, c = (make_reference("x" * n) for n in (1, 2, 3))
    found = {n: p.probability.copy() for n, p in enumerate((a, b, c), 1)}
    found[1][0, 0, 0] = 0.25
    parity = compare("a test", [a, b, c], lambda slices: found[slices[0, 0, 0, 0]], PLAIN)
    assert parity.failures(Limits(**{name: 0.02})) == [said]
    others = {"mean_dice_loss": 0.03, "patient_dice_loss": 0.07, "recall_loss": 0.05}
    assert parity.failures(Limits(**others)) == []


def test_slices_that_do_not_count_are_not_compared():
    reference = replace(make_reference(), used=(0,))
    found = reference.probability.copy()
    found[1] = 0.75
    found[0, 0, 0] = 0.25
    parity = compare_with(reference, found)
    assert parity.slices == 1
    assert parity.largest_probability_difference == 0.5
    assert parity.flipped_pixels == pytest.approx(1 / 32)


def test_the_largest_metric_difference_may_be_of_recall_or_precision_alone():
    reference = make_reference()
    reference.probability[1, 0] = 0.75  # 8 false ones
    found = reference.probability.copy()
    found[0, 0, 0] = 0.25
    assert compare_with(reference, found).largest_metric_difference == pytest.approx(1 / 8)
    reference = make_reference()
    reference.probability[0, 0, 4:] = 0.25  # 4 missed
    found = reference.probability.copy()
    found[1, 0, :4] = 0.75
    assert compare_with(reference, found).largest_metric_difference == pytest.approx(1 / 2)
