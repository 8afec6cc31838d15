"""The PyTorch model as it runs without any export: eager, float32, from slices to probability."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from lgg_runtime.errors import ProviderError
from lgg_runtime.volume import Pixels, Probability
from lgg_train.trained import load_model
from lgg_train.unet import scale_slices

_LAYOUTS = {"NCHW": torch.contiguous_format, "channels_last": torch.channels_last}


def load_eager(run: Path, layout: str, provider: str) -> Callable[[Pixels], Probability]:
    """A run's network as a function that does an artifact's whole work.

    It takes uint8 (N, H, W, 3) and gives float32 (N, H, W) arrays: scaling, layout and sigmoid
    are inside. layout: NCHW or channels_last, of weights and input; provider: cpu or cuda.
    """
    require_device(provider)
    device, memory = torch.device(provider), _LAYOUTS[layout]
    # PyTorch documents this argument; its type stubs leave it out.
    network = load_model(run, device).network.to(memory_format=memory)  # type: ignore[call-overload]

    @torch.inference_mode()
    def predict(slices: Pixels) -> Probability:
        x = scale_slices(torch.from_numpy(slices).to(device)).contiguous(memory_format=memory)
        probability: Probability = torch.sigmoid(network(x))[:, 0].cpu().numpy()
        return probability

    return predict


def require_device(provider: str) -> None:
    """Raises ProviderError for cuda where PyTorch does not find it."""
    if provider == "cuda" and not torch.cuda.is_available():
        raise ProviderError("provider cuda: this installation of PyTorch finds no CUDA device")


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """PyTorch computes on that many threads inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
