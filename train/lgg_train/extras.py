"""Optional packages: a missing one is named with the command that installs it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from lgg_runtime.errors import MissingExtraError


@contextlib.contextmanager
def needs_extra(extra: str) -> Iterator[None]:
    """Around imports that need the packages of `lgg-edge[extra]`; MissingExtraError without."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"{error.name} is not installed; pip install 'lgg-edge[{extra}]'"
        ) from error
