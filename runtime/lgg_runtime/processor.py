"""What Linux tells of this processor: whether int8 models gain on it, whether it has bf16."""

from __future__ import annotations

from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
# Products of many 8-bit numbers at once: x86 with its three names and what AVX2 has of them, which
# is slower and still ahead of fp32, then ARM.
_BYTE_PRODUCTS = frozenset({"avx512_vnni", "avx_vnni", "amx_int8", "avx2", "asimddp"})
# Products of bfloat16 numbers: x86 with its two names, then ARM.
BF16_PRODUCTS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})


def multiplies_int8() -> bool | None:
    """None where the system does not tell."""
    return _has_any_of(_BYTE_PRODUCTS)


def multiplies_bf16() -> bool | None:
    """None where the system does not tell."""
    return _has_any_of(BF16_PRODUCTS)


def _has_any_of(instructions: frozenset[str]) -> bool | None:
    flags = read_flags(read_cpuinfo())
    return None if flags is None else bool(instructions & flags)


def read_cpuinfo() -> dict[str, str]:
    """The entries by name: of the first processor, and of an ARM board, which come last.

    Empty where the system has no such file.
    """
    try:
        lines = CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    entries = (line.partition(":") for line in reversed(lines))
    return {name.strip(): value.strip() for name, _, value in entries}


def read_flags(cpuinfo: dict[str, str]) -> set[str] | None:
    """The instruction sets that the entries name, on x86 and on ARM; None where they name none."""
    flags = cpuinfo.get("flags", cpuinfo.get("Features"))
    return None if flags is None else set(flags.split())
