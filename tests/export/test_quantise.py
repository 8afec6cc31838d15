"""int8 graphs: what is stored in which type, what stays in float, and who runs them."""

import importlib.util
import os
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, numpy_helper

from lgg_bench.slices import phantom_slices
from lgg_export.quantise import TARGETS, Quantiser, Target, _Reader, float_layers
from lgg_runtime.backends import BackendSettings, load_backend
from lgg_runtime.contract import INPUT, METADATA_KEY
from lgg_runtime.errors import MissingExtraError
from stand_ins.artifacts import run_onnx, write_artifact


@pytest.fixture(scope="module")
def slices():
    return phantom_slices(4, 64)


@pytest.fixture(scope="module", params=TARGETS)
def target(request):
    return TARGETS[request.param]


@pytest.fixture(scope="module")
def float_graph(built, target):
    return onnx.load_from_string(built["sub-pixel" if target.sub_pixel else "fp32"])


@pytest.fixture(scope="module")
def made(float_graph, target, slices, tmp_path_factory):
    """Target, quantiser, and its graph with every layer in int8."""
    folder = tmp_path_factory.mktemp("quantise")
    quantiser = Quantiser(float_graph, [slices[:3], slices[3:]], target, folder)
    return target, quantiser, quantiser.build()


def test_a_target_takes_what_its_library_does():
    assert {
        "cpu": Target("int8", unsigned=True, whole_biases=True, sub_pixel=True),
        "tensorrt": Target("int8 symmetric", unsigned=False, whole_biases=False, sub_pixel=False),
    } == TARGETS


def constants(graph):
    return {tensor.name: tensor for tensor in graph.graph.initializer}


def test_every_weight_is_int8_by_channel_and_the_nearest_step(made, float_graph):
    _, quantiser, graph = made
    exact, held = constants(float_graph), constants(graph)
    weights = [node.input[1] for node in float_graph.graph.node if node.op_type == "Conv"]
    upwards = [node for node in float_graph.graph.node if node.op_type == "ConvTranspose"]
    assert len(set(weights)) + len(upwards) == len(quantiser.layers)
    for name in weights:
        expected = numpy_helper.to_array(exact[name])
        scale = numpy_helper.to_array(held[name + "_scale"])
        assert scale.shape == (len(expected),)
        steps = numpy_helper.to_array(held[name + "_quantized"])
        assert steps.dtype == np.int8
        error = np.abs(steps * scale[:, None, None, None] - expected).max((1, 2, 3))
        assert (error <= 0.501 * scale).all()
    assert float_layers(graph) == []
    assert not graph.metadata_props


def test_no_shape_between_stands_in_the_way_of_an_engine_that_fixes_the_input_s(made):
    _, _, graph = made
    assert not graph.graph.value_info


def test_activations_and_biases_are_of_the_target_s_types(made):
    target, _, graph = made
    held = constants(graph)
    zeros = [held[n.input[2]] for n in graph.graph.node if n.op_type == "QuantizeLinear"]
    wanted = TensorProto.UINT8 if target.unsigned else TensorProto.INT8
    assert {tensor.data_type for tensor in zeros} == {wanted}
    if not target.unsigned:
        assert not any(numpy_helper.to_array(tensor).any() for tensor in zeros)
    biases = [t for t in held.values() if t.data_type == TensorProto.INT32]
    assert bool(biases) == target.whole_biases


def test_what_a_convolution_computes_is_rounded_once_behind_its_relu(made):
    _, _, graph = made
    nodes = graph.graph.node
    readers = {name: node for node in nodes for name in node.input}
    hidden = [node for node in nodes if node.op_type == "Relu"]
    assert hidden
    for relu in hidden:
        assert readers[relu.output[0]].op_type == "QuantizeLinear"
    convolved = {node.output[0] for node in nodes if node.op_type == "Conv"}
    assert {relu.input[0] for relu in hidden} <= convolved


def test_what_a_pool_hands_on_has_the_scale_of_what_it_was_given(made):
    _, _, graph = made
    nodes = graph.graph.node
    made_by = {name: node for node in nodes for name in node.output}
    readers = {name: node for node in nodes for name in node.input}
    pools = [node for node in nodes if node.op_type == "MaxPool"]
    assert pools
    for pool in pools:
        before, behind = made_by[pool.input[0]], readers[pool.output[0]]
        assert before.op_type == "DequantizeLinear" and behind.op_type == "QuantizeLinear"
        assert before.input[1:] == behind.input[1:]


def test_int8_answers_nearly_as_float_does(made, float_graph, slices):
    difference = np.abs(run_onnx(made[2], slices) - run_onnx(float_graph, slices))
    assert 0 < difference.mean() < 0.03


def test_slices_of_any_size_give_the_ranges_of_their_padded_ones(
    target, float_graph, slices, tmp_path
):
    odd = slices[:, :50, :57]
    padded = np.pad(odd, ((0, 0), (0, 14), (0, 7), (0, 0)))
    made = [Quantiser(float_graph, [given], target, tmp_path).build() for given in (odd, padded)]
    assert made[0] == made[1]


