"""The area of each slice as a picture in SVG: bars of what was marked, lines of the reference."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from lgg_runtime.errors import printable
from lgg_runtime.plural import count
from lgg_runtime.run.summary import SummaryRow

# Of the drawing, in its own units; the page stretches it.
_WIDTH, _HEIGHT = 640, 100


def draw_areas(slices: Sequence[SummaryRow]) -> tuple[str, int]:
    """An SVG element, slices from left to right, and the pixels that its height stands for.

    slices: of one patient, in order, at least one. Each bar tells its slice's name and area where
    the mouse rests; a slice with a reference mask has a line at that one's area.
    """
    truth = [row.reference_px for row in slices]
    top = max(1, *(row.area_px for row in slices), *(area or 0 for area in truth))
    step = _WIDTH / len(slices)
    parts = []
    for number, (row, area) in enumerate(zip(slices, truth, strict=True)):
        left, height = number * step, _HEIGHT * row.area_px / top
        known = "" if area is None else f", reference {area}"
        # The slice's whole height takes the mouse, where the page's style fills it.
        parts.append(
            f"<g><title>{escape(printable(row.name))}: {count(row.area_px, 'pixel')}{known}</title>"
            f'<path class="slice" d="M{left:.1f} 0h{step:.1f}V{_HEIGHT}h{-step:.1f}z"/>'
            f'<rect x="{left + 0.1 * step:.1f}" y="{_HEIGHT - height:.1f}" '
            f'width="{0.8 * step:.1f}" height="{height:.1f}"/></g>'
        )
        if area is not None:
            y = _HEIGHT * (1 - area / top)
            parts.append(f'<path class="reference" d="M{left:.1f} {y:.1f}h{step:.1f}"/>')
    axes = f'<path class="axes" d="M0 0V{_HEIGHT}H{_WIDTH}"/>'
    frame = f'viewBox="-1 -1 {_WIDTH + 2} {_HEIGHT + 2}" preserveAspectRatio="none"'
    return f"<svg {frame}>{axes}{''.join(parts)}</svg>", top
