"""Probabilities of whole volumes from a PyTorch model: the reference that artifacts are held to."""

from __future__ import annotations

import contextlib

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional as F

from lgg_runtime.volume import Pixels, Probability
from lgg_train.device import autocast, within_memory
from lgg_train.unet import LARGEST_MULTIPLE, scale_slices

_BATCH = 8


@within_memory("smaller slices may fit")
@torch.inference_mode()
def predict_slices(model: nn.Module, slices: Pixels, precision: str = "fp32") -> Probability:
    """Normalised slices (S, H, W, 3) uint8 to probabilities (S, H, W) float32, at any H and W.

    The slices are padded with zeros to multiples of LARGEST_MULTIPLE, and the result is cut back.
    precision: of the forward pass, a name of AUTOCAST; in fp32 there is no TF32, on a GPU either.
    Raises OutOfMemoryError where the memory does not suffice.
    """
    height, width = slices.shape[1:3]
    pad = (0, -width % LARGEST_MULTIPLE, 0, -height % LARGEST_MULTIPLE)
    device = next(model.parameters()).device
    out: npt.NDArray[np.float32] = np.empty(slices.shape[:3], np.float32)
    for start in range(0, len(slices), _BATCH):
        part = torch.from_numpy(np.ascontiguousarray(slices[start : start + _BATCH])).to(device)
        x = F.pad(scale_slices(part), pad).contiguous(memory_format=torch.channels_last)
        with _exactly(), autocast(device, precision):
            logits = model(x)
        p = torch.sigmoid(logits.float())[:, 0, :height, :width]
        out[start : start + _BATCH] = p.cpu().numpy()
    return out


def _exactly() -> contextlib.AbstractContextManager[None]:
    """No TF32, and no search for algorithms, which does not pay where volumes differ in size."""
    return torch.backends.cudnn.flags(enabled=True, benchmark=False, allow_tf32=False)
