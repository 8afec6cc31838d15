"""Precisions of an artifact: what computes in which type, and what is stored."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from lgg_export.limits import rounding_of


@dataclass(frozen=True)
class Precision:
    """What a precision's graph computes in, and what a host must reach with it.

    arithmetic: of the graph, for int8 of the one that is quantised; golden: what a host's
    probability of the golden input may differ by.
    """

    arithmetic: torch.dtype
    golden: float = 1e-3


def store_weights_as_fp16(model: onnx.ModelProto) -> onnx.ModelProto:
    """Halve the file: float32 weights of 16 values or more become float16 with a cast behind each.

    The graph computes in float32 as before, on rounded weights. The model is changed and returned.
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


PRECISIONS: dict[str, Precision] = {
    "fp32": Precision(torch.float32),
    "fp16": Precision(torch.float16, golden=5e-2),
    "int8": Precision(torch.float32, golden=2e-1),
}


def golden_tolerance(precision: str) -> float:
    """For a contract's precision. Raises ModelError for one that is not in the table."""
    return PRECISIONS[rounding_of(precision)].golden
