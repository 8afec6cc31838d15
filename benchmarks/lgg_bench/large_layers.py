"""ONNX models of a few large convolutions, to find what an engine reaches at best."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lgg_runtime.extras import needs_extra

INPUT = "x"


@dataclass(frozen=True)
class Layers:
    """So many 3 x 3 convolutions with ReLU in a row, on pictures of that many rows and columns."""

    channels: int = 256
    side: int = 64
    count: int = 4

    @property
    def operations(self) -> int:
        """Of one run, a multiplication and an addition counted as two."""
        return self.count * 2 * self.channels**2 * 9 * self.side**2

    def make_input(self) -> npt.NDArray[np.float32]:
        shape = (1, self.channels, self.side, self.side)
        return np.random.default_rng(0).random(shape, np.float32)


def write_layers(path: Path, layers: Layers, precision: str) -> None:
    """Write the layers as ONNX; precision: fp32, or int8 as QDQ per channel.

    Raises MissingExtraError without the extra `export`.
    """
    with needs_extra("export"):
        import onnx
    helper = onnx.helper
    random = np.random.default_rng(1)
    spread = (2 / (9 * layers.channels)) ** 0.5  # values keep their size from layer to layer
    nodes: list[Any] = []
    constants: dict[str, Any] = {"step": np.float32(0.02), "zero": np.uint8(0)}
    x = INPUT
    for layer in range(layers.count):
        shape = (layers.channels, layers.channels, 3, 3)
        weight = random.normal(0, spread, shape).astype(np.float32)
        name = f"weight{layer}"
        if precision == "int8":
            made, held = _quantise(x, weight, layer)
            nodes, constants, x = [*nodes, *made], constants | held, f"d{layer}"
        else:
            constants[name] = weight
        nodes += [
            helper.make_node("Conv", [x, name], [f"c{layer}"], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", [f"c{layer}"], [f"r{layer}"]),
        ]
        x = f"r{layer}"
    sides = [1, layers.channels, layers.side, layers.side]
    graph = helper.make_graph(
        nodes,
        "large",
        [helper.make_tensor_value_info(INPUT, onnx.TensorProto.FLOAT, sides)],
        [helper.make_tensor_value_info(x, onnx.TensorProto.FLOAT, sides)],
        [onnx.numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items()],
    )
    opset = [helper.make_opsetid("", 18)]
    path.write_bytes(
        helper.make_model(graph, opset_imports=opset, ir_version=10).SerializeToString()
    )


def _quantise(
    x: str, weight: npt.NDArray[np.float32], layer: int
) -> tuple[list[Any], dict[str, Any]]:
    """Nodes from x and 8-bit weights to `d<layer>` and `weight<layer>`, and their constants."""
    from onnx import helper

    name = f"weight{layer}"
    steps = (np.abs(weight).max(axis=(1, 2, 3)) / 127).astype(np.float32)
    constants = {
        f"{name}_q": np.rint(weight / steps[:, None, None, None]).astype(np.int8),
        f"{name}_step": steps,
        f"{name}_zero": np.zeros(len(weight), np.int8),
    }
    nodes = [
        helper.make_node("QuantizeLinear", [x, "step", "zero"], [f"q{layer}"]),
        helper.make_node("DequantizeLinear", [f"q{layer}", "step", "zero"], [f"d{layer}"]),
        helper.make_node("DequantizeLinear", [*constants], [name], axis=0),
    ]
    return nodes, constants
