"""Where a network is computed, and in which arithmetic."""

from __future__ import annotations

import contextlib
from typing import Any

import torch

from lgg_runtime.errors import ProviderError

# What `--precision` takes: the type of the forward pass, None for the weights' own float32.
AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": None}


def choose_device(name: str) -> torch.device:
    """`cpu`, `cuda`, or `auto` for CUDA where it is; ProviderError for a CUDA that is not there."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise ProviderError("--device cuda: this PyTorch finds no CUDA device")
    return torch.device(name)


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager[Any]:
    """Within it, a forward pass computes in that precision, a name of AUTOCAST."""
    dtype = AUTOCAST[precision]
    return torch.autocast(device.type, dtype) if dtype is not None else contextlib.nullcontext()
