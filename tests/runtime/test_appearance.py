"""The statistics of a slice: of pictures whose values are known, against scipy, of any shape."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage, spatial, stats

from lgg_runtime.appearance import measure_slice
from lgg_runtime.volume import FLAIR


def test_a_mirrored_head_has_the_same_statistics(head: np.ndarray) -> None:
    ours, mirrored = measure_slice(head[2]), measure_slice(head[2][:, ::-1])
    assert ours is not None and mirrored is not None
    assert mirrored == pytest.approx(ours, abs=0.02)


@pytest.mark.parametrize("channel", [0, FLAIR])
def test_a_head_in_which_a_channel_is_dim_has_the_same_statistics(
    head: np.ndarray, channel: int
) -> None:
    dim = head[2].astype(np.float32)
    dim[..., channel] /= 20
    assert _measure(dim) == pytest.approx(_measure(head[2]), abs=1e-3)


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 300, 3), (2, 2, 3), (300, 1, 3)])
def test_any_shape_is_measured(shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    measured = measure_slice(pixels)
    assert measured is None or all(np.isfinite(value) for value in measured.values())


def test_speckle_has_more_grain_than_a_head(head: np.ndarray) -> None:
    noise = np.random.default_rng(0).integers(100, 256, head.shape[1:], np.uint8)
    speckle, smooth = measure_slice(noise), measure_slice(head[2])
    assert speckle is not None and smooth is not None
    assert speckle["grain"] > 4 > smooth["grain"]


def _fill(inside: np.ndarray, value: np.ndarray | float = 200.0) -> np.ndarray:
    """The same picture in all three sequences, 0 outside of the object."""
    return np.repeat(np.where(inside, value, 0.0)[..., None], 3, axis=2)


def _measure(pixels: np.ndarray) -> dict[str, float]:
    measured = measure_slice(pixels)
    assert measured is not None
    return measured


ROWS, COLUMNS = np.mgrid[:96, :96] - 47.5
ELLIPSE = (COLUMNS / 40) ** 2 + (ROWS / 20) ** 2 <= 1


def test_an_even_ellipse_has_the_shape_and_the_values_of_one() -> None:
    measured = _measure(_fill(ELLIPSE))
    # The blur before the outline moves it outwards by less than a pixel.
    assert 20 / 40 <= measured["oval"] <= 21 / 41 + 0.01
    assert measured["ellipse"] == pytest.approx(1, abs=0.02)
    assert measured["solidity"] == pytest.approx(1, abs=0.02)
    assert measured["lean"] == pytest.approx(0, abs=0.01)
    assert measured["mirror"] == -1  # nothing that varies
    even = {"frame": 0, "median": 1, "dark": 1, "spread": 0, "mode": 1, "rough": 0, "flat": 1}
    assert {name: measured[name] for name in even} == even


def test_the_rim_is_that_of_the_outline_without_its_core() -> None:
    core = (COLUMNS / 34) ** 2 + (ROWS / 14) ** 2 <= 1
    assert _measure(_fill(ELLIPSE, np.where(core, 200, 100)))["rim"] == pytest.approx(0.5)


def test_statistics_are_of_flair_or_where_it_holds_nothing_of_the_sequence_that_holds_most() -> (
    None
):
    even, ramp = _fill(ELLIPSE)[..., 0], _fill(ELLIPSE, 100 + ROWS)[..., 0]
    pixels = np.stack((even, ramp, np.where(COLUMNS < 0, even, 0)), axis=-1)
    for shown in (ramp, even):
        measured = _measure(pixels)
        same = _measure(np.repeat(shown[..., None], 3, axis=-1))
        assert measured | {"agree": 0} == same | {"agree": 0}
        pixels[..., FLAIR] = 0


def test_a_triangle_leans_by_the_skewness_of_a_triangular_distribution() -> None:
    triangle = (np.abs(COLUMNS) < (ROWS + 40) / 2) & (ROWS < 40)
    assert _measure(_fill(triangle))["lean"] == pytest.approx(-2 * 2**0.5 / 5, abs=0.02)
    assert _measure(_fill(triangle[::-1]))["lean"] == pytest.approx(2 * 2**0.5 / 5, abs=0.02)


def test_two_squares_side_by_side_are_one_object_beside_another() -> None:
    measured = _measure(_fill((np.abs(ROWS) < 20) & (np.abs(np.abs(COLUMNS) - 24) < 20)))
    assert measured["oval"] == pytest.approx(1, abs=0.02)
    assert measured["outside"] > 0.2


def test_the_left_half_of_a_picture_covers_half_of_its_frame() -> None:
    assert _measure(_fill(COLUMNS < 0))["frame"] == pytest.approx(0.5, abs=0.01)


def test_a_sequence_that_is_another_one_inverted_agrees_least() -> None:
    pixels = _fill(ELLIPSE, 100 + COLUMNS)
    assert _measure(pixels)["agree"] == pytest.approx(1)
    pixels[..., 2] = np.where(ELLIPSE, 100 - COLUMNS, 0)
    assert _measure(pixels)["agree"] == pytest.approx(-1)


def test_a_ramp_is_its_own_mirror_image_in_one_direction_alone() -> None:
    # The object, bright enough everywhere, rises to the right and is the same up and down.
    pixels = _fill(ELLIPSE, 100 + COLUMNS)
    assert _measure(pixels)["mirror"] == pytest.approx(1, abs=0.01)
    corner = _fill(ELLIPSE, 100 + COLUMNS / 2 + ROWS)
    assert _measure(corner)["mirror"] < 0.7


def test_the_steps_of_a_ramp_are_its_slope_across_and_0_down() -> None:
    measured = _measure(_fill(ELLIPSE, 100 + COLUMNS))
    assert measured["flat"] == pytest.approx(0.5, abs=0.03)
    # The mean of steps, half of them 0, over their root mean square.
    assert measured["tail"] == pytest.approx(0.5 / 0.5**0.5, abs=0.03)
    assert measured["grain"] == pytest.approx(1, abs=0.3)


def test_speckle_in_one_pixel_of_two_is_all_grain() -> None:
    checks = _fill(ELLIPSE, np.where((ROWS + COLUMNS) % 2, 200, 100))
    assert _measure(checks)["flat"] == 0
    assert _measure(checks)["tail"] == pytest.approx(1)
    assert _measure(checks)["grain"] > 20


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
    """Each statistic as `PlausibilitySettings` describes it, of a picture at the common width.

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
