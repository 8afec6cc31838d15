"""First look: which slices the model runs on, by hand and with real artifacts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lgg_runtime.contract import Contract
from lgg_runtime.crop import Box
from lgg_runtime.errors import ModelError
from lgg_runtime.first_look import LEAST_SIGN, require_same_slices, run_from_signs
from lgg_runtime.loading import LoadSettings
from lgg_runtime.segmenter import Segmenter
from lgg_runtime.volume import Volume

BOX = Box(0, 0, 2, 3)


def probability(*most: float) -> np.ndarray:
    """A slice of 2 x 3 for each number, its highest probability."""
    found = np.zeros((len(most), 2, 3), np.float32)
    found[:, 1, 2] = most
    return found


class Model:
    """Finds in each slice that it is given what it was made with, and keeps which they were."""

    def __init__(self, found: np.ndarray) -> None:
        self.found = found
        self.runs: list[str] = []

    def __call__(self, boxes: Sequence[Box | None], out: np.ndarray) -> None:
        self.runs.append("".join("0" if box is None else "1" for box in boxes))
        for index, box in enumerate(boxes):
            if box is not None:
                out[index] = self.found[index]


@pytest.mark.parametrize(
    ("look", "model", "runs"),
    [
        ((0.9,), (0.9,), ["1"]),
        ((0.0,), (0.9,), []),
        ((0, 0, 0.6, 0, 0), (0.9, 0.2, 0.2, 0.9, 0.9), ["00100"]),  # the model finds nothing there
        ((0.02, 0, 0, 0), (0.9, 0.2, 0.9, 0.9), ["1000", "0100"]),
        ((0, 0, 0, 0.6, 0, 0, 0), (0.9, 0, 0.5, 0.9, 0.5, 0.49, 0.9),
         ["0001000", "0010100", "0100010"]),
        ((0, 0.6, 0.6, 0.6, 0), (0.9, 0.9, 0.1, 0.9, 0.9), ["01110", "10001"]),
        ((0.019, 0.019, 0, 0, 0, 1), (0.9, 0.9, 0, 0, 0.9, 0.9), ["000001", "000010", "000100"]),
    ],
)  # fmt: skip
def test_from_a_sign_on_slices_run_until_the_model_finds_nothing(
    look: tuple[float, ...], model: tuple[float, ...], runs: list[str]
) -> None:
    run = Model(probability(*model))
    found, left_out = run_from_signs(probability(*look), (BOX,) * len(look), run, 0.5)
    assert run.runs == runs
    ran = np.array([any(each[n] == "1" for each in runs) for n in range(len(look))])
    np.testing.assert_array_equal(found[ran], run.found[ran])
    assert not found[~ran].any()
    assert left_out == np.count_nonzero(~ran)


def test_a_speck_beside_a_large_sign_is_none() -> None:
    look = np.zeros((6, 10, 10), np.float32)
    look[0, :8] = 0.4  # 80 pixels, three hundredths of which are 2.4
    look[3, 0, :3] = 0.4
    look[5, 0, :2] = 0.9
    run = Model(np.zeros_like(look))
    run_from_signs(look, (BOX,) * 6, run, 0.5)
    assert run.runs == ["100100"]


def test_a_slice_without_a_box_is_not_run_and_nothing_is_followed_through_it() -> None:
    run = Model(probability(0.9, 0.9, 0.9))
    found, left_out = run_from_signs(probability(0.9, 0.9, 0), (BOX, None, BOX), run, 0.5)
    assert run.runs == ["100"] and left_out == 1
    assert found.any(axis=(1, 2)).tolist() == [True, False, False]


@pytest.mark.parametrize("name", ["intensity", "pixel_mm"])
def test_networks_that_expect_other_slices_do_not_go_together(
    make_contract: Callable[..., Contract], name: str
) -> None:
    model = make_contract()
    other = {"intensity": replace(model.intensity, centre=90.0), "pixel_mm": 2.0}[name]
    with pytest.raises(ModelError) as refused:
        require_same_slices(replace(model, **{name: other}), model)
    told = f"first look tiny: its {name} is {other}, the model's is {getattr(model, name)}; "
    assert str(refused.value).startswith(told)


@pytest.fixture
def slices(draw_slice: Callable[..., np.ndarray]) -> list[np.ndarray]:
    """Six of a head; a lesion on the fourth alone."""
    lesion = (slice(10, 20), slice(12, 30))
    return [draw_slice(lesion if index == 3 else None) for index in range(6)]


def test_the_model_finds_beside_a_sign_what_it_always_finds_and_nothing_elsewhere(
    artifact: Path, slices: list[np.ndarray]
) -> None:
    volume = Volume(np.stack(slices))
    whole = Segmenter.load(artifact, LoadSettings(threads=1)).segment(volume)
    digest = hashlib.sha256(artifact.read_bytes()).hexdigest()
    settings = LoadSettings(threads=1, first_look=artifact, first_look_sha256=digest)
    segmenter = Segmenter.load(artifact, settings)
    found = segmenter.segment(volume)
    np.testing.assert_array_equal(found.mask, whole.mask)
    assert found.mask[3].any()
    np.testing.assert_array_equal(found.probability[2:5], whole.probability[2:5])
    assert not found.probability[[0, 1, 5]].any() and whole.probability[[0, 1, 5]].all()
    assert segmenter.run(segmenter.prepare(volume)).left_out == 3
    assert segmenter.name == f"tiny after tiny {digest[:8]}"


def test_long_names_of_both_are_cut_to_what_a_dicom_object_holds(
    write_artifact: Callable[..., Path], tmp_path: Path
) -> None:
    model, quick = (write_artifact(tmp_path / f"{x}.onnx", name=x * 55) for x in "mq")
    segmenter = Segmenter.load(model, LoadSettings(threads=1, first_look=quick))
    digest = hashlib.sha256(quick.read_bytes()).hexdigest()
    assert segmenter.name == f"{'m' * 27} after {'q' * 12} {digest[:8]}"
    assert len(f"lgg-edge {segmenter.name}") == 64


def test_slices_without_head_are_not_counted_as_left_out(
    artifact: Path, slices: list[np.ndarray]
) -> None:
    slices[0][:] = 0
    settings = LoadSettings(threads=1, crop=True, first_look=artifact)
    segmenter = Segmenter.load(artifact, settings)
    assert segmenter.run(segmenter.prepare(Volume(np.stack(slices)))).left_out == 2


def test_a_run_says_what_looked_first_and_is_not_gone_on_with_by_another(
    artifact: Path,
    slices: list[np.ndarray],
    write_picture: Callable[..., Path],
    call_infer: Callable[..., Any],
    tmp_path: Path,
) -> None:
    for index, pixels in enumerate(slices):
        write_picture(tmp_path / "in" / f"P_{index}.png", pixels)
    out = tmp_path / "out"
    common = (tmp_path / "in", "-o", out, "-m", artifact)
    ended = call_infer(*common, "--first-look", artifact)
    assert ended.code == 0
    assert "First look tiny in fp32 left 3 slices out." in ended.out
    record = json.loads((out / "run.json").read_text())["model"]
    assert record["first_look"] == {
        "name": "tiny",
        "precision": "fp32",
        "sha256": record["sha256"],
        "least_sign": LEAST_SIGN,
        "left_out": 3,
    }
    again = call_infer(*common, "--resume")
    assert again.code == 8 and "first_look" in again.err
