"""The statistics of the check of inputs against scipy, by their descriptions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage, spatial, stats

from lgg_runtime.plausibility import measure_slice
from lgg_runtime.volume import FLAIR

EIGHT = np.ones((3, 3), bool)


def draw_pear() -> np.ndarray:
    """A textured object (96, 96, 3) with a bite, a hole and a neighbour, near the left border."""
    rng = np.random.default_rng(3)
    rows, columns = np.mgrid[:96, :96]
    half_height = 36 - 0.45 * columns
    object_ = (np.abs(rows - 50 + 0.1 * columns) < half_height) & (columns >= 2) & (columns < 66)
    object_ &= np.hypot(rows - 24, columns - 34) > 9
    wave = np.cos((rows - 50) / 5.0)
    noise = ndimage.gaussian_filter(rng.normal(size=(3, 96, 96)), (0, 0.7, 0.7))
    shades = [0.5 + 0.12 * wave + 0.16 * noise[1] + share * noise[0] for share in (-0.2, 0, 0.3)]
    picture = np.where(object_[..., None], np.stack(shades, axis=-1).clip(0.2, None), 0.04)
    picture += 0.02 * rng.random(picture.shape)
    picture[48:52, 20:24] = 0.02
    picture[70:80, 82:88] = 0.9
    return picture.astype(np.float32)


def steps(plane: np.ndarray, core: np.ndarray) -> np.ndarray:
    down, right = core[1:] & core[:-1], core[:, 1:] & core[:, :-1]
    return np.abs(
        np.concatenate([(plane[1:] - plane[:-1])[down], (plane[:, 1:] - plane[:, :-1])[right]])
    )


def turned_over(plane: np.ndarray, centre: float) -> np.ndarray:
    """The columns mirrored at a centre, which may lie between two."""
    rows, columns = np.mgrid[: plane.shape[0], : plane.shape[1]]
    return np.asarray(ndimage.map_coordinates(plane, (rows, 2 * centre - columns), order=1))


def mirrored_correlation(plane: np.ndarray, outline: np.ndarray, core: np.ndarray) -> float:
    centre = np.nonzero(outline)[1].mean()
    both = core & (turned_over(core.astype(float), centre) >= 0.5)
    return float(np.corrcoef(plane[both], turned_over(plane, centre)[both])[0, 1])


def describe(picture: np.ndarray) -> dict[str, float]:
    """Each statistic as PlausibilitySettings describes it, of a picture at the common width.

    Two of the divisors have a little added, so that none is 0.
    """
    levels = np.minimum(picture / np.percentile(picture, 99.5, axis=(0, 1)), 1)
    plane = levels[..., FLAIR]
    blurred = ndimage.gaussian_filter(plane, 1, mode="mirror")
    objects, _ = ndimage.label(blurred > 0.25 * np.percentile(blurred, 95), EIGHT)
    largest = objects == np.bincount(objects.ravel())[1:].argmax() + 1
    outline = np.asarray(ndimage.binary_fill_holes(largest))
    core = ndimage.binary_erosion(outline, EIGHT, iterations=4, border_value=1)
    places = np.argwhere(outline)
    hull = spatial.Delaunay(places).find_simplex(np.argwhere(np.ones_like(outline))) >= 0
    hull = hull.reshape(outline.shape)
    band = np.ones_like(outline)
    band[2:-2, 2:-2] = False
    small, large = np.sqrt(np.linalg.eigvalsh(np.cov(places.T)))
    values, within, across = plane[core], steps(plane, core), steps(blurred, core)
    ways = [(plane, outline, core), (plane.T, outline.T, core.T)]
    p5, p10, p90 = np.percentile(values, (5, 10, 90))
    return {
        "frame": outline[band].mean(),
        "outside": plane[~hull].mean() / np.median(plane[outline]),
        "solidity": outline.sum() / hull.sum(),
        "oval": small / large,
        "ellipse": outline.sum() / (np.pi * 2 * small * 2 * large),
        "lean": stats.skew(places[:, 0]),
        "median": np.median(values),
        "dark": p5 / np.median(values),
        "spread": (p90 - p10) / np.median(values),
        "rim": np.percentile(plane[outline & ~core], 90) / np.median(values),
        "mode": np.histogram(values, 32, (0, 1))[0].max() / values.size,
        "rough": within.mean() / (values.std() + 0.01),
        "flat": (within < 0.004).mean(),
        "tail": within.mean() / np.sqrt((within**2).mean()),
        "mirror": max(mirrored_correlation(*way) for way in ways),
        "agree": np.corrcoef(levels[core].T).min(),
        "grain": within.mean() / (across.mean() + 0.001),
    }


@pytest.mark.parametrize("axes", [(0, 1, 2), (1, 0, 2)])
def test_each_statistic_is_what_its_description_says(axes: tuple[int, ...]) -> None:
    picture = np.ascontiguousarray(draw_pear().transpose(axes))
    measured = measure_slice(picture)
    assert measured is not None
    assert measured == pytest.approx(describe(picture), rel=0.03)
