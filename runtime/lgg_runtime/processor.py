"""Whether this processor has the instructions that int8 models are made for."""

from __future__ import annotations

from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
# Products of 8-bit numbers summed in one step: x86 with its three names, then ARM.
_DOT_PRODUCTS = {"avx512_vnni", "avx_vnni", "amx_int8", "asimddp"}


def multiplies_int8(cpuinfo: Path | None = None) -> bool | None:
    """None where the system does not tell. cpuinfo: the file in which Linux tells it."""
    try:
        lines = (cpuinfo or _CPUINFO).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    named = [line.partition(":")[2] for line in lines if line.startswith(("flags", "Features"))]
    return bool(_DOT_PRODUCTS & set(named[0].split())) if named else None
