"""The exception tree of the toolchain; each error carries the exit code a command ends with.

LggError                     1
├── UsageError               2   an option or a combination of options is impossible
├── InputError               3   one input cannot be used; the others go on
│   └── NoInputError         4   nothing usable was found
│       └── FetchError       4   a server does not give the study
├── ModelError               5   the model is refused
├── ProviderError            6   the provider asked for cannot run here
│   └── MissingExtraError    6   an optional package is not installed
├── ResourceError            7   disk or memory is exhausted
│   ├── OutOfMemoryError     7   the memory does not suffice for this batch
│   └── StoreError           7   a server does not take a result
├── OutputConflictError      8   the output is in use or belongs to another run
└── ParityError              9   an artifact differs from its PyTorch model
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator

# What a write to a full disk, or beyond a quota, ends with.
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
_MOST_LETTERS = 4000  # of a message: the names of a hundred patients


def printable(text: str) -> str:
    """A name as it may stand in a message: what would break the line or the terminal, escaped."""
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


class LggError(Exception):
    """Base of all errors that a user can cause or mend; `exit_code` ends the command. Its text is
    one line, whatever names and values it tells, of which a file may hold a megabyte: the middle of
    a long one is left out.
    """

    exit_code = 1

    def __init__(self, message: str = ""):
        text, half = printable(message), _MOST_LETTERS // 2
        super().__init__(
            text if len(text) <= _MOST_LETTERS else f"{text[:half]} ... {text[-half:]}"
        )


def first_line(error: BaseException) -> str:
    """What an exception says, in one line of at most 200 characters."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


class UsageError(LggError):
    """An option, or a combination of options, that cannot be honoured."""

    exit_code = 2


class InputError(LggError):
    """An input that cannot be read or used; the message is one line without patient data."""

    exit_code = 3


class NoInputError(InputError):
    """No usable input at all."""

    exit_code = 4


class FetchError(NoInputError):
    """A server does not give a study; `is_passing` where it may at another time."""

    def __init__(self, message: str, is_passing: bool = False):
        super().__init__(message)
        self.is_passing = is_passing


class ModelError(LggError):
    """A model that is missing, damaged, or has no valid contract."""

    exit_code = 5


class ProviderError(LggError):
    """The requested provider cannot run on this machine."""

    exit_code = 6


class MissingExtraError(ProviderError):
    """An optional package is needed and absent; the message names the install command."""


class ResourceError(LggError):
    """Disk or memory is exhausted, or the output cannot be written."""

    exit_code = 7


class OutOfMemoryError(ResourceError):
    """The memory does not suffice for a run; a smaller batch may still fit."""


class StoreError(ResourceError):
    """A server does not take a result; `is_passing` where it may at another time."""

    def __init__(self, message: str, is_passing: bool = False):
        super().__init__(message)
        self.is_passing = is_passing


class OutputConflictError(LggError):
    """Two outputs would share one name, or another run holds the output folder."""

    exit_code = 8


class ParityError(LggError):
    """An artifact does not reproduce the PyTorch model within its limits."""

    exit_code = 9


@contextlib.contextmanager
def naming(name: str, kind: type[LggError] = InputError) -> Iterator[None]:
    """Put a name before the reason of an error of this kind, `NAME: reason`."""
    try:
        yield
    except kind as error:
        raise kind(f"{name}: {error}") from error
