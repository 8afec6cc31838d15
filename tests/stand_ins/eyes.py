"""Colours as eyes see them that lack one kind of cone."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

# From linear RGB to what is seen: Machado et al. 2009, severity 1.
EYES = {
    "all cones": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    "no red": ((0.152, 1.053, -0.205), (0.115, 0.786, 0.099), (-0.004, -0.048, 1.052)),
    "no green": ((0.367, 0.861, -0.228), (0.280, 0.673, 0.047), (-0.012, 0.043, 0.969)),
}
_TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def differ(one: tuple[float, ...], other: tuple[float, ...], eyes: str) -> float:
    """How far apart two colours (RGB, 0..1) lie in CIE L*a*b*: at 20 they are told from each other
    at a glance.
    """
    return float(np.linalg.norm(_see(one, eyes) - _see(other, eyes)))


def _see(colour: tuple[float, ...], eyes: str) -> npt.NDArray[np.float64]:
    rgb = np.array(colour)
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = _TO_XYZ @ np.clip(np.array(EYES[eyes]) @ linear, 0, 1)
    x, y, z = xyz / _TO_XYZ.sum(axis=1)
    fx, fy, fz = (np.cbrt(v) if v > 0.008856 else 7.787 * v + 16 / 116 for v in (x, y, z))
    return np.array((116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)))
