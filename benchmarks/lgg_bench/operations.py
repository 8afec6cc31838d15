"""How much a model computes: floating-point operations of its convolutions, from the ONNX file."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from lgg_runtime.backends.model_file import read_model
from lgg_runtime.contract import INPUT
from lgg_runtime.errors import ModelError, first_line
from lgg_runtime.extras import needs_extra


@dataclass(frozen=True)
class Layer:
    """A convolution: its operator, operations of one slice, and rows of its output."""

    operator: str
    operations: int
    rows: int


def count_operations(path: Path, height: int, width: int) -> int:
    """Operations of one slice, a multiplication and an addition counted as two.

    Convolutions and transposed convolutions only; what else the graph does is less than a
    hundredth of them. Raises MissingExtraError without the extra `export`.
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
    """The convolutions by their names in the graph, or by number where they have none.

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
    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.value_info, *graph.output)
    }
    shapes |= {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    layers: dict[str, Layer] = {}
    for number, node in enumerate(graph.node):
        if node.op_type not in ("Conv", "ConvTranspose"):
            continue
        # A convolution's weights meet every output position, a transposed one's every input's, and
        # where a slice runs with its mirror image those of both.
        met = node.output[0] if node.op_type == "Conv" else node.input[0]
        pictures, _, *positions = shapes[met]
        operations = 2 * prod(shapes[node.input[1]]) * pictures * prod(positions)
        rows = shapes[node.output[0]][2]
        layers[node.name or str(number)] = Layer(node.op_type, operations, rows)
    return layers
