"""The decision: recall first among the good ones, on examples by hand and by brute force."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from lgg_runtime.cleanup import CleanupSettings, clean_up
from lgg_runtime.errors import InputError
from lgg_runtime.metrics import Counts
from lgg_train.decision import FRACTIONS, THRESHOLDS, Decision, choose_decision, find

# Neighbours as the clean-up takes them: eight within a slice, one in the slices beside.
NEIGHBOURS = ndimage.generate_binary_structure(3, 1)
NEIGHBOURS[1] = True


def make_patient(*regions):
    """One slice of 40 x 100 from (pixels, probability, is tumour), each in rows of 20 pixels.

    The regions lie apart; what is left has a probability of 0.02 and is no tumour.
    """
    p, truth = np.full((1, 40, 100), 0.02, np.float32), np.zeros((1, 40, 100), bool)
    for column, (pixels, probability, is_tumour) in zip((0, 21, 42), regions, strict=False):
        for n in range(pixels):
            p[0, n // 20, column + n % 20] = probability
            truth[0, n // 20, column + n % 20] = is_tumour
    return p, truth, (0,)


def join(*patients):
    """Patients' slices as one volume's."""
    p, truth = (np.concatenate([patient[i] for patient in patients]) for i in (0, 1))
    return p, truth


def test_the_grid_is_the_documented_one():
    assert THRESHOLDS[0] == 0.1
    assert THRESHOLDS[-1] == 0.9
    np.testing.assert_allclose(np.diff(THRESHOLDS), 0.05)
    assert FRACTIONS[0] == 0
    assert FRACTIONS[-1] == 1


def test_higher_recall_wins_over_slightly_better_dice():
    p, truth, used = make_patient((590, 0.97, True))
    # In the row below it ten more pixels of tumour, and twelve of none, all at 0.32.
    p[0, 30, :22], truth[0, 30, :10] = 0.32, True
    low = 2 * 600 / (2 * 600 + 12)
    high = 2 * 590 / (2 * 590 + 10)
    assert low < high < low + 0.005
    decision = choose_decision([(p, truth, used)])
    assert decision.threshold <= 0.30
    assert "on 1 validation patient among" in decision.how
    assert "(1.0000)" in decision.how, "recall"
    assert f"({high:.4f})" in decision.how, "the best Dice"
    assert f"Dice is {low:.4f}" in decision.how, "the chosen one's"


def test_higher_recall_does_not_win_over_clearly_better_dice():
    p, truth, used = make_patient((590, 0.97, True))
    p[0, 30, :60], truth[0, 30, :10] = 0.32, True
    assert 2 * 600 / (2 * 600 + 50) < 2 * 590 / (2 * 590 + 10) - 0.005
    assert choose_decision([(p, truth, used)]).threshold == 0.35


def test_of_equal_recall_the_higher_dice_wins():
    p, truth, used = make_patient((600, 0.97, True))
    p[0, 30, :4] = 0.22
    assert choose_decision([(p, truth, used)]).threshold == 0.25


def test_a_false_component_is_cleaned_away_by_the_least_fraction_that_does():
    p, truth, used = make_patient((100, 0.97, True), (30, 0.97, False))
    decision = choose_decision([(p, truth, used)])
    assert decision.cleanup == CleanupSettings(smallest_fraction=0.5)


def test_a_second_true_component_is_kept():
    p, truth, used = make_patient((100, 0.97, True), (30, 0.97, True))
    assert choose_decision([(p, truth, used)]).cleanup.smallest_fraction == 0


def test_a_patient_without_tumour_counts_by_its_false_alarms():
    sick = make_patient((100, 0.97, True))
    healthy = make_patient((600, 0.62, False))
    assert choose_decision([sick, healthy]).threshold == 0.65
    assert choose_decision([sick]).threshold == 0.1


def test_a_small_finding_in_a_patient_without_tumour_sets_the_least_size():
    sick = make_patient((300, 0.97, True))
    found = choose_decision([sick, make_patient((60, 0.97, False))])
    assert (found.threshold, found.cleanup) == (0.1, CleanupSettings(0.0, 100))
    assert "least voxels [0, 50, 100, 200, 500]" in found.how
    alone = choose_decision([sick])
    assert alone.cleanup == CleanupSettings()
    assert "voxels" not in alone.how


def test_a_recall_of_patients_who_all_have_no_tumour_is_told_as_that():
    bare, full = make_patient((30, 0.97, False)), make_patient((590, 0.97, True))
    assert "(1.0000) on 2 validation patients without tumour" in choose_decision([bare] * 2).how
    assert "on 2 validation patients among" in choose_decision([bare, full]).how


def test_slices_of_another_part_decide_nothing():
    ours = make_patient((590, 0.97, True))
    theirs = make_patient((600, 0.42, True))
    p, truth = join(ours, theirs)
    alone = choose_decision([(p, truth, (0,))])
    assert choose_decision([(p, truth, (0, 1))]).threshold <= 0.4
    truth[1] = False
    assert choose_decision([(p, truth, (0,))]) == alone
    assert choose_decision([(p, truth, (0, 1))]).threshold == 0.45


def test_clean_up_sees_the_slices_of_another_part():
    # Beside 400 pixels a tenth is enough to drop the 30; within the used slice it takes a half.
    ours = make_patient((100, 0.97, True), (30, 0.97, False))
    theirs = make_patient((400, 0.97, False))
    p, truth = join(ours, theirs)
    assert choose_decision([(p, truth, (0,))]).cleanup.smallest_fraction == 0.1
    assert choose_decision([ours]).cleanup.smallest_fraction == 0.5


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_the_rule_agrees_with_an_independent_search(seed):
    rng = np.random.default_rng(seed)
    patients = []
    for share in (0.7, 0.9, 0.97, 0.99):
        noise = ndimage.gaussian_filter(rng.normal(size=(4, 24, 24)), (0.6, 2, 2))
        truth = noise > np.quantile(noise, share)
        blur = ndimage.gaussian_filter(rng.normal(size=noise.shape), (0.5, 1, 1))
        p = noise / noise.std() + 0.3 * blur / blur.std()
        p = 1 / (1 + np.exp(-12 * (p - np.quantile(p, share))))
        patients.append((p.astype(np.float32), truth, tuple(range(4))))
    scores = {}
    for threshold in THRESHOLDS:
        for fraction in FRACTIONS:
            dices, hit, wanted = [], 0, 0
            for p, truth, _ in patients:
                labels, count = ndimage.label(p >= threshold, NEIGHBOURS)
                sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
                kept = [n + 1 for n in range(count) if sizes[n] >= fraction * sizes.max()]
                mask = np.isin(labels, kept)
                both = (mask & truth).sum()
                dices.append(2 * both / (mask.sum() + truth.sum()))
                hit, wanted = hit + both, wanted + truth.sum()
            scores[threshold, fraction] = (hit / wanted, np.mean(dices))
    best = max(dice for _, dice in scores.values())
    eligible = {k: v for k, v in scores.items() if v[1] >= best - 0.005}
    assert 1 < len(eligible) < len(scores)
    expected = max(eligible, key=lambda key: eligible[key])
    decision = choose_decision(patients)
    assert (decision.threshold, decision.cleanup.smallest_fraction) == expected


@settings(deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    smooth=st.sampled_from([0.0, 0.7, 1.5]),
    fraction=st.sampled_from(FRACTIONS) | st.floats(0, 1),
    least=st.integers(0, 30),
    data=st.data(),
)
def test_the_counts_of_findings_are_those_of_the_cleaned_mask(seed, smooth, fraction, least, data):
    rng = np.random.default_rng(seed)
    slices = int(rng.integers(1, 6))
    p = ndimage.gaussian_filter(rng.random((slices, 14, 11)), smooth).astype(np.float32)
    p = (p - p.min()) / max(np.ptp(p), 1e-6) * rng.choice([0.05, 0.6, 1.0])
    truth = rng.random(p.shape) < rng.choice([0.0, 0.3])
    used = data.draw(st.sets(st.integers(0, slices - 1), min_size=1).map(tuple))
    cleanup, findings = CleanupSettings(fraction, least), find(p, truth, used)
    for threshold in THRESHOLDS:
        mask = clean_up(p >= threshold, cleanup)[list(used)]
        assert findings.counts(threshold, cleanup) == Counts.of(mask, truth[list(used)])


def test_applying_keeps_what_is_at_and_above_the_threshold_and_large_enough():
    p = np.zeros((1, 4, 8), np.float32)
    p[0, 0, :4] = 0.5  # four pixels at the threshold
    p[0, 2, 6:] = 0.9  # two
    p[0, 3, 0] = 0.49
    keep_all = Decision(0.5, CleanupSettings(), "").apply(p)
    assert keep_all.sum() == 6
    keep_large = Decision(0.5, CleanupSettings(smallest_fraction=1.0), "").apply(p)
    assert keep_large.sum() == 4
    assert keep_large[0, 0, :4].all()
    assert keep_large.dtype == bool


@pytest.mark.parametrize("decision", [
    Decision(0.35, CleanupSettings(0.25, 12), "by hand"),
    choose_decision([make_patient((100, 0.97, True))]),
])  # fmt: skip
def test_a_decision_survives_json(decision):
    assert Decision.from_json(json.loads(json.dumps(decision.to_json()))) == decision


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"threshold": 1.5}, "threshold 1.5"),
        ({"threshold": 0}, "threshold 0"),
        ({"threshold": float("nan")}, "threshold nan"),
        ({"threshold": "0.5"}, "threshold '0.5'"),
        ({"threshold": True}, "threshold True"),
        ({"cleanup": {"smallest_fraction": 1.5}}, "smallest_fraction 1.5"),
        ({"cleanup": {"smallest_voxels": "100"}}, "smallest_voxels '100'"),
        ({"cleanup": {"smallest_voxels": -1}}, "smallest_voxels -1"),
        ({"cleanup": {"largest": 1}}, "TypeError"),
    ],
)
def test_a_decision_that_no_contract_would_take_is_refused_before_the_training(changed, named):
    whole = Decision(0.5, CleanupSettings(), "by hand").to_json()
    with pytest.raises(InputError, match=f"^no decision: {named}"):
        Decision.from_json(whole | changed)
