"""The graph of the contract: uint8 slices in, probabilities out, scaling and sigmoid inside."""

from __future__ import annotations

import copy
import importlib
import logging
import warnings

import onnx
import onnxslim
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from lgg_runtime.backends.onnx_session import import_onnxruntime
from lgg_runtime.contract import INPUT, OUTPUT
from lgg_runtime.errors import ParityError
from lgg_train.symmetry import MOST_COLUMNS
from lgg_train.unet import LARGEST_MULTIPLE, UNet

OPSET = 18


class InferenceGraph(nn.Module):
    """What enters the artifact; the training module carries no export flags.

    forward: (N, H, W, 3) uint8, H and W multiples of 16, to probabilities (N, H, W) float32.
    Batch normalisation is folded into the convolutions. `dtype` is the arithmetic between;
    sub_pixel: SubPixelConvolution in place of transposed ones.
    """

    def __init__(self, network: UNet, dtype: torch.dtype, sub_pixel: bool = False):
        super().__init__()
        folded = _fold_normalisation(network)
        if sub_pixel:
            folded.grow = nn.ModuleList(SubPixelConvolution(layer) for layer in folded.grow)  # type: ignore[arg-type]
            if isinstance(folded.head, nn.ConvTranspose2d):
                folded.head = SubPixelConvolution(folded.head)
        self.network = folded.to(dtype)
        self.dtype = dtype

    def forward(self, slices: torch.Tensor) -> torch.Tensor:
        # The cast comes first because TensorRT takes a uint8 input only into a cast.
        x = slices.to(self.dtype).permute(0, 3, 1, 2) / 255.0
        # onnxruntime's sigmoid rounds some logits near 18 to just above 1.
        return torch.sigmoid(self.network(x).float()).clamp(0, 1).squeeze(1)


class SubPixelConvolution(nn.Conv2d):
    """A transposed convolution whose stride r is its kernel's side, as a 1x1 one to r * r times the
    channels, which are then moved to their pixels (Shi et al. 2016): the same sums. An engine that
    computes no transposed convolution in 8 bits computes this.

    forward: (N, in, H, W) to (N, out, r * H, r * W).
    """

    def __init__(self, transposed: nn.ConvTranspose2d):
        factor = transposed.stride[0]
        super().__init__(transposed.in_channels, factor**2 * transposed.out_channels, 1)
        self.factor = factor
        assert transposed.bias is not None and self.bias is not None
        with torch.no_grad():
            # (in, out, row, column) to (row, column, out) as channels.
            self.weight.copy_(transposed.weight.permute(2, 3, 1, 0).reshape(self.weight.shape))
            self.bias.copy_(transposed.bias.repeat(factor**2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        (count, _, height, width), factor = x.shape, self.factor
        # Channels last, so that each pixel's are moved as one run of memory.
        pixels = super().forward(x).permute(0, 2, 3, 1)
        rows = pixels.reshape(count, height, width, factor, self.out_channels // factor)
        grown = rows.permute(0, 1, 3, 2, 4).reshape(count, factor * height, factor * width, -1)
        return grown.permute(0, 3, 1, 2)


def build_graph(network: UNet, dtype: torch.dtype, sub_pixel: bool = False) -> onnx.ModelProto:
    """Export, simplify and check; N, H and W are dynamic. See InferenceGraph.

    Raises ParityError if an exported dimension is fixed, which exporters have done in silence.
    """
    example = torch.zeros((2, 64, 48, 3), dtype=torch.uint8)
    batch = torch.export.Dim("N", min=1, max=4096)
    most = MOST_COLUMNS // LARGEST_MULTIPLE
    height, width = (torch.export.Dim(name, min=1, max=most) for name in ("h", "w"))
    dynamic = {INPUT: {0: batch, 1: LARGEST_MULTIPLE * height, 2: LARGEST_MULTIPLE * width}}
    # It names each torchvision operator that it does without, at every export.
    logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)
    # Else the exporter does, which makes an error of its own of a Ctrl-C meanwhile.
    importlib.import_module("torch._dynamo")
    import_onnxruntime()  # else onnxslim loads it, which lets it report to Microsoft
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own deprecations
        program = torch.onnx.export(
            InferenceGraph(network, dtype, sub_pixel).eval(),
            (example,),
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=dynamic,
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
        assert program is not None
        model: onnx.ModelProto = onnxslim.slim(program.model_proto)
    # It tells each tensor's shape several times over, as often as chance has it.
    del model.graph.value_info[:]
    _name_dimensions(model)
    onnx.checker.check_model(model, full_check=True)
    return model


def _fold_normalisation(network: UNet) -> UNet:
    """A copy whose batch normalisations are folded into the convolutions before them."""
    folded = copy.deepcopy(network).cpu().eval()
    for block in (*folded.down, *folded.up):
        assert isinstance(block, nn.Sequential)
        for index in range(0, len(block), 3):
            block[index] = fuse_conv_bn_eval(block[index], block[index + 1])  # type: ignore[arg-type, type-var]
            block[index + 1] = nn.Identity()
    return folded


def _name_dimensions(model: onnx.ModelProto) -> None:
    for value in (model.graph.input[0], model.graph.output[0]):
        for dim, name in zip(value.type.tensor_type.shape.dim, "NHW", strict=False):
            if dim.HasField("dim_value"):
                raise ParityError(f"{value.name}: the exporter fixed {name} to {dim.dim_value}")
            dim.dim_param = name
