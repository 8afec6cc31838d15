"""Figures of matplotlib as PNG, without a screen."""

from __future__ import annotations

import io

from matplotlib.figure import Figure


def encode_png(figure: Figure) -> bytes:
    """The same bytes for the same figure, with no version in them."""
    stream = io.BytesIO()
    figure.savefig(stream, dpi=110, format="png", metadata={"Software": None})
    return stream.getvalue()
