"""A file that is known by its SHA-256."""

from __future__ import annotations

from lgg_runtime.errors import ModelError


def require_digest(found: str, expected: str | None) -> None:
    """Raises ModelError, the reason alone, for another SHA-256 than the expected one."""
    if expected is not None and found != expected.lower():
        raise ModelError(f"its SHA-256 is {found[:12]}..., expected {expected[:12].lower()}...")
