"""What of the runtime works on this machine, and one line of advice where something does not."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lgg_runtime.backends.missing import EXTRAS, installed_packages, require_provider
from lgg_runtime.backends.onnx_session import import_onnxruntime, make_options
from lgg_runtime.cores import available_cores, cgroup_quota
from lgg_runtime.errors import LggError, ProviderError, first_line
from lgg_runtime.extras import installed_versions
from lgg_runtime.golden import check_golden
from lgg_runtime.loading import LoadSettings
from lgg_runtime.opening import open_model
from lgg_runtime.providers import ON_CPU, ON_GPU

_LIBRARIES = (
    "openvino", "tensorrt", "tensorrt_rtx", "pydicom", "highdicom", "pynetdicom",
    "dicomweb-client", "nibabel",
)  # fmt: skip
_PROBES = Path(__file__).parent / "probes"
_PROBE_S = 1.0  # of each engine, both models together
_HELPS = 1.2


@dataclass(frozen=True)
class Finding:
    """One line: what was looked at, what was found, and what to do about it, if anything.

    works: False for what the runtime cannot do here.
    """

    subject: str
    found: str
    advice: str = ""
    works: bool = True


def examine() -> Iterator[Finding]:
    """Everything, the quick things first; it takes a few seconds."""
    yield from examine_packages()
    yield examine_cores()
    for provider in (*ON_CPU, *ON_GPU):
        yield examine_provider(provider)
    for name, (provider, load) in _ENGINES.items():
        yield _int8(name, provider, load)


def examine_packages() -> Iterator[Finding]:
    """Which package brings onnxruntime, exactly one if all is well, and what else is installed."""
    found = installed_packages()
    listed = ", ".join(f"{name} {number}" for name, number in found.items()) or "none"
    advice = ""
    if len(found) > 1:
        extra = "gpu" if "onnxruntime-gpu" in found else "cpu"
        advice = (
            "they overwrite each other's files; mend it with two commands: "
            f"pip uninstall -y {' '.join(found)}; pip install 'lgg-edge[{extra}]'"
        )
    elif not found:
        advice = "pip install 'lgg-edge[cpu]'"
    yield Finding("onnxruntime", listed, advice, len(found) == 1)
    others = installed_versions(_LIBRARIES)
    told = (f"{name} {others.get(name, 'not installed')}" for name in _LIBRARIES)
    yield Finding("optional", ", ".join(told))


def examine_cores() -> Finding:
    """How many cores are used, and what limits them."""
    quota, wish = cgroup_quota(), os.environ.get("OMP_NUM_THREADS")
    used = available_cores()
    parts = [f"{used} used of {os.cpu_count()}"]
    parts += [] if quota is None else [f"a quota of {quota:g}"]
    parts += [] if wish is None else [f"OMP_NUM_THREADS={wish}"]
    advice = ""
    if quota is not None and quota != int(quota):
        advice = "give the container whole cores: a part of one makes every run wait for it"
    elif wish is not None and wish.isdecimal() and int(wish) > used:
        advice = "OMP_NUM_THREADS is above what the process may use; the lower number counts"
    return Finding("cores", ", ".join(parts), advice)


def examine_provider(provider: str) -> Finding:
    """Whether it starts, shown by the shipped model's answer to its golden input."""
    subject = f"provider {provider}"
    try:
        if provider == "tensorrt":  # starting it compiles for minutes
            require_provider(provider, import_onnxruntime(EXTRAS[provider]))
            return Finding(subject, "its libraries are there; the first run compiles for minutes")
        begun = time.perf_counter()
        backend, _, _ = open_model("standard", LoadSettings(provider))
        difference = check_golden(backend.run, backend.contract.golden)
        seconds = time.perf_counter() - begun
    except ProviderError as error:
        return Finding(subject, "does not start", str(error), works=False)
    except LggError as error:
        return Finding(subject, "starts and fails", str(error), works=False)
    return Finding(
        subject,
        f"starts in {seconds:.1f} s on {backend.device}, golden input within {difference:.1g}",
    )


def _int8(engine: str, provider: str, load: Callable[[Path], Callable[[], object]]) -> Finding:
    """One second of the same convolutions in fp32 and in int8, in turn, where a whole model in
    int8 is taken.
    """
    subject = f"int8, {engine}"
    try:
        with _engine_errors():
            open_model("tiny-int8", LoadSettings(provider))
            calls = [load(_PROBES / f"{precision}.onnx") for precision in ("fp32", "int8")]
            fp32, int8 = _time_in_turn(calls)
    except LggError as error:
        return Finding(subject, "not measured", str(error), works=False)
    ratio = fp32 / int8
    found = f"{ratio:.2f} times as fast as fp32"
    if ratio >= _HELPS:
        return Finding(subject, found, "an int8 model is worth its while here")
    return Finding(
        subject,
        found,
        "int8 gains little or nothing here; use an fp32 model, or ask again when no other program "
        "runs",
    )


@contextmanager
def _engine_errors() -> Iterator[None]:
    """What fails in an engine becomes a ProviderError: a finding, and not the doctor's end."""
    try:
        yield
    except LggError:
        raise
    except Exception as error:
        # The engines' exceptions share no base.
        raise ProviderError(first_line(error)) from error


def _time_in_turn(calls: list[Callable[[], object]]) -> list[float]:
    """Median seconds of each call, alternating until the time is up."""
    seconds: list[list[float]] = [[] for _ in calls]
    for call in calls:
        call()
    end = time.perf_counter() + _PROBE_S
    while time.perf_counter() < end or not seconds[-1]:
        for held, call in zip(seconds, calls, strict=True):
            begun = time.perf_counter()
            call()
            held.append(time.perf_counter() - begun)
    return [float(np.median(held)) for held in seconds]


def _load_onnxruntime(path: Path) -> Callable[[], object]:
    runtime = import_onnxruntime()
    options = make_options(runtime, available_cores())
    session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    values = np.ones(given.shape, np.float32)
    return lambda: session.run(None, {given.name: values})


def _load_openvino(path: Path) -> Callable[[], object]:
    from lgg_runtime.backends.openvino_core import open_core

    options = {"INFERENCE_NUM_THREADS": available_cores(), "INFERENCE_PRECISION_HINT": "f32"}
    compiled = open_core().compile_model(str(path), "CPU", options)
    request = compiled.create_infer_request()
    values = np.ones(tuple(compiled.input(0).shape), np.float32)
    return lambda: request.infer([values])


_ENGINES = {
    "onnxruntime": ("cpu", _load_onnxruntime),
    "OpenVINO": ("openvino", _load_openvino),
}