def test_the_library_is_given_each_slice_padded_with_zeros_below_and_at_the_right():
    bright = np.full((1, 30, 17, 3), 200, np.uint8)
    padded = np.pad(bright, ((0, 0), (0, 2), (0, 15), (0, 0)))
    np.testing.assert_array_equal(_Reader([bright]).get_next()[INPUT], padded)


def test_the_library_is_given_the_slices_that_it_asks_for(slices):
    """All that follow would weigh as often as there are slices before them."""
    reader = _Reader([slices[:3], slices[3:]])
    reader.set_range(2, 4)
    given = list(iter(reader.get_next, None))
    np.testing.assert_array_equal(np.concatenate([part[INPUT] for part in given]), slices[2:4])
    reader.set_range(1, 2)
    assert reader.get_next() is not None and reader.get_next() is None


def test_one_value_of_100_000_takes_no_steps_from_the_others(tmp_path, capsys):
    bright = np.random.default_rng(0).integers(0, 101, (1, 1024, 1024, 3), np.uint8)
    bright[0, 0, :6], bright[0, 1, :40] = 255, 200  # 18 and 120 of three million
    weight = numpy_helper.from_array(np.full((1, 3, 1, 1), 0.5, np.float32), "weight")
    nodes = [
        onnx.helper.make_node("Cast", ["slices"], ["values"], to=TensorProto.FLOAT),
        onnx.helper.make_node("Transpose", ["values"], ["planes"], perm=[0, 3, 1, 2]),
        onnx.helper.make_node("Conv", ["planes", "weight"], ["sums"], "layer"),
    ]
    shapes = ("N", "H", "W", 3), ("N", 1, "H", "W")
    graph = onnx.helper.make_graph(
        nodes,
        "sum of the channels",
        [onnx.helper.make_tensor_value_info("slices", TensorProto.UINT8, shapes[0])],
        [onnx.helper.make_tensor_value_info("sums", TensorProto.FLOAT, shapes[1])],
        [weight],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)])
    made = Quantiser(model, [bright], TARGETS["cpu"], tmp_path).build()
    scale = numpy_helper.to_array(constants(made)["planes_scale"])
    assert float(scale) == pytest.approx(200 / 255, rel=0.01)
    assert capsys.readouterr().out == ""


def test_layers_that_are_kept_stay_in_float_to_the_bit(made, float_graph):
    _, quantiser, _ = made
    first, *_, last = quantiser.layers
    graph = quantiser.build((first, last))
    assert float_layers(graph) == ["down.0.0", "head"]
    exact, held = constants(float_graph), constants(graph)
    for name in ("network.down.0.0.weight", "network.head.weight"):
        assert held[name].raw_data == exact[name].raw_data


def test_the_same_slices_give_the_same_graph(made, float_graph, slices, tmp_path):
    target, _, graph = made
    again = Quantiser(float_graph, [slices], target, tmp_path).build()
    assert again.SerializeToString() == graph.SerializeToString()


def test_a_bar_goes_on_while_ranges_are_measured_and_not_again(
    float_graph, target, slices, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    quantiser = Quantiser(float_graph, [slices[:3], slices[3:]], target, tmp_path, progress=True)
    quantiser.build()
    assert "0/4 [" in capsys.readouterr().err
    quantiser.build()
    assert "slice" not in capsys.readouterr().err


def test_onnxruntime_computes_all_layers_but_the_last_in_8_bits_and_pools_in_them(made, tmp_path):
    target, quantiser, graph = made
    if not target.sub_pixel:
        pytest.skip("onnxruntime has no transposed convolution in 8 bits, TensorRT has")
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    onnxruntime.InferenceSession(
        graph.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    run = [node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node]
    assert run.count("QLinearConv") == len(quantiser.layers) - 1
    assert "MaxPool" not in run and "NhwcMaxPool" in run
    # The last one answers in float.
    assert sum(name in ("Conv", "FusedConv", "ConvTranspose") for name in run) == 1


@pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="pip install 'lgg-edge[openvino]'"
)
def test_openvino_runs_the_graph_for_cpus(made, slices, tmp_path):
    target, _, graph = made
    if not target.unsigned:
        pytest.skip("OpenVINO computes signed activations wrongly; the backend refuses them")
    path = tmp_path / "m.onnx"
    contract = write_artifact(path)
    copy = onnx.ModelProto.FromString(graph.SerializeToString())
    onnx.helper.set_model_props(copy, {METADATA_KEY: contract.dumps()})
    path.write_bytes(copy.SerializeToString())
    found = load_backend(path, BackendSettings("openvino", 1)).run(slices)
    np.testing.assert_allclose(found, run_onnx(graph, slices), atol=0.15)
    assert np.abs(found - run_onnx(graph, slices)).mean() < 5e-3


def test_onnxruntime_may_report_to_nobody_while_it_quantises(made, monkeypatch):
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
    made[1].build()
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"


def test_an_onnxruntime_that_cannot_keep_its_ranges_is_refused_by_name(made, monkeypatch):
    monkeypatch.setattr("onnxruntime.quantization.quantize_static", lambda model, output: None)
    with pytest.raises(MissingExtraError, match=r"^onnxruntime \d.* -U 'onnxruntime>=1\.27'$"):
        made[1].build()
