"""How an artifact's weights are stored."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


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
