"""OpenVINO itself: the package, its core, and what its exceptions say."""

from __future__ import annotations

import os
import sys
from functools import cache
from importlib import import_module
from threading import RLock
from typing import Any

from lgg_runtime.backends.onnx_session import is_exhausted
from lgg_runtime.errors import MissingExtraError, OutOfMemoryError, UsageError
from lgg_runtime.exhausted import SMALLER_MODEL
from lgg_runtime.extras import import_extra
from lgg_runtime.forked import outlive_fork

TOO_LITTLE = f"the memory does not suffice for OpenVINO; {SMALLER_MODEL}"
_CONVERTERS = "openvino.tools.ovc"
# Two models may be loaded at once; the package is imported, and its core made, by one of them.
_OPENING = RLock()


def import_openvino() -> Any:
    """The module, without its conversion tools. Raises MissingExtraError where it is missing.

    Importing those tools writes an identifier into the user's home and reports the use to the
    vendor over the network. The package goes without them where they are not there, and its one
    name of theirs is loaded for a program that asks for it.
    """
    with _OPENING:
        hidden = _CONVERTERS not in sys.modules
        if hidden:
            sys.modules[_CONVERTERS] = None  # type: ignore[assignment]
        try:
            library = import_extra("openvino", "openvino")
        finally:
            if hidden:
                del sys.modules[_CONVERTERS]
        if hidden:
            library.__getattr__ = _load_converter
        return library


def _load_converter(name: str) -> Any:
    """Of `openvino`, as a module's `__getattr__`: called for names that it has not."""
    if name != "convert_model":
        raise AttributeError(f"module 'openvino' has no attribute {name!r}")
    return import_module(_CONVERTERS).convert_model


def open_core() -> Any:
    """OpenVINO's core, one for the life of the process, in which its CPU plugin then stays loaded.
    Raises MissingExtraError where the package is missing or broken, OutOfMemoryError where the
    memory does not suffice for it, UsageError in a process that was forked after it was made: of
    the threads that OpenVINO keeps for the next network, none is left there, and that network
    waits for them for ever.

    The plugin gives the thread that loads it a stack for signals. Unloaded by another thread, it
    frees that stack and leaves it in use: the next signal ends the process (2026.4.1).
    """
    with _OPENING:
        core, process = _make_core()
    if process != os.getpid():
        raise UsageError(
            "OpenVINO began before this process was forked; fork first, or start the process by "
            "spawn or forkserver"
        )
    return core


@cache
def _make_core() -> tuple[Any, int]:
    """The core, and the process that made it."""
    library = import_openvino()
    try:
        core = library.Core()
        core.get_property("CPU", "FULL_DEVICE_NAME")  # which loads the plugin
    except Exception as error:
        # What is left of a package that was removed or overwritten fails in any way.
        if is_exhausted(error):
            raise OutOfMemoryError(TOO_LITTLE) from error
        raise MissingExtraError(
            f"openvino is installed and does not start: {last_line(error)}; mend it with two "
            "commands: pip uninstall -y openvino; pip install 'lgg-edge[openvino]'"
        ) from error
    outlive_fork(core)
    return core, os.getpid()


def last_line(error: Exception) -> str:
    """What OpenVINO says after the places in its own source, at most 200 characters."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[-1][:200]
