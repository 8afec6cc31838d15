"""The bytes of an ONNX file that is what it is said to be."""

from __future__ import annotations

import hashlib
from pathlib import Path

from lgg_runtime.backends.graph_check import check_graph
from lgg_runtime.digests import require_digest
from lgg_runtime.errors import InputError, ModelError, naming
from lgg_runtime.readers.regular import read_bounded

MAX_BYTES = 512 * 2**20


def is_model_file(path: Path) -> bool:
    """Whether a file is there. Raises ModelError where the operating system does not tell."""
    try:
        return path.is_file()
    except OSError as error:
        raise ModelError(f"{path}: cannot be opened: {error.strerror}") from error


def require_model_file(path: Path) -> None:
    """Raises ModelError where no file is there, and as `is_model_file` does."""
    if not is_model_file(path):
        raise ModelError(f"{path}: no such model")


def read_model(path: Path, sha256: str | None = None) -> bytes:
    """The file's bytes, with the digest expected and a graph that was checked.

    Raises ModelError, `NAME: reason`, for a file that is too large, another, or refused.
    """
    try:
        data = read_bounded(path, MAX_BYTES)
    except InputError as error:
        raise ModelError(f"{path.name}: {error}") from error
    require_digest(path.name, hashlib.sha256(data).hexdigest(), sha256)
    with naming(path.name, ModelError):
        check_graph(data)
    return data
