"""ONNX artifact to compiled engine, with TensorRT or TensorRT for RTX.

Precision lives in the ONNX file: networks are strongly typed, and no builder flag changes a type.
"""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lgg_export.artifact import read_artifact
from lgg_export.engine_profiles import ORDINARY_SIDE, make_profiles
from lgg_export.quantise import TARGETS
from lgg_runtime.backends.cuda_driver import CudaDevice, find_driver
from lgg_runtime.backends.engine import LIBRARIES, EngineBackend, import_library, open_log
from lgg_runtime.backends.settings import BackendSettings, GpuSettings
from lgg_runtime.contract import INPUT, Contract
from lgg_runtime.errors import ModelError, ParityError, ProviderError, ResourceError, UsageError
from lgg_runtime.sidecar import EngineKey, Profile, Sidecar, Tensor, sidecar_path
from lgg_runtime.writers.atomic import require_writable, write_atomically
from lgg_runtime.writers.temporary_files import telling_temporary_files


@dataclass(frozen=True)
class EngineSettings:
    """library: tensorrt or tensorrt-rtx; compute_capabilities: such as SM86, for tensorrt-rtx,
    none for an engine that runs from Ampere on; batch: most slices a run; size: largest height and
    width; workspace_mib: None for the library's own limit; timing_cache: a file that tensorrt
    reads and extends; device: the GPU that tensorrt builds on.
    """

    library: str = "tensorrt-rtx"
    compute_capabilities: tuple[str, ...] = ()
    batch: int = 32
    size: int = 512
    workspace_mib: int | None = None
    timing_cache: Path | None = None
    device: int = 0

    def __post_init__(self) -> None:
        if self.library not in LIBRARIES:
            raise UsageError(f"format {self.library!r}: expected {' or '.join(LIBRARIES)}")
        if self.batch < 1 or self.size < ORDINARY_SIDE or self.size % 16:
            raise UsageError(
                f"batch {self.batch}, size {self.size}: expected a batch from 1 and a size from "
                f"{ORDINARY_SIDE} in steps of 16"
            )
        if self.library == "tensorrt" and self.compute_capabilities:
            raise UsageError(
                "--compute-capability: tensorrt builds for the GPU it runs on; leave it out"
            )
        if self.library == "tensorrt-rtx" and self.timing_cache:
            raise UsageError("--timing-cache: tensorrt-rtx times nothing at build; leave it out")


def build_engine(
    model: Path,
    output: Path,
    settings: EngineSettings,
    library: Any | None = None,
    driver: Any | None = None,
) -> Sidecar:
    """Compile an ONNX artifact and write the engine and its sidecar.

    Where a GPU is at hand that it fits, the engine must answer the contract's golden input before
    it is written. library and driver: as for EngineBackend. Raises ModelError for an artifact
    that the library does not take, ProviderError where it cannot build, ParityError for an engine
    that answers wrongly; then nothing is written.
    """
    if output.suffix != ".engine":
        raise UsageError(f"{output.name}: expected a name that ends in .engine")
    graph, contract = read_artifact(model)
    require_writable(output)
    if settings.timing_cache is not None:
        require_writable(settings.timing_cache)
    module = import_library(settings.library) if library is None else library
    driver_version, compute_capabilities = _find_target(settings, driver)
    build = _Build(module, settings)
    data = build.compile(model.name, graph, contract)
    key = EngineKey(
        library=settings.library,
        library_version=module.__version__,
        driver=driver_version,
        compute_capabilities=compute_capabilities,
        precision=contract.precision,
        profiles=build.profiles,
        workspace_bytes=build.workspace_bytes,
        model_sha256=hashlib.sha256(graph).hexdigest(),
        engine_sha256=hashlib.sha256(data).hexdigest(),
    )
    sidecar = _prove(data, Sidecar(key, build.tensors, contract), module, driver, settings)
    write_atomically(output, data)
    write_atomically(sidecar_path(output), sidecar.dumps().encode())
    return sidecar


def _find_target(settings: EngineSettings, driver: Any | None) -> tuple[str, tuple[str, ...]]:
    """Driver and compute capabilities to compile for: the GPU's, or none and those chosen."""
    if settings.library == "tensorrt-rtx":
        return "", settings.compute_capabilities
    try:
        cuda = CudaDevice(find_driver() if driver is None else driver, settings.device)
    except ProviderError as error:
        raise ProviderError(
            f"tensorrt builds on the GPU that the engine is for: {error}; tensorrt-rtx builds "
            "without one"
        ) from error
    found = cuda.driver_version, (cuda.compute_capability,)
    cuda.release()
    return found


