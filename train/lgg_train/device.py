"""Where a network is computed, in which arithmetic, and what is said where that cannot be."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch

from lgg_runtime.errors import OutOfMemoryError, ProviderError, first_line
from lgg_runtime.processor import multiplies_bf16

# The type of the forward pass by precision; None for the weights' own float32.
AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": None}

_NO_MEMORY = "can't allocate memory"


def choose_device(name: str) -> torch.device:
    """`cpu`, `cuda`, or `auto` for CUDA where it is; ProviderError for a CUDA that is not there."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise ProviderError("--device cuda: this PyTorch finds no CUDA device")
    return torch.device(name)


def choose_precision(name: str, device: torch.device) -> str:
    """A name of AUTOCAST: the given one, or for `auto` bf16 where the device computes in it and
    fp32 where it would imitate it, which is far slower.
    """
    if name != "auto":
        return name
    if device.type == "cuda":
        computes = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        computes = bool(multiplies_bf16())
    return "bf16" if computes else "fp32"


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager[Any]:
    """Within it, a forward pass computes in that precision, a name of AUTOCAST."""
    dtype = AUTOCAST[precision]
    return torch.autocast(device.type, dtype) if dtype is not None else contextlib.nullcontext()


@contextlib.contextmanager
def within_memory(remedy: str) -> Iterator[None]:
    """Raises OutOfMemoryError, which names the remedy, where PyTorch finds no memory, a GPU's or
    the machine's.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:  # PyTorch's, and NumPy's of a batch
        # On a CPU PyTorch's is told from other errors by its words alone, or by what it replaces.
        kinds = (MemoryError, torch.OutOfMemoryError)
        known = isinstance(error, kinds) or isinstance(error.__context__, MemoryError)
        if not known and _NO_MEMORY not in str(error):
            raise
        raise OutOfMemoryError(f"the memory does not suffice; {remedy}") from error


@contextlib.contextmanager
def within_compiler() -> Iterator[None]:
    """Raises ProviderError where torch.compile, at the first step, finds no compiler that works."""
    try:
        yield
    except RuntimeError as error:
        from torch._dynamo.exc import BackendCompilerFailed  # seconds, for a call that compiles

        if not isinstance(error, BackendCompilerFailed):
            raise
        reason = first_line(error.inner_exception)
        raise ProviderError(f"--compile: {reason}; give --no-compile, or install g++") from error
