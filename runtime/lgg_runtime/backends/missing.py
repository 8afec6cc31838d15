"""What keeps a GPU provider of onnxruntime from running here, and the command that mends it."""

from __future__ import annotations

import contextlib
import ctypes
import io
import re
from pathlib import Path
from typing import Any

from lgg_runtime.backends.cuda_driver import find_driver
from lgg_runtime.errors import ProviderError
from lgg_runtime.extras import import_extra, installed_versions

NAMES = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
# Packages that all install the module `onnxruntime`, each over the other's files.
_PACKAGES = (
    "onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml"
)  # fmt: skip
EXTRAS = {"cuda": "gpu", "tensorrt": "gpu,tensorrt"}


def installed_packages() -> dict[str, str]:
    """Each installed package that brings onnxruntime, with its version."""
    return installed_versions(_PACKAGES)


def require_provider(provider: str, runtime: Any) -> None:
    """Raises ProviderError, with the missing part and the remedy, where `provider` cannot run.

    provider: cuda or tensorrt; runtime: the module onnxruntime.
    """
    missing = (
        _missing_package(provider, runtime)
        or _missing_driver_or_tensorrt(provider)
        or _missing_library(provider, runtime)
    )
    if missing is not None:
        raise ProviderError(f"provider {provider}: {missing}")


def _missing_package(provider: str, runtime: Any) -> str | None:
    if NAMES[provider] in runtime.get_available_providers():
        return None
    packages = installed_packages()
    install = f"pip install 'lgg-edge[{EXTRAS[provider]}]'"
    if len(packages) > 1:
        return (
            f"{' and '.join(packages)} are both installed and overwrite each other; "
            f"pip uninstall -y {' '.join(packages)} && {install}"
        )
    found = ", ".join(f"{name} {number}" for name, number in packages.items()) or "none"
    remove = "".join(f"pip uninstall -y {name} && " for name in packages)
    return f"onnxruntime-gpu is missing (installed: {found}); {remove}{install}"


def _missing_driver_or_tensorrt(provider: str) -> str | None:
    try:
        find_driver()
        if provider == "tensorrt":
            import_extra("tensorrt", "tensorrt")  # it loads the libraries that onnxruntime links to
    except ProviderError as error:
        return str(error)
    return None


def _missing_library(provider: str, runtime: Any) -> str | None:
    """The first shared library that onnxruntime's provider cannot find; it says so nowhere."""
    with contextlib.redirect_stdout(io.StringIO()):
        runtime.preload_dlls()  # CUDA and cuDNN from pip's packages; it reports by printing
    folder = Path(runtime.__file__).parent / "capi"
    for name in ("shared", provider):
        path = folder / f"libonnxruntime_providers_{name}.so"
        if not path.is_file():
            continue  # another operating system's names; the session's start will tell
        try:
            ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
        except OSError as error:
            found = re.match(r"(\S+): cannot open shared object file", str(error))
            if found:
                install = f"pip install 'lgg-edge[{EXTRAS[provider]}]'"
                return f"{Path(found.group(1)).name} is missing; {install}"
    return None
