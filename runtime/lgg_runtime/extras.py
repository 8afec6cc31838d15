"""Optional packages: imported where they are needed, kept silent, named where they are missing."""

from __future__ import annotations

import contextlib
import importlib
import logging
import re
import warnings
from collections.abc import Iterable, Iterator
from itertools import takewhile
from typing import Any

from lgg_runtime.errors import MissingExtraError, first_line

# The filters of the packages that are kept silent, as Python keeps them.
_IGNORING = set[tuple[Any, ...]]()


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
    except ImportError as error:
        reraise_signal(error)
        raise


def reraise_signal(error: BaseException) -> None:
    """Raise what a signal's handler raised while a native module began, which then fails with an
    ImportError of its own. Returns where there was no signal.
    """
    cause = error.__cause__ or error.__context__
    while cause is not None:
        if not isinstance(cause, Exception):
            raise cause
        cause = cause.__cause__ or cause.__context__


def import_extra(module: str, extra: str) -> Any:
    """The module of an optional package. Raises MissingExtraError as `needs_extra` does, and where
    what is installed cannot be loaded.
    """
    try:
        with needs_extra(extra):
            return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"{module} is installed and cannot be loaded: {first_line(error)}"
        ) from error


def keep_silent(package: str) -> None:
    """Ignore a package's warnings and log lines, whoever else listens to them."""
    module = rf"{package}(\..*)?$"
    ignoring = ("ignore", None, Warning, re.compile(module), 0)
    _IGNORING.add(ignoring)
    # After each change of the filters, Python shows again what a program is warned of but once.
    if ignoring not in takewhile(_IGNORING.__contains__, warnings.filters):
        warnings.filterwarnings("ignore", module=module)
    logging.getLogger(package).setLevel(logging.CRITICAL + 1)


def installed_versions(packages: Iterable[str]) -> dict[str, str]:
    """Versions by package; one that is not installed is left out."""
    from importlib.metadata import PackageNotFoundError, version  # as long to load as two slices

    found = {}
    for name in packages:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found
