"""Predictions of whole volumes: any size, any batch, and the input as the network expects it."""

import numpy as np
import pytest
import torch
from torch import nn

from lgg_train.predict import predict_slices
from lgg_train.unet import UNet, UNetSettings

pytestmark = pytest.mark.usefixtures("one_thread")


class FlairAlone(nn.Module):
    """Its logit is the scaled FLAIR; it remembers the shapes that came in."""

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(1.0))
        self.shapes = []

    def forward(self, x):
        self.shapes.append(tuple(x.shape))
        return self.gain * x[:, 1:2]


def make_slices(count, height, width):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (count, height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("shape", [(1, 16, 16), (5, 17, 30), (9, 48, 33)])
def test_each_pixel_is_the_sigmoid_of_its_own_logit(shape):
    slices = make_slices(*shape)
    found = predict_slices(FlairAlone(), slices)
    assert (found.shape, found.dtype) == (shape, np.float32)
    expected = 1 / (1 + np.exp(-slices[..., 1].astype(np.float64) / 255))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_the_network_sees_batches_padded_to_multiples_of_16():
    model = FlairAlone()
    predict_slices(model, make_slices(17, 17, 32))
    assert model.shapes == [(8, 3, 32, 32), (8, 3, 32, 32), (1, 3, 32, 32)]


def test_the_batch_changes_nothing():
    torch.manual_seed(0)
    model = UNet(UNetSettings(features=4, depth=2)).eval()
    slices = make_slices(9, 32, 32)
    alone = [predict_slices(model, slice_[None]) for slice_ in slices]
    np.testing.assert_allclose(predict_slices(model, slices), np.concatenate(alone), atol=1e-6)


def test_padding_is_black_and_is_cut_away():
    torch.manual_seed(0)
    model = UNet(UNetSettings(features=4, depth=2)).eval()
    slices = make_slices(2, 20, 32)
    padded = np.pad(slices, ((0, 0), (0, 12), (0, 0), (0, 0)))
    found = predict_slices(model, slices)
    np.testing.assert_array_equal(found, predict_slices(model, padded)[:, :20])


def test_a_gpu_would_neither_round_to_tf32_nor_search_for_algorithms(monkeypatch):
    cudnn, seen = torch.backends.cudnn, []
    monkeypatch.setattr(cudnn, "benchmark", True)  # as training has it
    monkeypatch.setattr(cudnn, "allow_tf32", True)
    model = FlairAlone()
    model.register_forward_pre_hook(lambda *_: seen.append((cudnn.allow_tf32, cudnn.benchmark)))
    predict_slices(model, make_slices(1, 16, 16))
    assert seen == [(False, False)]
    assert cudnn.benchmark and cudnn.allow_tf32


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_another_precision_is_near_float32_and_not_equal_to_it(precision):
    torch.manual_seed(0)
    model = UNet(UNetSettings(features=4, depth=2, prior=0.5)).eval()
    slices = make_slices(2, 32, 32)
    exact = predict_slices(model, slices)
    fast = predict_slices(model, slices, precision=precision)
    np.testing.assert_allclose(fast, exact, atol=0.02)
    assert (fast != exact).any()
    assert fast.dtype == np.float32
