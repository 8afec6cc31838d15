"""Colours of the accuracy page's pictures."""

from itertools import combinations

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from lgg_bench.accuracy_figures import COLOURS

# From linear RGB to what eyes without one kind of cone see: Machado et al. 2009, severity 1.
EYES = {
    "all cones": np.eye(3),
    "no red": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "no green": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def see(colour, eyes):
    """CIE L*a*b* of a colour, in which 20 apart are told from each other at a glance."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    x, y, z = TO_XYZ @ np.clip(eyes @ linear, 0, 1) / TO_XYZ.sum(axis=1)
    fx, fy, fz = (np.cbrt(v) if v > 0.008856 else 7.787 * v + 16 / 116 for v in (x, y, z))
    return np.array((116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)))


@pytest.mark.parametrize("eyes", EYES)
def test_no_two_colours_look_alike(eyes):
    for one, other in combinations(COLOURS, 2):
        seen = [see(colour, np.array(EYES[eyes])) for colour in (one, other)]
        assert np.linalg.norm(seen[0] - seen[1]) > 20, (one, other)
