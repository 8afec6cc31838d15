"""The exported graph: its form, any size, and the same numbers as PyTorch."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

import lgg_train
from lgg_export.graph import OPSET, InferenceGraph, _name_dimensions, build_graph
from lgg_runtime.backends.graph_check import check_graph
from lgg_runtime.errors import ParityError
from lgg_train.unet import UNet, UNetSettings, scale_slices
from stand_ins.artifacts import run_onnx


def make_slices(count, height, width):
    rng = np.random.default_rng(count)
    return rng.integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def run_torch(network, slices):
    with torch.inference_mode():
        return torch.sigmoid(network(scale_slices(torch.from_numpy(slices))))[:, 0].numpy()


@pytest.mark.parametrize("shape", [(1, 16, 16), (1, 64, 48), (5, 32, 80), (3, 128, 16)])
def test_any_number_of_slices_of_any_size_gives_what_pytorch_gives(built, network, shape):
    slices = make_slices(*shape)
    found = run_onnx(built["fp32"], slices)
    assert (found.shape, found.dtype) == (shape, np.float32)
    expected = run_torch(network, slices)
    assert np.ptp(expected) > 0.3, "numbers that can differ"
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_the_standard_depth_exports_too(deep_network):
    model = build_graph(deep_network, torch.float32).SerializeToString()
    for shape in ((1, 16, 16), (3, 48, 80)):
        slices = make_slices(*shape)
        expected = run_torch(deep_network, slices)
        np.testing.assert_allclose(run_onnx(model, slices), expected, rtol=0, atol=1e-5)


def test_a_network_with_stride_exports_too():
    torch.manual_seed(3)
    network = UNet(UNetSettings(features=4, depth=3, stride=2)).eval()
    model = build_graph(network, torch.float32).SerializeToString()
    for shape in ((1, 16, 16), (3, 48, 80)):
        slices = make_slices(*shape)
        expected = run_torch(network, slices)
        assert np.ptp(expected) > 0, "numbers that can differ"
        np.testing.assert_allclose(run_onnx(model, slices), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_network_that_sees_the_other_side_exports_too(mirror, dtype):
    torch.manual_seed(3)
    settings = UNetSettings(features=4, depth=2, stride=2, mirror=mirror, symmetry=True)
    network = UNet(settings).eval()
    torch.nn.init.normal_(network.head.weight)
    torch.nn.init.zeros_(network.head.bias)
    model = build_graph(network, dtype).SerializeToString()
    check_graph(model)
    for shape in ((1, 16, 16), (3, 48, 80)):
        slices = make_slices(*shape)
        slices[:, :, : shape[2] // 3] = 0  # so that a head's middle is not the picture's
        expected = run_torch(network, slices)
        atol = 1e-5 if dtype is torch.float32 else 5e-3
        np.testing.assert_allclose(run_onnx(model, slices), expected, rtol=0, atol=atol)
        x = scale_slices(torch.from_numpy(slices))
        unmirrored = torch.sigmoid(network(torch.cat((x, x), 1))).detach().numpy()[:, 0]
        assert abs(unmirrored - expected).max() > 2 * atol, "numbers that can differ"


def test_sub_pixel_convolutions_give_the_same_numbers_and_leave_the_network_as_it_was(
    built, network
):
    model = onnx.load_from_string(built["sub-pixel"])
    operators = [node.op_type for node in model.graph.node]
    assert (operators.count("Conv"), operators.count("ConvTranspose")) == (13, 0)
    for shape in ((1, 16, 16), (3, 48, 80)):
        slices = make_slices(*shape)
        found = run_onnx(model, slices)
        expected = run_torch(network, slices)
        assert np.ptp(expected) > 0.3, "numbers that can differ"
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    assert {type(layer) for layer in network.grow} == {torch.nn.ConvTranspose2d}


@pytest.mark.parametrize("stride", [2, 4])
def test_the_last_layer_of_a_network_with_stride_is_a_sub_pixel_convolution_too(stride):
    torch.manual_seed(3)
    network = UNet(UNetSettings(features=4, depth=2, stride=stride)).eval()
    model = build_graph(network, torch.float32, sub_pixel=True)
    assert "ConvTranspose" not in [node.op_type for node in model.graph.node]
    slices = make_slices(3, 48, 80)
    expected = run_torch(network, slices)
    assert np.ptp(expected) > 0, "numbers that can differ"
    np.testing.assert_allclose(run_onnx(model, slices), expected, rtol=0, atol=1e-5)
    assert type(network.head) is torch.nn.ConvTranspose2d


def test_the_form_is_the_contract_s(graph):
    (given,), (found,) = graph.graph.input, graph.graph.output
    assert (given.name, found.name) == ("slices", "probability")
    assert given.type.tensor_type.elem_type == TensorProto.UINT8
    assert found.type.tensor_type.elem_type == TensorProto.FLOAT
    dims = [
        [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (given, found)
    ]
    assert dims == [["N", "H", "W", 3], ["N", "H", "W"]]


def test_the_graph_needs_the_standard_operators_alone(graph):
    assert {(entry.domain, entry.version) for entry in graph.opset_import} == {("", OPSET)}
    assert {node.domain for node in graph.graph.node} == {""}
    assert not graph.functions


def test_normalisation_is_folded_into_the_convolutions(graph):
    operators = [node.op_type for node in graph.graph.node]
    assert "BatchNormalization" not in operators
    # Two a block of five blocks, and the head; two transposed ones upwards.
    assert (operators.count("Conv"), operators.count("ConvTranspose")) == (11, 2)


def test_folding_changes_no_number_and_leaves_the_network_as_it_was(network):
    before = {name: value.clone() for name, value in network.state_dict().items()}
    folded = InferenceGraph(network, torch.float32).eval()
    kinds = {type(module) for module in folded.modules()}
    assert torch.nn.BatchNorm2d not in kinds
    slices = make_slices(2, 32, 48)
    with torch.inference_mode():
        found = folded(torch.from_numpy(slices)).numpy()
    np.testing.assert_allclose(found, run_torch(network, slices), rtol=0, atol=1e-5)
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_folding_takes_the_running_statistics_even_of_a_network_in_training(network):
    network.train()
    try:
        folded = InferenceGraph(network, torch.float32).eval()
    finally:
        network.eval()
    slices = make_slices(1, 16, 16)
    with torch.inference_mode():
        found = folded(torch.from_numpy(slices)).numpy()
    np.testing.assert_allclose(found, run_torch(network, slices), rtol=0, atol=1e-5)


class Identity(torch.nn.Module):
    """Stands in for a network without blocks: its logit is the scaled FLAIR."""

    down = up = ()

    def forward(self, x):
        return x[:, 1:2]


def test_scaling_and_sigmoid_are_inside():
    slices = np.zeros((1, 1, 3, 3), np.uint8)
    slices[0, 0, :, 1] = (0, 51, 255)
    found = InferenceGraph(Identity(), torch.float32)(torch.from_numpy(slices)).numpy()
    np.testing.assert_allclose(found[0, 0], 1 / (1 + np.exp([0, -0.2, -1])), rtol=1e-6)


def test_no_probability_is_above_one_where_onnxruntime_rounds_a_sigmoid_up():
    network = UNet(UNetSettings(features=2, depth=1)).eval()
    with torch.no_grad():
        network.head.weight.zero_()
        # What onnxruntime 1.32 takes to 1 + 2**-23 without the graph's bounds.
        network.head.bias.fill_(17.87294)
    model = build_graph(network, torch.float32).SerializeToString()
    found = run_onnx(model, make_slices(1, 64, 64))
    assert found.max() == 1
    assert found.min() > 0.999999


def make_fixed(given, found):
    graph = helper.make_graph(
        [],
        "fixed",
        [helper.make_tensor_value_info("slices", TensorProto.UINT8, given)],
        [helper.make_tensor_value_info("probability", TensorProto.FLOAT, found)],
    )
    return helper.make_model(graph)


@pytest.mark.parametrize(
    ("given", "found", "named"),
    [
        ((2, "H", "W", 3), ("N", "H", "W"), "slices: the exporter fixed N to 2"),
        (("N", 64, "W", 3), ("N", "H", "W"), "slices: the exporter fixed H to 64"),
        (("N", "H", 48, 3), ("N", "H", "W"), "slices: the exporter fixed W to 48"),
        (("N", "H", "W", 3), (2, "H", "W"), "probability: the exporter fixed N to 2"),
        (("N", "H", "W", 3), ("N", "H", 48), "probability: the exporter fixed W to 48"),
    ],
)
def test_a_dimension_that_the_exporter_fixed_is_an_error(given, found, named):
    with pytest.raises(ParityError, match=named):
        _name_dimensions(make_fixed(given, found))


def test_other_names_of_the_dimensions_are_made_the_contract_s():
    model = make_fixed(("s0", "16*h", "16*w", 3), ("s0", "a", "b"))
    _name_dimensions(model)
    dims = model.graph.output[0].type.tensor_type.shape.dim
    assert [dim.dim_param for dim in dims] == ["N", "H", "W"]


def test_no_path_of_the_machine_is_in_the_graph(built):
    for model in built.values():
        for folder in (Path(lgg_train.__file__).parent, Path(torch.__file__).parent):
            assert str(folder).encode() not in model


BUILD = """
import hashlib
import torch
from lgg_export.graph import build_graph
from lgg_train.unet import UNet, UNetSettings

