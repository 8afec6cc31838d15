"""Slice to mask: run an exported brain-tumour segmentation model. Research use only.

    from lgg_runtime import Segmenter, Volume

    segmenter = Segmenter.load()
    result = segmenter.segment(Volume(pixels))

The names are loaded on first use, so that importing the package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lgg_runtime.backends import GpuSettings
    from lgg_runtime.contract import Contract
    from lgg_runtime.errors import LggError
    from lgg_runtime.loading import LoadSettings
    from lgg_runtime.segmenter import Segmenter
    from lgg_runtime.volume import Segmentation, Volume

__all__ = [
    "Contract",
    "GpuSettings",
    "LggError",
    "LoadSettings",
    "Segmentation",
    "Segmenter",
    "Volume",
]

__version__ = "0.1.0"

_HOMES = {
    "Contract": "contract",
    "GpuSettings": "backends.settings",
    "LggError": "errors",
    "LoadSettings": "loading",
    "Segmentation": "volume",
    "Segmenter": "segmenter",
    "Volume": "volume",
}

if not TYPE_CHECKING:  # where a type checker would take every name to be there

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
