"""Optional packages: imported where they are needed, and named where they are missing."""

from __future__ import annotations

import importlib
from typing import Any

from lgg_runtime.errors import MissingExtraError


def import_extra(module: str, extra: str) -> Any:
    """The module of an optional package.

    Raises MissingExtraError with the command that installs the extra.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"{error.name} is not installed; pip install 'lgg-edge[{extra}]'"
        ) from error
