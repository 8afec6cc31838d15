"""The U-Net (Ronneberger et al. 2015), in one file.

Two 3x3 convolutions a level, batch normalisation, ReLU; transposed convolutions upwards; skip
connections by concatenation. Padding keeps the size, so height and width are multiples of
stride * 2 ** depth. With a stride of 2 or 4 the first convolution divides the size by it and the
last layer multiplies it again, so that everything between computes on a quarter or a sixteenth of
the pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import nn

from lgg_runtime.errors import UsageError
from lgg_train.symmetry import OtherSide

# Height and width that every artifact takes are multiples of it.
LARGEST_MULTIPLE = 16
STRIDES = (1, 2, 4)


@dataclass(frozen=True)
class UNetSettings:
    """features: channels of the first level, doubled at each of `depth` levels below it.

    prior: fraction of tumour pixels that the untrained network predicts, which keeps the loss of
    the first steps small on data with few tumour pixels.
    mirror: in evaluation, average the logits of a slice and of its left-right mirror image, at
    twice the arithmetic.
    stride: 1, or 2 or 4 for a first level at that fraction of the size. Its first convolution is
    a 3x3 one over stride x stride pixels taken as channels (space to depth).
    symmetry: show the network each slice's mirror image too, see `OtherSide`.
    """

    features: int = 16
    depth: int = 4
    channels: int = 3
    prior: float = 0.02
    mirror: bool = False
    stride: int = 1
    symmetry: bool = False

    def __post_init__(self) -> None:
        if self.features < 1 or not 1 <= self.depth <= 4:
            raise UsageError("expected features >= 1 and a depth of 1 to 4")
        if self.stride not in STRIDES or self.stride * 2**self.depth > LARGEST_MULTIPLE:
            raise UsageError(
                f"stride {self.stride}, depth {self.depth}: expected a stride of 1, 2 or 4, and "
                f"stride * 2 ** depth at most {LARGEST_MULTIPLE}"
            )

    @property
    def size_multiple(self) -> int:
        """What height and width have to be multiples of."""
        return self.stride * int(2**self.depth)


def _block(inside: int, outside: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inside, outside, 3, padding=1, bias=False),
        nn.BatchNorm2d(outside),
        nn.ReLU(inplace=True),
        nn.Conv2d(outside, outside, 3, padding=1, bias=False),
        nn.BatchNorm2d(outside),
        nn.ReLU(inplace=True),
    )


class UNet(nn.Module):
    """Scaled slices to logits.

    forward: (N, channels, H, W) float in 0..1, H and W multiples of stride * 2 ** depth,
    to (N, 1, H, W) logits; probability is their sigmoid. With symmetry also twice as many channels,
    with the mirror images behind the slices: crops do not show where a head's middle is.
    """

    def __init__(self, settings: UNetSettings):
        super().__init__()
        self.settings = settings
        widths = [settings.features * 2**level for level in range(settings.depth + 1)]
        self.channels_seen = settings.channels * (2 if settings.symmetry else 1)
        self.other_side = OtherSide() if settings.symmetry else nn.Identity()
        inputs = [self.channels_seen, *widths[:-1]]
        self.down = nn.ModuleList(_block(i, o) for i, o in zip(inputs, widths, strict=True))
        self.pool = nn.MaxPool2d(2)
        rising = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.grow = nn.ModuleList(nn.ConvTranspose2d(i, o, 2, stride=2) for i, o in rising)
        self.up = nn.ModuleList(_block(2 * o, o) for _, o in rising)
        self.head: nn.Conv2d | nn.ConvTranspose2d = nn.Conv2d(settings.features, 1, 1)
        if (stride := settings.stride) > 1:
            self.down[0][0] = nn.Conv2d(  # type: ignore[operator]
                self.channels_seen, widths[0], 3 * stride, stride, padding=stride, bias=False
            )
            self.head = nn.ConvTranspose2d(settings.features, 1, stride, stride)
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        nn.init.normal_(self.head.weight, std=0.01)
        assert self.head.bias is not None
        prior = torch.tensor(self.settings.prior)
        nn.init.constant_(self.head.bias, float(torch.logit(prior)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.shape[1] < self.channels_seen:
            x = self.other_side(x)
        if self.training or not self.settings.mirror:
            return self._logits(x)
        # One pass over both, so that a graph made of it holds each convolution once.
        both = self._logits(torch.cat((x, x.flip(3))))
        straight, mirrored = both.unflatten(0, (2, -1))  # type: ignore[no-untyped-call]
        logits: torch.Tensor = (straight + mirrored.flip(3)) / 2
        return logits

    def _logits(self, x: torch.Tensor) -> torch.Tensor:
        skips = []
        for level, block in enumerate(self.down):
            # (N, F * 2**level, H / 2**level / stride, W / 2**level / stride)
            x = block(self.pool(x) if level else x)
            skips.append(x)
        skips.pop()
        for grow, block in zip(self.grow, self.up, strict=True):
            x = block(torch.cat((skips.pop(), grow(x)), dim=1))
        logits: torch.Tensor = self.head(x)  # (N, 1, H, W)
        return logits


def scale_slices(slices: torch.Tensor) -> torch.Tensor:
    """uint8 (N, H, W, C) to float (N, C, H, W) in 0..1, the network's input."""
    return slices.permute(0, 3, 1, 2).float() / 255.0


def with_symmetry(network: UNet) -> UNet:
    """A network that sees the other side as well, and answers as before until it is trained."""
    if network.settings.symmetry:
        return network
    wide = UNet(replace(network.settings, symmetry=True))
    weights = network.state_dict()
    first = next(iter(weights))
    weights[first] = torch.cat((weights[first], torch.zeros_like(weights[first])), dim=1)
    wide.load_state_dict(weights)
    return wide


def load_weights(network: UNet, weights: dict[str, torch.Tensor]) -> None:
    """Take over a state that was saved. Raises one of several errors of PyTorch for one of another
    network, ValueError for numbers of another type, which would be rounded, or not finite.
    """
    network.load_state_dict(weights)
    for name, held in network.state_dict().items():
        if weights[name].dtype != held.dtype:
            raise ValueError(f"{name} is of {weights[name].dtype}, expected {held.dtype}")
        if not torch.isfinite(held).all():
            raise ValueError(f"{name} is not finite")
