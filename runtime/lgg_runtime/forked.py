"""What a forked process inherits and cannot end: an engine waits for ever for its threads then."""

from __future__ import annotations

import ctypes
import os
import weakref

_HOLDING: weakref.WeakSet[object] = weakref.WeakSet()


def outlive_fork(holder: object) -> None:
    """Keep the object, and the engine that it holds, from ending in a process forked from this."""
    _HOLDING.add(holder)


def _keep_inherited() -> None:
    """In a forked process: one more reference to each, which nobody gives up, so that it does not
    end even with the interpreter.
    """
    for holder in _HOLDING:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(holder))


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_keep_inherited)
