"""The U-Net: sizes, parameters counted by hand, skip connections, and what it takes in."""

import numpy as np
import pytest
import torch
from torch import nn

from lgg_runtime.errors import UsageError
from lgg_train.unet import UNet, UNetSettings, scale_slices

pytestmark = pytest.mark.usefixtures("one_thread")


def count_parameters(settings):
    return sum(p.numel() for p in UNet(settings).parameters())


@pytest.mark.parametrize(
    ("depth", "shape"),
    [(1, (1, 2, 2)), (2, (3, 16, 32)), (2, (1, 4, 12)), (3, (2, 24, 8)), (4, (2, 16, 48))],
)
def test_logits_have_the_size_of_the_input(depth, shape):
    count, height, width = shape
    network = UNet(UNetSettings(features=2, depth=depth)).eval()
    logits = network(torch.zeros(count, 3, height, width))
    assert logits.shape == (count, 1, height, width)


@pytest.mark.parametrize(
    ("stride", "depth", "shape"),
    [(2, 1, (1, 4, 12)), (2, 2, (3, 16, 8)), (2, 3, (2, 16, 48)), (4, 2, (2, 16, 48))],
)
def test_logits_of_a_network_with_stride_have_the_size_of_the_input(stride, depth, shape):
    count, height, width = shape
    settings = UNetSettings(features=2, depth=depth, stride=stride)
    assert settings.size_multiple == stride * 2**depth
    logits = UNet(settings).eval()(torch.zeros(count, 3, height, width))
    assert logits.shape == (count, 1, height, width)


@pytest.mark.parametrize("stride", [2, 4])
def test_a_strided_first_convolution_is_a_3x3_one_over_blocks_of_pixels_as_channels(stride):
    network = UNet(UNetSettings(features=2, depth=1, stride=stride))
    stem = network.down[0][0].weight
    # With stride s, the kernel's rows s*i + a and columns s*j + b weigh pixel (a, b) of the block
    # (i, j).
    split = stem.unflatten(3, (3, stride)).unflatten(2, (3, stride))
    as_channels = split.permute(0, 1, 3, 5, 2, 4)
    x = torch.rand(1, 3, 16, 24)
    packed = nn.functional.pixel_unshuffle(x, stride)
    expected = nn.functional.conv2d(packed, as_channels.flatten(1, 3), padding=1)
    torch.testing.assert_close(network.down[0][0](x), expected)


@pytest.mark.parametrize(("depth", "stride"), [(4, 2), (3, 4), (2, 3), (2, 0)])
def test_a_stride_that_artifacts_cannot_take_is_refused(depth, stride):
    with pytest.raises(UsageError, match="stride"):
        UNetSettings(features=2, depth=depth, stride=stride)


def test_parameters_of_a_network_counted_by_hand():
    # First level, 3 to 2 channels: 3*2*9 + 4 of the normalisation + 2*2*9 + 4.
    first = 54 + 4 + 36 + 4
    # Below it, 2 to 4 channels: 2*4*9 + 8 + 4*4*9 + 8.
    below = 72 + 8 + 144 + 8
    # Upwards, 4 to 2: 4*2*4 + 2; then 4 to 2 as the first level: 4*2*9 + 4 + 2*2*9 + 4; head 2+1.
    upwards, joined, head = 32 + 2, 72 + 4 + 36 + 4, 2 + 1
    total = first + below + upwards + joined + head
    assert count_parameters(UNetSettings(features=2, depth=1)) == total == 483


def test_parameters_grow_with_the_square_of_the_features():
    ratio = count_parameters(UNetSettings(64)) / count_parameters(UNetSettings(16))
    assert ratio == pytest.approx(16, rel=0.01)


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_every_level_but_the_lowest_has_a_skip_connection(depth):
    network = UNet(UNetSettings(features=2, depth=depth)).eval()
    assert len(network.down) == depth + 1
    assert len(network.grow) == len(network.up) == depth
    seen = []
    for grow, block in zip(network.grow, network.up, strict=True):
        grow.register_forward_hook(lambda _m, _i, out: seen.append(out.shape[1]))
        block.register_forward_hook(lambda _m, i, _o: seen.append(i[0].shape[1]))
    network(torch.zeros(1, 3, 16, 16))
    widths = [2 * 2**level for level in reversed(range(depth))]
    assert seen == [n for width in widths for n in (width, 2 * width)]


