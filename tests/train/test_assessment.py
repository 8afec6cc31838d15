"""The assessment against SciPy and direct formulas, on arrays checkable by hand."""

import numpy as np
import pytest
from scipy import ndimage, spatial, stats

from lgg_runtime.cleanup import CleanupSettings
from lgg_train.assessment import (
    assess,
    bootstrap,
    by_institution,
    calibrate,
    count_lesions,
    measure_hd95,
)
from lgg_train.decision import Decision
from lgg_train.prediction import Prediction

PLAIN = Decision(0.5, CleanupSettings(), "by hand")


def make_prediction(patient, probability, truth, head=None, used=None):
    probability = np.asarray(probability, np.float32)
    slices = np.zeros((*probability.shape, 3), np.uint8)
    head = np.ones(probability.shape, bool) if head is None else head
    used = tuple(range(len(probability))) if used is None else used
    return Prediction(patient, slices, probability, np.asarray(truth, bool), used, head)


def box(*corner, size=4, shape=(8, 24, 24)):
    mask = np.zeros(shape, bool)
    mask[tuple(slice(c, c + size) for c in corner)] = True
    return mask


def test_the_intervals_are_scipy_s():
    values = np.random.default_rng(3).beta(8, 2, 40)
    ours = bootstrap(values)
    for name, statistic in (("mean", np.mean), ("median", np.median)):
        theirs = stats.bootstrap(
            (values,), statistic, n_resamples=10_000, method="percentile", rng=1
        ).confidence_interval
        assert ours[name] == pytest.approx([theirs.low, theirs.high], abs=0.005)


def test_one_patient_has_an_interval_of_no_width():
    assert bootstrap([0.7]) == {"mean": [0.7, 0.7], "median": [0.7, 0.7]}


def test_dice_by_institution_is_grouped_by_the_barcode():
    dice = {"TCGA_DU_2_x": 1.0, "TCGA_CS_1_x": 0.5, "TCGA_CS_3_x": 0.7, "TCGA_CS_4_x": 0.9}
    groups = by_institution(dice | {"TCGA_CS_5_x": 0.9})
    assert list(groups) == ["CS", "DU"]
    assert groups["CS"] == {"patients": 4, "mean": pytest.approx(0.75), "median": 0.8}
    assert groups["DU"]["patients"] == 1


def test_the_calibration_error_is_that_of_a_direct_formula_over_the_head():
    rng = np.random.default_rng(0)
    p = rng.random((3, 20, 20)).astype(np.float32)
    truth = rng.random(p.shape) < 0.25 + p / 2  # too timid below a half, too bold above
    head = rng.random(p.shape) < 0.6
    found = calibrate([make_prediction("A", p, truth, head, used=(0, 2))])
    values, tumour = p[[0, 2]][head[[0, 2]]], truth[[0, 2]][head[[0, 2]]]
    expected = 0.0
    for low in range(15):
        inside = (values >= low / 15) & (values < (low + 1) / 15)
        expected += inside.sum() * abs(values[inside].mean() - tumour[inside].mean())
    assert found["expected_error"] == pytest.approx(expected / len(values), abs=1e-6)
    assert found["head_pixels"] == len(values) == sum(row["pixels"] for row in found["bins"])


def test_a_bin_holds_the_mean_probability_of_its_pixels_and_their_share_of_tumour():
    found = calibrate([make_prediction("A", [[[0.1, 0.98, 1, 0.99, 0.95]]], [[[1, 1, 1, 0, 1]]])])
    assert found["bins"] == [
        {"pixels": 1, "probability": pytest.approx(0.1), "tumour": 1},
        {"pixels": 4, "probability": pytest.approx(0.98), "tumour": 0.75},
    ]
    assert found["expected_error"] == pytest.approx((0.9 + 4 * 0.23) / 5)


def test_certain_and_right_is_calibrated_and_no_head_is_no_error():
    truth = box(2, 2, 2)
    assert calibrate([make_prediction("A", truth, truth)])["expected_error"] == 0
    nothing = make_prediction("A", truth, truth, head=np.zeros(truth.shape, bool))
    assert calibrate([nothing]) == {"expected_error": 0.0, "head_pixels": 0, "bins": []}


def test_lesions_are_counted_by_touch():
    truth = box(0, 0, 0) | box(4, 10, 10)
    found = box(1, 1, 1) | box(0, 20, 20) | box(0, 20, 10) | box(4, 0, 20, size=2)
    assert count_lesions([(found, truth)]) == {
        "lesions": 2,
        "found": 1,
        "sensitivity": 0.5,
        "false_per_patient": 2.0,  # the box of eight voxels is a speck
        "smallest_voxels": 20,
    }


def test_without_lesions_none_is_missed():
    nothing = np.zeros((4, 24, 24), bool)
    assert count_lesions([(nothing, nothing)])["sensitivity"] == 1.0


