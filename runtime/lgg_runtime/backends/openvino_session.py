"""ONNX artifacts through OpenVINO on the CPU."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from lgg_runtime.backends.settings import BackendSettings
from lgg_runtime.backends.signature import accept_artifact, require_probability
from lgg_runtime.contract import INPUT, METADATA_KEY, Contract
from lgg_runtime.errors import ModelError, ProviderError
from lgg_runtime.extras import import_extra
from lgg_runtime.volume import Pixels, Probability

SHAPES_KEPT = 4
MOST_STREAMS = 4
_CONVERTERS = "openvino.tools.ovc"
_PRECISIONS = {"fp32": "f32", "bf16": "bf16"}
_METADATA = ["framework", METADATA_KEY]
# Its answers to signed activations were all background, without an error (2026.4.1).
_FOR_TENSORRT = "int8 symmetric"


class OpenVinoSession:
    """A Backend over OpenVINO's CPU plugin.

    The network is compiled for one slice of each height and width in use, and the slices of a run
    go through it on several streams. Against one compilation for all shapes this took a tenth
    less processor time, and a short last batch is no new shape. Memory is held for the last
    SHAPES_KEPT shapes.

    Raises ModelError for a file that is no valid artifact, ProviderError where this processor does
    not compute in the precision asked for, MissingExtraError where OpenVINO is not installed.
    """

    provider = "openvino"

    def __init__(self, path: Path, settings: BackendSettings):
        self._library = import_openvino()
        self._core = self._library.Core()
        self._model = _read_model(self._library, path)
        self.contract = _read_contract(self._model, path)
        if self.contract.precision == _FOR_TENSORRT:
            raise ModelError(
                f"{path.name}: it is {_FOR_TENSORRT}, made for TensorRT; OpenVINO finds nothing "
                "with it; take an int8 artifact for CPUs (lgg-export --precision int8)"
            )
        _require_precision(self._core, settings.cpu_precision)
        name = self._core.get_property("CPU", "FULL_DEVICE_NAME").strip()
        self.device = f"CPU ({name}, {settings.cpu_precision})"
        self.versions = {"openvino": str(self._library.__version__)}
        self._streams = min(settings.threads, MOST_STREAMS)
        self._options = {
            "INFERENCE_NUM_THREADS": settings.threads,
            "NUM_STREAMS": self._streams,
            "INFERENCE_PRECISION_HINT": _PRECISIONS[settings.cpu_precision],
            # Pinned, two processes would share one core and leave another idle.
            "ENABLE_CPU_PINNING": False,
        }
        self._queues: dict[tuple[int, int], Any] = {}

    @property
    def compiled_shapes(self) -> tuple[tuple[int, int], ...]:
        """Heights and widths that memory is held for, the one used longest ago first."""
        return tuple(self._queues)

    def run(self, slices: Pixels) -> Probability:
        try:
            probability = self._run(slices)
        except Exception as error:
            # As for reading; the input's shape is ours, so what fails is the graph or its memory.
            raise ModelError(f"the model cannot be run: {_last_line(error)}") from error
        require_probability(probability, slices)
        return probability

    def _run(self, slices: Pixels) -> Probability:
        queue = self._queue(slices.shape[1:3])
        found: list[Probability] = [np.empty(0, np.float32)] * len(slices)

        def keep(request: Any, index: int) -> None:
            found[index] = request.get_output_tensor(0).data.copy()

        queue.set_callback(keep)
        for index in range(len(slices)):
            queue.start_async({INPUT: slices[index : index + 1]}, index, share_inputs=True)
        queue.wait_all()
        return np.concatenate(found)

    def _queue(self, size: tuple[int, ...]) -> Any:
        """Compiled for slices of this height and width; the shape used longest ago is dropped."""
        height, width = size
        queue = self._queues.pop((height, width), None) or self._compile(height, width)
        self._queues[height, width] = queue
        if len(self._queues) > SHAPES_KEPT:
            del self._queues[next(iter(self._queues))]
        return queue

    def _compile(self, height: int, width: int) -> Any:
        model = self._model.clone()
        model.reshape({INPUT: [1, height, width, len(self.contract.channels)]})
        compiled = self._core.compile_model(model, "CPU", self._options)
        return self._library.AsyncInferQueue(compiled, self._streams)


def import_openvino() -> Any:
    """The module, without its conversion tools. Raises MissingExtraError where it is missing.

    Importing those tools writes an identifier into the user's home and reports the use to the
    vendor over the network. The package goes without them where they are not there.
    """
    hidden = _CONVERTERS not in sys.modules
    if hidden:
        sys.modules[_CONVERTERS] = None  # type: ignore[assignment]
    try:
        return import_extra("openvino", "openvino")
    finally:
        if hidden:
            del sys.modules[_CONVERTERS]


def _read_model(library: Any, path: Path) -> Any:
    """The graph. Raises ModelError for a file that OpenVINO does not take."""
    try:
        # Not Core.read_model: it tries every format that it knows, and prints what each one says.
        frontend = library.frontend.FrontEndManager().load_by_framework("onnx")
        return frontend.convert(frontend.load(str(path)))
    except Exception as error:
        # OpenVINO's exception types share no base; all of them mean a refused file.
        raise ModelError(f"{path.name}: OpenVINO refuses it: {_last_line(error)}") from error


def _read_contract(model: Any, path: Path) -> Contract:
    held = model.get_rt_info(_METADATA).value if model.has_rt_info(_METADATA) else None
    found = [
        (port.get_any_name(), port.element_type.get_type_name(), len(port.partial_shape))
        for port in (*model.inputs, *model.outputs)
    ]
    return accept_artifact(path, held, found, ("u8", "f32"))


def _require_precision(core: Any, precision: str) -> None:
    known = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if precision.upper() not in known:
        raise ProviderError(
            f"--cpu-precision {precision}: this processor does not compute in it; "
            "leave it out for fp32"
        )


def _last_line(error: Exception) -> str:
    """What OpenVINO says after the places in its own source, at most 200 characters."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[-1][:200]
