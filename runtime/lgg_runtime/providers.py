"""The names of where a model runs, and in what arithmetic."""

from __future__ import annotations

ON_CPU = ("cpu", "openvino")
ON_GPU = ("cuda", "tensorrt")
PROVIDERS = (*ON_CPU, *ON_GPU, "auto")
CPU_PRECISIONS = ("fp32", "bf16")