def test_the_highest_skip_connection_carries_the_first_level_s_output():
    network = UNet(UNetSettings(features=2, depth=2)).eval()
    seen = {}
    network.down[0].register_forward_hook(lambda _m, _i, out: seen.update(first=out.clone()))
    network.up[-1].register_forward_hook(lambda _m, i, _o: seen.update(joined=i[0].clone()))
    network(torch.rand(1, 3, 8, 8))
    assert torch.equal(seen["joined"][:, :2], seen["first"])


def test_the_level_below_takes_the_largest_of_each_four_pixels():
    network = UNet(UNetSettings(features=2, depth=1)).eval()
    seen = []
    network.down[0].register_forward_hook(lambda _m, _i, out: seen.append(out.clone()))
    network.down[1].register_forward_hook(lambda _m, i, _o: seen.append(i[0].clone()))
    network(torch.rand(1, 3, 8, 8))
    first, below = seen
    assert torch.equal(below, first.unflatten(3, (4, 2)).unflatten(2, (4, 2)).amax(dim=(3, 5)))


def test_weights_begin_as_wide_as_keeps_the_signal_behind_a_relu():
    """Variance 2 / inputs, He et al. 2015."""
    torch.manual_seed(0)
    weight = UNet(UNetSettings(features=32, depth=1)).down[0][3].weight
    assert float(weight.detach().std()) == pytest.approx((2 / (32 * 9)) ** 0.5, rel=0.03)


@pytest.mark.parametrize("prior", [0.02, 0.3])
def test_the_untrained_network_predicts_the_prior(prior):
    torch.manual_seed(0)
    network = UNet(UNetSettings(features=4, depth=2, prior=prior))
    assert float(torch.sigmoid(network.head.bias.detach())) == pytest.approx(prior, rel=1e-5)
    with torch.no_grad():
        found = torch.sigmoid(network(torch.rand(2, 3, 32, 32)))
    assert float(found.mean()) == pytest.approx(prior, rel=0.2)


def test_the_same_seed_gives_the_same_weights():
    weights = []
    for _ in range(2):
        torch.manual_seed(3)
        weights.append(nn.utils.parameters_to_vector(UNet(UNetSettings(2, 1)).parameters()))
    assert torch.equal(*weights)


def test_scaled_slices_are_channels_first_in_0_to_1():
    slices = np.zeros((1, 2, 3, 3), np.uint8)
    slices[0, 1, 2] = (255, 51, 102)
    scaled = scale_slices(torch.from_numpy(slices))
    assert (tuple(scaled.shape), scaled.dtype) == ((1, 3, 2, 3), torch.float32)
    torch.testing.assert_close(scaled[0, :, 1, 2], torch.tensor([1.0, 0.2, 0.4]))
    assert scaled[0, :, 0].abs().max() == 0


@pytest.mark.parametrize("options", [{"features": 0}, {"depth": 0}, {"depth": 5}])
def test_impossible_networks_are_usage_errors(options):
    with pytest.raises(UsageError, match=r"features >= 1 and a depth of 1 to 4"):
        UNetSettings(**options)


def test_a_mirroring_network_averages_the_logits_of_both_sides():
    torch.manual_seed(3)
    plain = UNet(UNetSettings(features=2, depth=2)).eval()
    mirroring = UNet(UNetSettings(features=2, depth=2, mirror=True)).eval()
    mirroring.load_state_dict(plain.state_dict())
    x = torch.rand(3, 3, 8, 12)
    expected = torch.stack([(plain(s[None]) + plain(s[None].flip(3)).flip(3))[0] / 2 for s in x])
    torch.testing.assert_close(mirroring(x), expected)


def test_in_training_a_mirroring_network_looks_at_each_slice_once():
    network = UNet(UNetSettings(features=2, depth=1, mirror=True)).train()
    seen = []
    network.down[0].register_forward_hook(lambda _m, i, _o: seen.append(len(i[0])))
    network(torch.rand(3, 3, 8, 8))
    assert seen == [3]
