"""ONNX artifacts through OpenVINO on the CPU."""

from __future__ import annotations

import contextlib
import io
from collections import OrderedDict, deque
from contextlib import AbstractContextManager
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Lock
from typing import Any

import numpy as np

from lgg_runtime.backends.acceptance import accept_artifact, require_probability
from lgg_runtime.backends.model_file import read_model
from lgg_runtime.backends.onnx_session import telling_engine_errors
from lgg_runtime.backends.openvino_core import TOO_LITTLE, import_openvino, last_line, open_core
from lgg_runtime.backends.settings import BackendSettings
from lgg_runtime.backends.within_memory import is_memory_limited
from lgg_runtime.contract import INPUT, METADATA_KEY, Contract
from lgg_runtime.errors import ModelError, ProviderError
from lgg_runtime.volume import Pixels, Probability

MOST_STREAMS = 4
# Sizes of slices whose networks are kept, the least recent one given up for the next.
MOST_SIZES = 4
# Of the training data; compiled at once, while the first files are read.
_USUAL_SIZE = (256, 256)
# So many wait for a stream, that none is idle while the results of another are fetched.
REQUESTS_A_STREAM = 4
_PRECISIONS = {"fp32": "f32", "bf16": "bf16"}
_METADATA = ["framework", METADATA_KEY]
# OpenVINO's answers to signed activations were all background, without an error (2026.4.1).
_FOR_TENSORRT = "int8 symmetric"
# As it compiles none in fp32 arithmetic on ARM (2026.4.1).
_WITHOUT_INT8 = "; if OpenVINO takes no int8 here, take --provider cpu or an fp32 model"

_Idle = SimpleQueue[Any]  # requests that nothing runs on
_Running = deque[tuple[int, Any]]  # slices' numbers and their requests, the oldest first


class OpenVinoSession:
    """A Backend over OpenVINO's CPU plugin.

    The network is compiled for one slice of each size that comes, and slices go through it on
    several streams, those of runs at once side by side. To compile takes as long as to run about
    ten slices; a network for any size takes a third longer for each slice (2026.4.1, int8 and small
    networks).

    Raises ModelError for a file that is no valid artifact, ProviderError where this processor does
    not compute in the precision asked for, MissingExtraError where OpenVINO is not installed.
    """

    provider = "openvino"

    def __init__(self, path: Path, settings: BackendSettings):
        library = import_openvino()
        core = open_core()
        model = _read_model(library, path, read_model(path, settings.sha256))
        self.contract = _read_contract(model, path)
        if self.contract.precision == _FOR_TENSORRT:
            raise ModelError(
                f"{path.name}: it is {_FOR_TENSORRT}, made for TensorRT; OpenVINO finds nothing "
                "with it; take an int8 artifact for CPUs (lgg-export --precision int8)"
            )
        _require_precision(core, settings.cpu_precision)
        name = core.get_property("CPU", "FULL_DEVICE_NAME").strip()
        self.device = f"CPU ({name}, {settings.cpu_precision})"
        self.versions = {"openvino": str(library.__version__)}
        self._streams = min(settings.threads, MOST_STREAMS)
        self._options = {
            "INFERENCE_NUM_THREADS": settings.threads,
            "NUM_STREAMS": self._streams,
            "INFERENCE_PRECISION_HINT": _PRECISIONS[settings.cpu_precision],
            # Pinned, two processes would share one core and leave another idle.
            "ENABLE_CPU_PINNING": False,
        }
        # Each has threads of its own; where one cannot begin, OpenVINO waits for ever or aborts.
        self._sizes = 1 if is_memory_limited() else MOST_SIZES
        self._core, self._model = core, model
        self._lock = Lock()  # two runs at once would compile for a size each
        self._requests: OrderedDict[tuple[int, ...], _Idle] = OrderedDict()
        with _refusing_file(path, _WITHOUT_INT8 if self.contract.precision == "int8" else ""):
            self._prepare(_USUAL_SIZE)

    def run(self, slices: Pixels) -> Probability:
        too_little = "the memory does not suffice; give smaller slices"
        # The input's shape is ours, so only the graph or its memory can be at fault.
        with telling_engine_errors(too_little, "the model cannot be run", last_line):
            probability: Probability = np.empty(slices.shape[:3], np.float32)
            with self._lock:
                idle = self._prepare(slices.shape[1:3])
            _run(slices, idle, probability)
        require_probability(probability, slices)
        return probability

    def _prepare(self, size: tuple[int, ...]) -> _Idle:
        """What runs slices of this height and width."""
        if size not in self._requests:
            if len(self._requests) == self._sizes:
                self._requests.popitem(last=False)
            self._model.reshape({INPUT: [1, *size, len(self.contract.channels)]})
            compiled = self._core.compile_model(self._model, "CPU", self._options)
            idle: _Idle = SimpleQueue()
            for _ in range(self._streams * REQUESTS_A_STREAM):
                idle.put(compiled.create_infer_request())
            self._requests[size] = idle  # once it is whole: a run waits for ever at an empty one
        self._requests.move_to_end(size)
        return self._requests[size]


def _run(slices: Pixels, idle: _Idle, out: Probability) -> None:
    """Slices through requests that are idle, which other runs take from as well."""
    # Without callbacks: they would wait in the streams' threads for Python's lock, which the
    # stages beside the model hold.
    running: _Running = deque()
    try:
        for index in range(len(slices)):
            request = _take(idle, running, out)
            running.append((index, request))
            # Copied: a request keeps what it shares, here a whole volume, until its next slice.
            request.start_async({INPUT: slices[index : index + 1]}, share_inputs=False)
        while running:
            _fetch(running, idle, out)
    finally:
        # After a failure, what still runs is waited for: a request in use takes no other slice.
        for _, request in running:
            with contextlib.suppress(Exception):  # the first failure is told
                request.wait()
            idle.put(request)


def _take(idle: _Idle, running: _Running, out: Probability) -> Any:
    """A request; where none is idle, the run's own oldest, or the next one of another run."""
    while running:
        with contextlib.suppress(Empty):
            return idle.get_nowait()
        _fetch(running, idle, out)
    return idle.get()


def _fetch(running: _Running, idle: _Idle, out: Probability) -> None:
    """Wait for the oldest request and keep what it found."""
    index, request = running[0]
    request.wait()
    out[index] = request.get_output_tensor(0).data[0]
    running.popleft()
    idle.put(request)


def _read_model(library: Any, path: Path, data: bytes) -> Any:
    """The graph in a file's bytes, those that were checked. Raises ModelError for what OpenVINO
    does not take.
    """
    with _refusing_file(path):
        # Not Core.read_model: it tries every format that it knows, and prints what each one says.
        frontend = library.frontend.FrontEndManager().load_by_framework("onnx")
        return frontend.convert(frontend.load(io.BytesIO(data)))


def _refusing_file(path: Path, remedy: str = "") -> AbstractContextManager[None]:
    refusal = f"{path.name}: OpenVINO refuses it"
    return telling_engine_errors(TOO_LITTLE, refusal, lambda error: last_line(error) + remedy)


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