torch.manual_seed(3)
graph = build_graph(UNet(UNetSettings(features=4, depth=2)).eval(), torch.float32)
digest = hashlib.sha256(graph.SerializeToString()).hexdigest()
"""


@pytest.fixture(scope="module")
def built_apart(tmp_path_factory):
    """A home folder, and the digests of a graph that two processes built there."""
    home = tmp_path_factory.mktemp("home")
    kept = {k: v for k, v in os.environ.items() if k not in ("ORT_DISABLE_TELEMETRY", "CI")}
    kept |= {"HOME": str(home), "XDG_CACHE_HOME": str(home)}
    digests = [
        subprocess.check_output(
            [sys.executable, "-c", BUILD + "print(digest)"],
            env=kept | {"PYTHONHASHSEED": seed},
            text=True,
        )
        for seed in "12"
    ]
    return home, digests


def test_building_a_graph_reports_to_nobody(built_apart):
    left = [path.name for path in built_apart[0].rglob("*")]
    assert not [name for name in left if "onnxruntime" in name or "Microsoft" in name]


def test_a_network_has_the_same_graph_byte_for_byte_in_every_process(built_apart):
    here = {}
    exec(BUILD, here)
    assert built_apart[1] == [f"{here['digest']}\n"] * 2


def test_a_signal_while_the_exporter_is_imported_stays_one():
    """torch imports most of it at the first export, and would end that with an error of its own."""
    code = """
import sys

from lgg_export.graph import build_graph
from lgg_train.unet import UNet, UNetSettings
import torch

class Signal:
    def find_spec(self, name, *_):
        if name == "torch._dynamo.decorators":
            sys.meta_path.remove(self)
            raise KeyboardInterrupt

sys.meta_path.insert(0, Signal())
try:
    build_graph(UNet(UNetSettings(features=2, depth=1)), torch.float32)
except KeyboardInterrupt:
    print("interrupted")
"""
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "interrupted\n"
