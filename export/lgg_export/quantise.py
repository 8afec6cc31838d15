"""A float graph in int8: QuantizeLinear and DequantizeLinear around what computes in 8 bits.

Scales of weights are by channel, those of activations by tensor, from their values on given slices.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from lgg_runtime.backends.onnx_session import import_onnxruntime
from lgg_runtime.contract import INPUT
from lgg_runtime.errors import MissingExtraError
from lgg_runtime.progress import ignore, show_progress
from lgg_runtime.volume import Pixels
from lgg_train.unet import LARGEST_MULTIPLE

LAYERS = ("Conv", "ConvTranspose")
# What hands 8 bits on without computing, so that no float lies between two layers.
_BETWEEN = ("MaxPool", "Concat")
# Percent of an activation's values that its range holds: with the rare ones beyond, which are cut
# to its ends, all others would share fewer of the 256 steps.
_HELD = 99.999
_KEPT_RANGES = "calibration_cache_path"  # an argument of onnxruntime's since 1.27


@dataclass(frozen=True)
class Target:
    """What a library takes.

    precision: the contract's word; unsigned: activations are uint8 with a zero point, which the
    dot-product instructions of CPUs take as they are, else symmetric int8; whole_biases: biases
    are int32, else float; sub_pixel: with SubPixelConvolution in place of transposed ones.
    """

    precision: str
    unsigned: bool
    whole_biases: bool
    sub_pixel: bool


# TensorRT parses symmetric activations and float biases alone; onnxruntime has no fast kernel for
# signed activations on most x86 processors, and none in 8 bits for transposed convolutions.
TARGETS = {
    "cpu": Target("int8", unsigned=True, whole_biases=True, sub_pixel=True),
    "tensorrt": Target("int8 symmetric", unsigned=False, whole_biases=False, sub_pixel=False),
}


class Quantiser:
    """Makes int8 graphs of one float graph; its ranges are measured once.

    slices: normalised, each array (S, H, W, 3) uint8, one at a time through the graph; folder:
    for what is kept between two calls of `build`; progress: show a bar while they are measured,
    where standard error is a terminal.
    """

    def __init__(
        self,
        graph: onnx.ModelProto,
        slices: Sequence[Pixels],
        target: Target,
        folder: Path,
        progress: bool = False,
    ):
        self._graph, self._slices = graph, slices
        self._target, self._folder = target, folder
        self._progress = progress

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the nodes that compute, in the graph's order."""
        return tuple(node.name for node in self._graph.graph.node if node.op_type in LAYERS)

    def build(self, kept: Iterable[str] = ()) -> onnx.ModelProto:
        """The graph in int8, the layers of these names as they were.

        Raises MissingExtraError where the installed onnxruntime is too old.
        """
        runtime = import_onnxruntime()  # which keeps it from reporting to Microsoft
        from onnxruntime.quantization import (
            CalibrationMethod,
            QuantFormat,
            QuantType,
            quantize_static,
        )
        from onnxruntime.quantization.quant_utils import add_pre_process_metadata

        if _KEPT_RANGES not in signature(quantize_static).parameters:
            raise MissingExtraError(
                f"onnxruntime {runtime.__version__} cannot keep what it calibrated; for int8 "
                "pip install -U 'onnxruntime>=1.27'"
            )
        model = onnx.ModelProto.FromString(self._graph.SerializeToString())
        # It asks for optimisations first, which the exported graph has had.
        add_pre_process_metadata(model)
        output, ranges = self._folder / "int8.onnx", self._folder / "ranges.json"
        target = self._target
        is_watched = self._progress and not ranges.exists()
        with (
            redirect_stdout(io.StringIO()),  # the library's words for each slice
            show_progress(not is_watched, "slice", sum(map(len, self._slices))) as advance,
        ):
            quantize_static(
                model,
                output,
                _Reader(self._slices, advance),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=[*LAYERS, *_BETWEEN],
                per_channel=True,
                activation_type=QuantType.QUInt8 if target.unsigned else QuantType.QInt8,
                weight_type=QuantType.QInt8,
                nodes_to_exclude=list(kept),
                calibrate_method=CalibrationMethod.Percentile,
                **{_KEPT_RANGES: ranges},
                extra_options={
                    "CalibPercentile": _HELD,
                    # Slices between two histograms, of which the library holds all activations.
                    "CalibStridedMinMax": 1,
                    "ActivationSymmetric": not target.unsigned,
                    "WeightSymmetric": True,
                    "QuantizeBias": target.whole_biases,
                    # Behind its ReLU instead: engines compute both as one, and no bits are spent on
                    # what the ReLU drops.
                    "OpTypesToExcludeOutputQuantization": ["Conv"],
                    # Also where the library would not: what a MaxPool hands on has its input's
                    # scale then, without which engines pool in float.
                    "ForceQuantizeNoInputCheck": True,
                },
            )
        made = onnx.load(str(output))
        del made.metadata_props[:]
        # Shapes by name, with which engines that fix N, H and W (tract) contradict themselves.
        del made.graph.value_info[:]
        onnx.checker.check_model(made, full_check=True)
        return made


def float_layers(graph: onnx.ModelProto) -> list[str]:
    """Weights' names of the layers that compute in float, without the suffix of the tensor."""
    made_by = {name: node.op_type for node in graph.graph.node for name in node.output}
    return [
        node.input[1].removeprefix("network.").removesuffix(".weight")
        for node in graph.graph.node
        if node.op_type in LAYERS and made_by.get(node.input[1]) != "DequantizeLinear"
    ]


class _Reader:
    """The slices as the library asks for them: some of them, then one by one, each padded with
    zeros to the size multiple, as a run pads it. advance: called with 1 for each.
    """

    def __init__(self, volumes: Sequence[Pixels], advance: Callable[[int], object] = ignore):
        self._advance = advance
        padded = [_pad(volume) for volume in volumes]
        self._slices = [volume[i : i + 1] for volume in padded for i in range(len(volume))]
        self._rest = iter(self._slices)

    def __len__(self) -> int:
        return len(self._slices)

    def set_range(self, start_index: int, end_index: int) -> None:
        self._rest = iter(self._slices[start_index:end_index])

    def get_next(self) -> dict[str, Any] | None:
        chosen = next(self._rest, None)
        if chosen is None:
            return None
        self._advance(1)
        return {INPUT: chosen}


def _pad(slices: Pixels) -> Pixels:
    height, width = slices.shape[1:3]
    beyond = ((0, 0), (0, -height % LARGEST_MULTIPLE), (0, -width % LARGEST_MULTIPLE), (0, 0))
    return np.pad(slices, beyond)