def _prove(
    data: bytes, sidecar: Sidecar, module: Any, driver: Any | None, settings: EngineSettings
) -> Sidecar:
    """The sidecar with the golden difference, where a GPU is here that the engine fits."""
    run_on = BackendSettings("tensorrt", 1, GpuSettings(settings.device))
    with telling_temporary_files(), tempfile.TemporaryDirectory() as folder:
        trial = Path(folder) / "trial.engine"
        trial.write_bytes(data)
        sidecar_path(trial).write_text(sidecar.dumps(), encoding="utf-8")
        try:
            backend = EngineBackend(trial, run_on, module, driver)
        except ProviderError:
            if settings.library == "tensorrt":
                raise
            return sidecar
        except ModelError as error:
            raise ParityError(f"the engine is not written: {error}") from error
        return replace(sidecar, golden_difference=backend.golden_difference)


class _Build:
    """One compilation, and what the library says about it."""

    def __init__(self, module: Any, settings: EngineSettings):
        self._module, self._settings = module, settings
        self._log = open_log(module)
        self._builder = module.Builder(self._log)
        self._config = self._builder.create_builder_config()
        # TensorFloat-32 rounds fp32 inputs to 10 bits, which the fp32 gate does not allow for.
        self._config.clear_flag(module.BuilderFlag.TF32)
        if settings.library == "tensorrt-rtx":
            self._choose_capabilities(settings.compute_capabilities)
        self.workspace_bytes: int | None = None
        if settings.workspace_mib is not None:
            self.workspace_bytes = settings.workspace_mib * 2**20
            pool = module.MemoryPoolType.WORKSPACE
            self._config.set_memory_pool_limit(pool, self.workspace_bytes)
        self.profiles: tuple[Profile, ...] = ()
        self.tensors: tuple[Tensor, ...] = ()

    def compile(self, name: str, graph: bytes, contract: Contract) -> bytes:
        """The engine of an ONNX file's bytes; name, contract: that file's."""
        network = self._parse(name, graph, contract)
        self.tensors = _describe(network)
        self.profiles = self._add_profiles(contract)
        self._read_timing_cache()
        plan = self._builder.build_serialized_network(network, self._config)
        if plan is None:
            reason = self._reason()
            if "OutOfMemory" in reason:
                raise ResourceError(
                    f"{name}: the workspace does not suffice for batch "
                    f"{self._settings.batch} at {self._settings.size}; a larger --workspace or "
                    f"smaller --batch or --size helps ({reason})"
                )
            raise ProviderError(f"{name}: {self._settings.library} cannot build: {reason}")
        self._write_timing_cache()
        return bytes(plan)

    def _parse(self, name: str, graph: bytes, contract: Contract) -> Any:
        flag = self._module.NetworkDefinitionCreationFlag.STRONGLY_TYPED
        network = self._builder.create_network(1 << int(flag))
        parser = self._module.OnnxParser(network, self._log)
        if not parser.parse(graph):
            remedy = ""
            if contract.precision == TARGETS["cpu"].precision:
                remedy = "; it is int8 for CPUs: export it with --target tensorrt"
            raise ModelError(
                f"{name}: {self._settings.library} does not take it: {self._reason()}{remedy}"
            )
        return network

    def _add_profiles(self, contract: Contract) -> tuple[Profile, ...]:
        added = []
        for wanted in make_profiles(contract, self._settings.batch, self._settings.size):
            profile = self._builder.create_optimization_profile()
            profile.set_shape(INPUT, wanted.smallest, wanted.typical, wanted.largest)
            self._config.add_optimization_profile(profile)
            shapes = (tuple(shape) for shape in profile.get_shape(INPUT))
            added.append(Profile(*shapes))
        return tuple(added)

    def _choose_capabilities(self, names: tuple[str, ...]) -> None:
        known = self._module.ComputeCapability.__members__
        choices = [name for name in known if name.startswith("SM")]
        for name in names:
            if name not in choices:
                raise UsageError(
                    f"--compute-capability {name}: expected one of {', '.join(choices)}"
                )
        if names:
            self._config.num_compute_capabilities = len(names)
        for index, name in enumerate(names):
            self._config.set_compute_capability(known[name], index)

    def _read_timing_cache(self) -> None:
        path = self._settings.timing_cache
        if path is None:
            return
        held = path.read_bytes() if path.is_file() else b""
        if not self._config.set_timing_cache(self._config.create_timing_cache(held), False):
            raise UsageError(f"--timing-cache {path.name}: of another library version or GPU")

    def _write_timing_cache(self) -> None:
        if self._settings.timing_cache is not None:
            cache = self._config.get_timing_cache().serialize()
            write_atomically(self._settings.timing_cache, bytes(cache))

    def _reason(self) -> str:
        """The first error that is not only about this machine's missing GPU."""
        errors = [text for text in self._log.errors if "CUDA driver version" not in text]
        return str((errors or self._log.errors or ["no reason given"])[0])[:300]


def _describe(network: Any) -> tuple[Tensor, ...]:
    """Inputs and outputs of the network as the library holds it."""
    values = [("INPUT", network.get_input(i)) for i in range(network.num_inputs)]
    values += [("OUTPUT", network.get_output(i)) for i in range(network.num_outputs)]
    return tuple(Tensor(v.name, mode, v.dtype.name, tuple(v.shape)) for mode, v in values)
