"""A file that is known by its SHA-256."""

from __future__ import annotations

import hashlib
from pathlib import Path

from lgg_runtime.errors import ModelError


def digest_file(path: Path) -> str:
    """SHA-256 in hexadecimal digits. Raises OSError for what cannot be read."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def find_digest(path: Path) -> str | None:
    """SHA-256 of a regular file, None for one that is missing or cannot be read."""
    try:
        return digest_file(path) if path.is_file() else None
    except OSError:
        return None


def require_digest(name: str, found: str, expected: str | None) -> None:
    """Raises ModelError, `NAME: reason`, for another SHA-256 than the expected one."""
    if expected is not None and found != expected.lower():
        raise ModelError(
            f"{name}: its SHA-256 is {found[:12]}..., expected {expected[:12].lower()}..."
        )
