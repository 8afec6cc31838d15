"""Optional packages: imported where they are needed, and named where they are missing."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from typing import Any

from lgg_runtime.errors import MissingExtraError


@contextlib.contextmanager
def needs_extra(extra: str) -> Iterator[None]:
    """Around imports that need the packages of `lgg-edge[extra]`.

    Raises MissingExtraError, with the command that installs the extra, where one is missing.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"{error.name} is not installed; pip install 'lgg-edge[{extra}]'"
        ) from error


def import_extra(module: str, extra: str) -> Any:
    """The module of an optional package. Raises MissingExtraError as `needs_extra` does."""
    with needs_extra(extra):
        return importlib.import_module(module)
