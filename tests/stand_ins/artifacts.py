"""Small ONNX artifacts with a contract: one 1x1 convolution and a sigmoid."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from lgg_runtime.cleanup import CleanupSettings
from lgg_runtime.contract import INPUT, METADATA_KEY, OUTPUT, Contract, Golden, Training
from lgg_runtime.golden import STEP, golden_input
from lgg_runtime.intensity import IntensitySettings

WEIGHTS = (1.0, 2.0, 3.0)
BIAS = -3.0
SHAPE = (1, 64, 64, 3)


def expected_probability(slices: np.ndarray) -> np.ndarray:
    """sigmoid(1 r + 2 g + 3 b - 3) with channels in 0..1, computed in float64."""
    z = (slices / 255.0) @ np.array(WEIGHTS) + BIAS
    return 1.0 / (1.0 + np.exp(-z))


def run_onnx(model: onnx.ModelProto | bytes, slices: np.ndarray) -> np.ndarray:
    """What onnxruntime answers on the CPU, without a contract."""
    data = model if isinstance(model, bytes) else model.SerializeToString()
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {INPUT: slices})[0])


def write_artifact(path: Path, precision: str = "fp32", golden_shift: float = 0.0) -> Contract:
    """An artifact; precision: fp32, fp16 or int8 (symmetric, with a float bias).

    golden_shift: added to the contract's golden samples, so that no device answers rightly.
    """
    graph = _graph(precision)
    slices = golden_input(SHAPE)
    session = onnxruntime.InferenceSession(
        graph.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    probability = session.run([OUTPUT], {INPUT: slices})[0]
    samples = (probability[0, ::STEP, ::STEP].ravel() + golden_shift).astype(float)
    contract = Contract(
        name="stand-in",
        precision=precision,
        threshold=0.5,
        intensity=IntensitySettings(),
        cleanup=CleanupSettings(),
        training=Training("0" * 64, "1" * 64, "patient", {"train": 1}),
        golden=Golden(
            SHAPE,
            hashlib.sha256(slices.tobytes()).hexdigest(),
            hashlib.sha256(probability.tobytes()).hexdigest(),
            tuple(samples.tolist()),
            1e-3,
        ),
        how_decided="by hand",
        tool_version="0",
    )
    helper.set_model_props(graph, {METADATA_KEY: contract.dumps()})
    path.write_bytes(graph.SerializeToString())
    return contract


def _graph(precision: str) -> onnx.ModelProto:
    real, real_type = np.dtype(np.float32), TensorProto.FLOAT
    if precision == "fp16":
        real, real_type = np.dtype(np.float16), TensorProto.FLOAT16
    constants = {
        "scale": np.array(255, real),
        "weight": np.array(WEIGHTS, real).reshape(1, 3, 1, 1),
        "bias": np.array([BIAS], real),
    }
    nodes = [
        helper.make_node("Cast", [INPUT], ["planes"], to=real_type),
        helper.make_node("Transpose", ["planes"], ["x"], perm=[0, 3, 1, 2]),
        helper.make_node("Div", ["x", "scale"], ["unit"]),
    ]
    if precision == "int8":
        constants |= {
            "step": np.array(1 / 127, np.float32),
            "zero": np.array(0, np.int8),
            "weight_step": np.array(3 / 127, np.float32),
            "weight": np.round(np.array(WEIGHTS) * 127 / 3).astype(np.int8).reshape(1, 3, 1, 1),
        }
        nodes += [
            helper.make_node("QuantizeLinear", ["unit", "step", "zero"], ["q"]),
            helper.make_node("DequantizeLinear", ["q", "step", "zero"], ["a"]),
            helper.make_node("DequantizeLinear", ["weight", "weight_step", "zero"], ["w"]),
            helper.make_node("Conv", ["a", "w", "bias"], ["z"]),
        ]
    else:
        nodes.append(helper.make_node("Conv", ["unit", "weight", "bias"], ["z"]))
    nodes += [
        helper.make_node("Cast", ["z"], ["logit"], to=TensorProto.FLOAT),
        helper.make_node("Sigmoid", ["logit"], ["p"]),
        helper.make_node("Squeeze", ["p", "axis"], [OUTPUT]),
    ]
    constants["axis"] = np.array([1], np.int64)
    graph = helper.make_graph(
        nodes,
        "stand-in",
        [helper.make_tensor_value_info(INPUT, TensorProto.UINT8, ["N", "H", "W", 3])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["N", "H", "W"])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return model
