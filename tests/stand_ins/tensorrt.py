"""A stand-in for the module `tensorrt`: the calls that building and running an engine needs.

Its plan is the profiles and the ONNX file behind a mark. Its engine takes what the chosen profile
holds, and computes with onnxruntime on the addresses that it was given, so that what goes wrong on
the way there shows in the result.
"""

from __future__ import annotations

import ctypes
import json
from enum import Enum, IntEnum
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime

_MARK = b"STAND-IN PLAN"
_TYPES = {onnx.TensorProto.UINT8: "UINT8", onnx.TensorProto.FLOAT: "FLOAT"}
_Mode = Enum("_Mode", ["INPUT", "OUTPUT"])


class StandInTensorRT(SimpleNamespace):
    """The module; version: what `__version__` says; last_config: of the last build."""

    def __init__(self, version: str = "10.13.0"):
        super().__init__(
            ILogger=_Logger,
            Builder=self._builder,
            OnnxParser=_Parser,
            Runtime=_Runtime,
            BuilderFlag=IntEnum("BuilderFlag", ["TF32"]),
            MemoryPoolType=IntEnum("MemoryPoolType", ["WORKSPACE"]),
            NetworkDefinitionCreationFlag=IntEnum("Flag", {"STRONGLY_TYPED": 1}),
        )
        self.__version__ = version
        self.last_config: _Config | None = None

    def _builder(self, log: Any) -> _Builder:
        return _Builder(log, self)


class _Logger:
    INTERNAL_ERROR, ERROR, WARNING = range(3)

    def log(self, severity: int, message: str) -> None:
        raise NotImplementedError


class _Config:
    def __init__(self) -> None:
        self.cleared: list[Any] = []
        self.pools: dict[Any, int] = {}
        self.profiles: list[_Profile] = []
        self.cache = b""

    def clear_flag(self, flag: Any) -> None:
        self.cleared.append(flag)

    def set_memory_pool_limit(self, pool: Any, size: int) -> None:
        self.pools[pool] = size

    def add_optimization_profile(self, profile: _Profile) -> int:
        self.profiles.append(profile)
        return len(self.profiles) - 1

    def create_timing_cache(self, held: bytes) -> bytes:
        return held

    def set_timing_cache(self, cache: bytes, _ignore_mismatch: bool) -> bool:
        self.cache = cache
        return not cache.startswith(b"of another GPU")

    def get_timing_cache(self) -> Any:
        return SimpleNamespace(serialize=lambda: self.cache + b"timed;")


class _Profile:
    def __init__(self) -> None:
        self.shapes: dict[str, tuple[Any, Any, Any]] = {}

    def set_shape(self, name: str, low: Any, typical: Any, high: Any) -> None:
        self.shapes[name] = (low, typical, high)

    def get_shape(self, name: str) -> list[Any]:
        return list(self.shapes[name])


class _Network:
    def __init__(self, flags: int):
        self.strongly_typed = bool(flags & 2)
        self.model: onnx.ModelProto | None = None

    @property
    def num_inputs(self) -> int:
        return len(self.model.graph.input)

    @property
    def num_outputs(self) -> int:
        return len(self.model.graph.output)

    def get_input(self, index: int) -> Any:
        return _tensor(self.model.graph.input[index])

    def get_output(self, index: int) -> Any:
        return _tensor(self.model.graph.output[index])


class _Builder:
    def __init__(self, log: Any, module: StandInTensorRT):
        self._log, self._module = log, module

    def create_builder_config(self) -> _Config:
        self._module.last_config = _Config()
        return self._module.last_config

    def create_network(self, flags: int) -> _Network:
        return _Network(flags)

    def create_optimization_profile(self) -> _Profile:
        return _Profile()

    def build_serialized_network(self, network: _Network, config: _Config) -> bytes | None:
        if not config.profiles or not network.strongly_typed:
            self._log.log(_Logger.ERROR, "no profile, or a weakly typed network")
            return None
        profiles = json.dumps([profile.shapes for profile in config.profiles]).encode()
        return _MARK + profiles + b"\n" + network.model.SerializeToString()


class _Parser:
    def __init__(self, network: _Network, log: Any):
        self._network, self._log = network, log

    def parse(self, data: bytes) -> bool:
        model = onnx.load_from_string(data)
        readers = [n.op_type for n in model.graph.node if model.graph.input[0].name in n.input]
        if readers != ["Cast"]:
            self._log.log(_Logger.ERROR, f"{readers[0]}: first input has type UInt8")
            return False
        self._network.model = model
        return True


class _Runtime:
    def __init__(self, log: Any):
        self._log = log

    def deserialize_cuda_engine(self, data: bytes) -> _Engine | None:
        if not data.startswith(_MARK):
            self._log.log(_Logger.ERROR, "magic tag does not match")
            return None
        return _Engine(data[len(_MARK) :], self._log)


class _Engine:
    def __init__(self, data: bytes, log: Any):
        profiles, _, model = data.partition(b"\n")
        self.profiles, self.log = json.loads(profiles), log
        self._graph = onnx.load_from_string(model).graph
        self.session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        values = [(_Mode.INPUT, v) for v in self._graph.input]
        self._values = [*values, *((_Mode.OUTPUT, v) for v in self._graph.output)]
        self.num_io_tensors = len(self._values)

    def get_tensor_name(self, index: int) -> str:
        return self._values[index][1].name

    def get_tensor_mode(self, name: str) -> Any:
        return next(mode for mode, value in self._values if value.name == name)

    def get_tensor_dtype(self, name: str) -> Any:
        return _tensor(next(v for _, v in self._values if v.name == name)).dtype

    def create_execution_context(self) -> _Context:
        return _Context(self)


class _Context:
    def __init__(self, engine: _Engine):
        self._engine = engine
        self._addresses: dict[str, int] = {}
        self._shape: tuple[int, ...] = ()
        self._profile = 0

    def set_optimization_profile_async(self, profile: int, _stream: int) -> bool:
        self._profile = profile
        return True

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        low, _, high = self._engine.profiles[self._profile][name]
        if not all(a <= n <= b for a, n, b in zip(low, shape, high, strict=True)):
            self._engine.log.log(_Logger.ERROR, f"{shape} is not within profile {self._profile}")
            return False
        self._shape = shape
        return True

    def set_tensor_address(self, name: str, address: int) -> bool:
        self._addresses[name] = address
        return True

    def execute_async_v3(self, _stream: int) -> bool:
        source, target = self._addresses.values()
        size = int(np.prod(self._shape))
        held = (ctypes.c_uint8 * size).from_address(source)
        slices = np.frombuffer(held, np.uint8).reshape(self._shape)
        found = self._engine.session.run(None, {"slices": slices})[0]
        ctypes.memmove(target, np.ascontiguousarray(found).ctypes.data, found.nbytes)
        return True


def _tensor(value: onnx.ValueInfoProto) -> Any:
    kind = value.type.tensor_type
    shape = tuple(d.dim_value if d.HasField("dim_value") else -1 for d in kind.shape.dim)
    return SimpleNamespace(
        name=value.name, shape=shape, dtype=SimpleNamespace(name=_TYPES[kind.elem_type])
    )