def surface(mask):
    return np.argwhere(mask & ~ndimage.binary_erosion(mask))


@pytest.mark.parametrize("shift", [0, 1, 3])
def test_the_surface_distance_is_that_between_all_pairs_of_surface_points(shift):
    truth = box(1, 5, 5, size=6)
    found = box(1, 5, 5 + shift, size=6) | box(1, 4, 6, size=3)
    one, other = surface(found), surface(truth)
    distances = spatial.distance.cdist(one, other)
    expected = max(np.percentile(distances.min(axis=a), 95) for a in (0, 1))
    assert measure_hd95(found, truth) == pytest.approx(expected, abs=0.05)
    assert measure_hd95(truth, found) == measure_hd95(found, truth)


def test_nothing_has_no_surface():
    nothing, some = np.zeros((2, 8, 8), bool), box(0, 0, 0, shape=(2, 8, 8))
    assert measure_hd95(nothing, some) is measure_hd95(some, nothing) is None


def test_surfaces_are_summed_up_over_the_patients_that_have_both():
    truth, shifts = box(2, 2, 2), {"A": 0, "B": 1, "C": 5, "D": None}
    nothing = np.zeros_like(truth)
    masks = {p: nothing if s is None else box(2, 2, 2 + s) for p, s in shifts.items()}
    record = assess([make_prediction(p, mask, truth) for p, mask in masks.items()], PLAIN)
    surfaces = record["hd95_pixels"]
    assert surfaces["by_patient"] == shifts
    assert (surfaces["mean"], surfaces["median"], surfaces["undefined"]) == (2, 1, 1)


def test_the_whole_record_of_two_patients():
    truth = box(2, 2, 2)
    wrong = truth | box(0, 16, 16, size=2)
    record = assess(
        [
            make_prediction("TCGA_CS_1_x", wrong, truth),
            make_prediction("TCGA_DU_1_x", truth, truth),
        ],
        PLAIN,
    )
    assert record["empty_slices"] == {
        "slices": 8,
        "with_false_tumour": 2,
        "fraction": 0.25,
        "false_pixels_per_100k": pytest.approx(1e5 * 8 / (8 * 24 * 24)),
    }
    assert record["lesions"]["sensitivity"] == 1.0
    assert record["hd95_pixels"]["by_patient"]["TCGA_DU_1_x"] == 0
    assert record["hd95_pixels"]["undefined"] == 0
    assert set(record["by_institution"]) == {"CS", "DU"}
    assert record["intervals"]["mean"][1] == 1.0


def test_single_slices_have_no_lesions_and_no_surfaces():
    truth = box(2, 2, 2)
    record = assess([make_prediction("A", truth, truth, used=(0, 3))], PLAIN)
    assert not {"lesions", "hd95_pixels"} & set(record)
    assert record["empty_slices"]["slices"] == 1


def test_empty_slices_are_found_among_those_that_count():
    truth, probability = box(0, 2, 2, size=2), np.zeros((8, 24, 24))
    probability[[0, 7]] = 1
    record = assess([make_prediction("A", probability, truth, used=(1, 5, 7))], PLAIN)
    assert (record["empty_slices"]["slices"], record["empty_slices"]["with_false_tumour"]) == (2, 1)
    assert record["by_institution"]["-"]["mean"] == 0, "what was found lies in another slice"


def test_one_patient_of_single_slices_leaves_the_lesions_of_all_out():
    truth = box(2, 2, 2)
    some = make_prediction("A", truth, truth, used=(0, 3))
    assert "lesions" not in assess([make_prediction("B", truth, truth), some], PLAIN)


def test_each_volume_is_cleaned_up_once(monkeypatch):
    real, applied = Decision.apply, []

    def apply(decision, probability):
        applied.append(probability)
        return real(decision, probability)

    monkeypatch.setattr(Decision, "apply", apply)
    truth = box(2, 3, 4)
    assess([make_prediction(name, truth, truth) for name in "AB"], PLAIN)
    assert len(applied) == 2


def test_of_the_surface_the_farthest_twentieth_does_not_count():
    truth = np.zeros((1, 40, 60), bool)
    truth[0, 4:36, 4:36] = True
    found = truth.copy()
    found[0, 20, 36:42] = True  # a spike of six pixels
    one, other = surface(found), surface(truth)
    assert measure_hd95(found, truth) <= 1 < spatial.distance.cdist(one, other).min(axis=1).max()


def test_a_lesion_of_twenty_voxels_is_one_and_of_nineteen_none():
    truth = np.zeros((1, 10, 10), bool)
    truth[0, :4, :5] = True
    assert count_lesions([(truth, truth)])["lesions"] == 1
    truth[0, 0, 0] = False
    assert count_lesions([(truth, truth)])["lesions"] == 0
