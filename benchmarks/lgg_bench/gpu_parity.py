"""Does an artifact find on the GPU what the fp32 artifact of its network finds on the CPU?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from lgg_bench.artifacts import is_onnx
from lgg_export.limits import limits_of
from lgg_runtime.backends import Backend, BackendSettings, load_backend
from lgg_runtime.contract import Contract
from lgg_runtime.cores import available_cores
from lgg_runtime.volume import Pixels


def find_reference(files: dict[str, Path], of: Contract) -> Path | None:
    """The first fp32 ONNX file of the same network: its name and its training's record."""
    for path in files.values():
        if is_onnx(path):
            contract = load_backend(path, BackendSettings("cpu", 1)).contract
            same = (contract.name, contract.training) == (of.name, of.training)
            if same and contract.precision == "fp32":
                return path
    return None


def compare_with_cpu(backend: Backend, reference: Path | None, slices: Pixels) -> dict[str, Any]:
    """Largest probability difference and flipped pixels against the fp32 artifact on the CPU.

    The limits are those of the artifact's precision, None for what may differ by any amount;
    `passed` None without an fp32 ONNX file to compare with.
    """
    contract = backend.contract
    allowed = limits_of(contract.precision)
    limits = {"probability": allowed.probability, "flipped": allowed.flipped}
    if reference is None:
        return {"limits": limits, "passed": None}
    expected = load_backend(reference, BackendSettings("cpu", available_cores())).run(slices)
    found = backend.run(slices)
    difference = float(np.abs(found - expected).max())
    flipped = float(np.mean((found >= contract.threshold) != (expected >= contract.threshold)))
    return {
        "largest_probability_difference": difference,
        "flipped_pixels": flipped,
        "limits": limits,
        "passed": _keeps(difference, allowed.probability) and _keeps(flipped, allowed.flipped),
    }


def _keeps(found: float, limit: float | None) -> bool:
    return limit is None or found <= limit
