"""The loss against numbers by hand and against formulas in NumPy."""

import numpy as np
import pytest
import torch

from lgg_train.losses import dice_loss, mix_targets, segmentation_loss


def make_mask(values):
    return torch.tensor(values, dtype=torch.float32).reshape(1, 1, 2, -1)


def test_dice_loss_of_a_half_sure_network_by_hand():
    # p is 0.5 at four pixels, two are tumour: overlap 1, so 1 - (2 * 1 + 1) / (2 + 2 + 1).
    loss = dice_loss(torch.zeros(1, 1, 2, 2), make_mask([1, 1, 0, 0]))
    assert float(loss) == pytest.approx(0.4)


def test_dice_loss_is_one_minus_soft_dice_with_1_added_above_and_below():
    p = np.array([0.9, 0.2, 0.6, 0.1])
    mask = np.array([1.0, 0.0, 1.0, 1.0])
    logits = torch.tensor(np.log(p / (1 - p))).reshape(1, 1, 2, 2)
    expected = 1 - (2 * 1.6 + 1) / (1.8 + 3 + 1)
    found = dice_loss(logits, torch.tensor(mask).reshape(1, 1, 2, 2))
    assert float(found) == pytest.approx(expected)


def test_the_batch_is_one_region():
    logits = torch.tensor([[[[2.0, -1.0]]], [[[0.5, 3.0]]]])
    masks = torch.tensor([[[[1.0, 0.0]]], [[[0.0, 1.0]]]])
    as_one = dice_loss(logits.reshape(1, 1, 1, 4), masks.reshape(1, 1, 1, 4))
    assert float(dice_loss(logits, masks)) == pytest.approx(float(as_one))


def test_a_perfect_prediction_costs_nothing():
    mask = make_mask([1, 1, 0, 0, 1, 0])
    assert float(segmentation_loss(60 * mask - 30, mask)) == pytest.approx(0, abs=1e-6)


def test_the_opposite_of_the_truth_costs_the_most():
    mask = make_mask([1, 1, 0, 0])
    assert float(dice_loss(30 - 60 * mask, mask)) == pytest.approx(1 - 1 / 5, abs=1e-6)


@pytest.mark.parametrize("logit", [-8.0, 0.0, 8.0])
def test_a_batch_without_tumour_gives_a_finite_loss_and_a_gradient_downwards(logit):
    logits = torch.full((2, 1, 4, 4), logit, requires_grad=True)
    loss = segmentation_loss(logits, torch.zeros(2, 1, 4, 4))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()
    assert (logits.grad > 0).all(), "less tumour is the way"


def test_the_sum_is_cross_entropy_and_dice():
    rng = np.random.default_rng(0)
    x, mask = rng.normal(0, 3, (2, 1, 4, 6)), rng.integers(0, 2, (2, 1, 4, 6)).astype(float)
    p = 1 / (1 + np.exp(-x))
    entropy = -(mask * np.log(p) + (1 - mask) * np.log(1 - p)).mean()
    overlap = 1 - (2 * (p * mask).sum() + 1) / (p.sum() + mask.sum() + 1)
    logits, masks = torch.tensor(x, dtype=torch.float32), torch.tensor(mask, dtype=torch.float32)
    assert float(segmentation_loss(logits, masks)) == pytest.approx(entropy + overlap, rel=1e-5)


def test_targets_are_half_the_masks_and_half_the_teachers_probability_by_hand():
    mixed = mix_targets(make_mask([1, 1, 0, 0]), make_mask([1, 0.5, 0.25, 0]))
    torch.testing.assert_close(mixed, make_mask([1, 0.75, 0.125, 0]))


def test_the_cross_entropy_of_mixed_targets_is_the_mix_of_both():
    rng = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 1, 4, 6, generator=rng)
    masks = (torch.rand(2, 1, 4, 6, generator=rng) > 0.5).float()
    probability = torch.rand(2, 1, 4, 6, generator=rng)
    entropy = torch.nn.BCEWithLogitsLoss()
    mixed = entropy(logits, mix_targets(masks, probability))
    expected = (entropy(logits, masks) + entropy(logits, probability)) / 2
    torch.testing.assert_close(mixed, expected)


def test_the_loss_of_half_precision_logits_is_computed_in_float32():
    # Summed in float16 the 2 ** 18 pixels would overflow to infinity.
    logits = torch.full((1, 1, 512, 512), 9.0, dtype=torch.float16)
    loss = segmentation_loss(logits, torch.ones(1, 1, 512, 512))
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(0, abs=1e-3)
