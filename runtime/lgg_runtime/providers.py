"""The names of where a model runs."""

from __future__ import annotations

PROVIDERS = ("cpu", "openvino", "cuda", "tensorrt", "auto")
ON_GPU = ("cuda", "tensorrt")
