"""This machine as a measurement must quote it: processor, memory, system, versions; no names."""

from __future__ import annotations

import os
import platform
from typing import Any

from lgg_runtime.cores import granted_cores
from lgg_runtime.extras import installed_versions
from lgg_runtime.plural import count
from lgg_runtime.processor import BF16_PRODUCTS, read_cpuinfo, read_flags

_BUSY = 0.5
# What decides which kernels an engine takes: x86 first, ARM after it.
FEATURES = (
    "avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_bf16",
    "amx_int8", "asimd", "asimddp", "asimdhp", "i8mm", "bf16", "sve",
)  # fmt: skip
_PACKAGES = (
    "lgg-edge", "numpy", "opencv-python-headless", "onnxruntime", "onnxruntime-gpu",
    "onnxruntime-openvino", "openvino", "torch",
)  # fmt: skip


def describe_machine() -> dict[str, Any]:
    """What stands in a record, described before the measurement begins.

    cores: those that this process may use, whatever OMP_NUM_THREADS says, for whole commands are
    given their own; load: running processes, as a mean over the last minute, in which a measurement
    before this one counts; None where it is not known.
    """
    model, features = describe_processor()
    return {
        "cpu": model or platform.processor() or platform.machine(),
        "features": features,
        "cores": granted_cores(),
        "memory_gib": _memory_gib(),
        "load": _load(),
        "os": _describe_os(),
        "python": platform.python_version(),
        "versions": installed_versions(_PACKAGES),
    }


def computes_bf16(machine: dict[str, Any]) -> bool:
    """Whether the described machine has instructions for bfloat16.

    OpenVINO then takes it unless it is told otherwise; without them PyTorch imitates it, which is
    far slower than float32.
    """
    return not BF16_PRODUCTS.isdisjoint(machine["features"])


def _describe_os() -> str:
    """System, version and architecture, without what a builder appends to the version."""
    kernel = platform.release().partition("-")[0]
    return f"{platform.system()} {kernel} {platform.machine()}"


def note_shared_cores(threads: int, machine: dict[str, Any]) -> list[str]:
    """A line where more threads were asked for than the machine's record has cores."""
    cores = machine["cores"]
    if threads <= cores:
        return []
    return [f"Only {count(cores, 'core')} for this process: more threads share them."]


def note_load(machine: dict[str, Any], slowed: str = "some calls") -> list[str]:
    """A line where the machine was busy, be it with a measurement before this one, and what
    programs that went on slowed down.
    """
    load = machine["load"] or 0
    if load <= _BUSY:
        return []
    return [
        f"The machine was busy in the minute before the start (load {load:g}): if programs went "
        f"on, {slowed} took longer than on a quiet one."
    ]


def describe_processor() -> tuple[str | None, list[str]]:
    """The processor's name and those of its instruction sets that are in FEATURES.

    None and an empty list where the system has no such file. On ARM the board's name stands in
    for the processor's.
    """
    held = read_cpuinfo()
    flags = read_flags(held) or set()
    model = held.get("model name") or held.get("Model")
    return model, [name for name in FEATURES if name in flags]


def summarise_machine(machine: dict[str, Any]) -> str:
    """One line for a person."""
    features = " ".join(machine["features"]) or "no known vector extension"
    memory = machine["memory_gib"]
    parts = [
        f"{machine['cpu']}, {count(machine['cores'], 'core')} ({features})",
        *([] if memory is None else [f"{memory:g} GiB"]),
        machine["os"],
        f"Python {machine['python']}",
        *(f"{name} {number}" for name, number in machine["versions"].items()),
    ]
    return ", ".join(parts)


def _load() -> float | None:
    try:
        return round(os.getloadavg()[0], 2)
    except (AttributeError, OSError):  # not on this operating system
        return None


def _memory_gib() -> float | None:
    try:
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # not on this operating system
        return None
    return round(size / 2**30, 1)
