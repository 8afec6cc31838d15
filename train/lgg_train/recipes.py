"""The declared recipes: each row of the results table is one of them by its name."""

from __future__ import annotations

from typing import Any

# Options of `lgg-train train` by their parameter's name; what the command line says goes first.
RECIPES: dict[str, dict[str, Any]] = {
    "standard": {"features": 32, "depth": 3, "stride": 2, "mirror": True, "augmentation": "flair"},
    "lite": {"features": 16, "depth": 3, "stride": 2, "augmentation": "flair"},
    "tiny": {"features": 16, "depth": 2, "stride": 4},
}
