"""Precisions of an artifact: what computes in which type, and what the gate allows it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from lgg_export.parity import Limits
from lgg_runtime.errors import ModelError


@dataclass(frozen=True)
class Precision:
    """What a precision's graph computes in, and the limits of its gate.

    arithmetic: of the graph, for int8 of the one that is quantised; golden: what a host's
    probability of the golden input may differ by.
    """

    arithmetic: torch.dtype
    limits: Limits
    golden: float = 1e-3


def store_weights_as_fp16(model: onnx.ModelProto) -> onnx.ModelProto:
    """Halve the file: float32 weights of a graph become float16 with a cast behind each.

    The graph computes in float32 as before, on rounded weights. Raises nothing; the model is
    changed and returned.
    """
    casts = []
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if tensor.data_type != TensorProto.FLOAT or values.size < 16:
            continue
        name = tensor.name
        stored = numpy_helper.from_array(values.astype(np.float16), name + "_fp16")
        tensor.CopyFrom(stored)
        casts.append(helper.make_node("Cast", [stored.name], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.checker.check_model(model, full_check=True)
    return model


# Eight bits move single probabilities far and pixels at the border of a tumour; what counts is what
# is found.
LOSSY = Limits(flipped=2e-3, mean_dice_loss=2e-3, patient_dice_loss=1e-2, recall_loss=2e-3)
PRECISIONS: dict[str, Precision] = {
    "fp32": Precision(torch.float32, Limits(probability=1e-3, flipped=1e-5, metric=1e-4)),
    "fp16": Precision(
        torch.float16, Limits(probability=5e-2, flipped=1e-4, metric=1e-3), golden=5e-2
    ),
    "int8": Precision(torch.float32, LOSSY, golden=2e-1),
}
# Other words of a contract, and the precision that their rounding is like.
_LIKE = {"fp32 with fp16 weights": "fp16", "int8 symmetric": "int8"}


def limits_of(precision: str) -> Limits:
    """The limits for a contract's precision; float16 weights round as float16 arithmetic does.

    Raises ModelError for a precision that is not in the table.
    """
    return _precision(precision).limits


def golden_tolerance(precision: str) -> float:
    """As `limits_of`, for the golden input."""
    return _precision(precision).golden


def _precision(precision: str) -> Precision:
    name = _LIKE.get(precision, precision)
    if name not in PRECISIONS:
        raise ModelError(f"precision {precision!r}: expected {', '.join(PRECISIONS)}")
    return PRECISIONS[name]
