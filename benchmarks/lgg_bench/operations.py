"""How much a model computes: floating-point operations of its convolutions and products of
matrices, from the ONNX file.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from lgg_runtime.backends.model_file import read_model
from lgg_runtime.contract import INPUT
from lgg_runtime.errors import ModelError, first_line
from lgg_runtime.extras import needs_extra


@dataclass(frozen=True)
class Layer:
    """A layer: its operator, operations of one slice, and rows of its output."""

    operator: str
    operations: int
    rows: int


def count_operations(path: Path, height: int, width: int) -> int:
    """Operations of one slice, a multiplication and an addition counted as two.

    Convolutions, transposed ones and products of matrices only; what else the graph does is less
    than a hundredth of them. Raises MissingExtraError without the extra `export`.
    """
    return sum(layer.operations for layer in list_operations(path, height, width).values())


def count_run_operations(run: Path, side: int) -> int:
    """The same of a training run's network, for a slice of side x side.

    Raises InputError where there is no such run, MissingExtraError without the extra `train`.
    """
    with needs_extra("train"):
        import torch
        from torch.utils.flop_counter import FlopCounterMode

        from lgg_train.trained import load_model

    network = load_model(run).network
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.zeros((1, network.settings.channels, side, side)))
    return int(counter.get_total_flops())


def list_operations(path: Path, height: int, width: int) -> dict[str, Layer]:
    """What computes by its name in the graph, or by number where it has none.

    Raises ModelError for what is no graph, or does not begin with the contract's input.
    """
    with needs_extra("export"):
        import onnx
    data = read_model(path)
    try:
        model = onnx.ModelProto.FromString(data)
    except Exception as error:
        # protobuf's decode errors depend on its implementation.
        raise ModelError(f"{path.name}: not an ONNX file") from error
    if not model.graph.input or model.graph.input[0].name != INPUT:
        raise ModelError(f"{path.name}: expected {INPUT} as its first input")
    sizes = (1, height, width)
    for dim, size in zip(model.graph.input[0].type.tensor_type.shape.dim, sizes, strict=False):
        dim.dim_value = size
    try:
        return _list_layers(model)
    except (LookupError, ValueError, onnx.shape_inference.InferenceError) as error:
        reason = first_line(error)
        raise ModelError(
            f"{path.name}: the sizes of its layers cannot be told ({reason})"
        ) from error


def _list_layers(model: Any) -> dict[str, Layer]:
    """Raises one of many errors for a graph whose parts do not fit."""
    import onnx

    del model.graph.value_info[:]
    _fix_shapes_asked(model.graph)
    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.value_info, *graph.output)
    }
    shapes |= {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    layers: dict[str, Layer] = {}
    for number, node in enumerate(graph.node):
        if node.op_type not in ("Conv", "ConvTranspose", "MatMul"):
            continue
        if node.op_type == "MatMul":
            operations = 2 * prod(shapes[node.output[0]]) * shapes[node.input[0]][-1]
        else:
            # A convolution's weights meet every output position, a transposed one's every input's,
            # and where a slice runs with its mirror image those of both.
            met = node.output[0] if node.op_type == "Conv" else node.input[0]
            pictures, _, *positions = shapes[met]
            operations = 2 * prod(shapes[node.input[1]]) * pictures * prod(positions)
        rows = shapes[node.output[0]][2]
        layers[node.name or str(number)] = Layer(node.op_type, operations, rows)
    return layers


def _fix_shapes_asked(graph: Any) -> None:
    """Put numbers in the place of operators that ask for the input's sizes, which are known: what
    is cut by them has no size for the shape inference else.
    """
    import onnx

    sizes = [dim.dim_value for dim in graph.input[0].type.tensor_type.shape.dim]
    for node in [node for node in graph.node if node.op_type == "Shape"]:
        if node.input[0] == INPUT:
            part = slice(*(_attribute(node, name) for name in ("start", "end")))
            asked = np.array(sizes[part], np.int64)
            graph.initializer.append(onnx.numpy_helper.from_array(asked, node.output[0]))
            graph.node.remove(node)


def _attribute(node: Any, name: str) -> int | None:
    """A whole number, None where the node does not give it."""
    return next((each.i for each in node.attribute if each.name == name), None)
