"""One function a format: what is written of a slice, by the name of the output."""

from __future__ import annotations

from collections.abc import Callable

from lgg_runtime.writers.images import (
    SliceResult,
    encode_heatmap,
    encode_mask,
    encode_overlay,
    encode_probability,
)

# Name of the output: the end of its file name, and the function that encodes it.
OUTPUTS: dict[str, tuple[str, Callable[[SliceResult], bytes]]] = {
    "mask": ("_mask.png", encode_mask),
    "overlay": ("_overlay.png", encode_overlay),
    "heatmap": ("_heatmap.png", encode_heatmap),
    "probability": ("_probability.tif", encode_probability),
}
