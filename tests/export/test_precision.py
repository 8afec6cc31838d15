"""Precisions: what is stored, and what computes."""

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from lgg_export.graph import InferenceGraph
from lgg_export.precision import store_weights_as_fp16
from stand_ins.artifacts import run_onnx

SMALLEST_STORED = 16


def make_slices(count=4, size=64):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def make_product(size):
    """y = x @ weights of (size, size), plus a bias of two values."""
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(size, size)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "weights"], ["y"])],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", size])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", size])],
        [numpy_helper.from_array(weights, "weights")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def test_storing_weights_as_fp16_halves_the_file():
    model = make_product(128)
    before = model.ByteSize()
    stored = store_weights_as_fp16(model)
    assert stored is model
    assert before > 128 * 128 * 4
    assert model.ByteSize() == pytest.approx(before / 2, rel=0.02)


def test_weights_are_rounded_and_cast_back_before_they_are_used(graph):
    before = {t.name: numpy_helper.to_array(t) for t in graph.graph.initializer}
    store_weights_as_fp16(graph)
    casts = {n.input[0]: n.output[0] for n in graph.graph.node if n.op_type == "Cast"}
    rounded = 0
    for tensor in graph.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT16:
            name = casts[tensor.name]
            expected = before[name].astype(np.float16)
            np.testing.assert_array_equal(numpy_helper.to_array(tensor), expected)
            rounded += 1
        else:
            np.testing.assert_array_equal(numpy_helper.to_array(tensor), before[tensor.name])
    stored = {n for n, v in before.items() if v.dtype == np.float32 and v.size >= SMALLEST_STORED}
    assert rounded == len(stored) > 11


def test_the_graph_with_fp16_weights_computes_in_fp32(graph, network):
    folded = InferenceGraph(network, torch.float32).eval()
    with torch.no_grad():
        for parameter in folded.parameters():
            if parameter.numel() >= SMALLEST_STORED:
                parameter.copy_(parameter.half().float())
        slices = make_slices()
        expected = folded(torch.from_numpy(slices)).numpy()
    exact = run_onnx(graph, slices)
    found = run_onnx(store_weights_as_fp16(graph), slices)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    assert np.abs(found - exact).max() > 1e-5, "the weights are rounded"
    types = onnx.shape_inference.infer_shapes(graph).graph.value_info
    assert {v.type.tensor_type.elem_type for v in types} & {TensorProto.FLOAT16} == set()


def test_fp16_arithmetic_computes_in_fp16_and_answers_in_fp32(built):
    model = onnx.load_from_string(built["fp16"])
    types = {t.name: t.data_type for t in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type in ("Conv", "ConvTranspose"):
            assert {types[name] for name in node.input[1:]} == {TensorProto.FLOAT16}
    assert model.graph.output[0].type.tensor_type.elem_type == TensorProto.FLOAT
    assert len(built["fp16"]) < len(built["fp32"])


def test_fp16_arithmetic_gives_finite_masks_that_are_not_empty(built):
    slices = make_slices()
    exact, found = run_onnx(built["fp32"], slices), run_onnx(built["fp16"], slices)
    assert np.isfinite(found).all()
    mask = found >= 0.5
    assert 0.05 < mask.mean() < 0.95
    assert (mask == (exact >= 0.5)).mean() > 0.99
    np.testing.assert_allclose(found, exact, rtol=0, atol=0.05)
    assert (found != exact).any()


@pytest.mark.parametrize("value", [0, 255])
def test_fp16_arithmetic_stands_black_and_white_slices(built, value):
    found = run_onnx(built["fp16"], np.full((1, 32, 32, 3), value, np.uint8))
    assert ((found >= 0) & (found <= 1)).all()
