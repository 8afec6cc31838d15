"""Trees of files of which the names alone matter."""

from __future__ import annotations

from pathlib import Path


def tree(root: Path, *names: str) -> Path:
    """Empty files; a listing opens none of them."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root
