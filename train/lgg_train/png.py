"""Figures of matplotlib as PNG, without a screen."""

from __future__ import annotations

import io

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

__all__ = ("encode_png", "plt")


def encode_png(figure: Figure) -> bytes:
    """The same bytes for the same figure, with no version in them; the figure is closed."""
    stream = io.BytesIO()
    figure.savefig(stream, dpi=110, format="png", metadata={"Software": None})
    plt.close(figure)
    return stream.getvalue()
