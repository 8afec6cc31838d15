"""BCEWithLogits + Dice: the first shapes every pixel, the second the overlap that counts."""

from __future__ import annotations

import torch
from torch.nn import functional as F

TEACHERS_SHARE = 0.5


def mix_targets(masks: torch.Tensor, probability: torch.Tensor) -> torch.Tensor:
    """Targets of which TEACHERS_SHARE is the teachers' probability and the rest the masks.

    masks, probability and what is returned: (N, 1, H, W) float32 in 0..1. Cross-entropy is linear
    in its targets, so that of mixed targets is the mix of both cross-entropies, the objective of
    Hinton et al. 2015 (Distilling the Knowledge in a Neural Network, section 2) at a temperature
    of 1.
    """
    return (1 - TEACHERS_SHARE) * masks + TEACHERS_SHARE * probability


def dice_loss(logits: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    """1 - soft Dice over all pixels of the batch (Milletari et al. 2016, linear denominator).

    logits and masks: (N, 1, H, W); masks 0 or 1, or between where teachers are mixed in. The batch
    is taken as one region, so slices without tumour neither add a constant nor blow up the
    gradient; 1 is added above and below, for batches without any.
    """
    p = torch.sigmoid(logits)
    overlap = (p * masks).sum()
    return 1 - (2 * overlap + 1) / (p.sum() + masks.sum() + 1)


def segmentation_loss(logits: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    """Mean binary cross-entropy plus the Dice loss, computed in float32."""
    logits = logits.float()
    return F.binary_cross_entropy_with_logits(logits, masks) + dice_loss(logits, masks)
