"""Volume to segmentation on a tiny real artifact, against its steps composed here."""

from __future__ import annotations

import copy
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import onnxruntime
import pytest
from scipy import ndimage

from lgg_runtime.backends import BackendSettings, load_backend
from lgg_runtime.cleanup import CleanupSettings
from lgg_runtime.contract import Contract
from lgg_runtime.crop import CropSettings
from lgg_runtime.errors import InputError, ModelError, OutOfMemoryError, UsageError
from lgg_runtime.intensity import normalise
from lgg_runtime.loading import LoadSettings, find_model
from lgg_runtime.run.journal import Journal
from lgg_runtime.run.provenance import describe
from lgg_runtime.segmenter import Answer, Segmenter
from lgg_runtime.volume import FLAIR, Volume
from stand_ins.runs import LESION


def load(path: Path, **settings: Any) -> Segmenter:
    return Segmenter.load(path, LoadSettings(threads=1, **settings))


def texture(shape: tuple[int, int, int], seed: int = 3) -> np.ndarray:
    """(S, H, W, 3) uint8 of smooth random blobs that cross the threshold here and there."""
    noise = np.random.default_rng(seed).normal(size=(*shape, 3))
    smooth = ndimage.gaussian_filter(noise, (0.6, 2, 2, 0))
    return np.clip(100 + 160 * smooth, 1, 255).astype(np.uint8)


def run_graph(path: Path, slices: np.ndarray) -> np.ndarray:
    """The artifact on onnxruntime alone, all slices at once, padded to 16."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    height, width = slices.shape[1:3]
    padded = np.zeros((len(slices), -(-height // 16) * 16, -(-width // 16) * 16, 3), np.uint8)
    padded[:, :height, :width] = slices
    return session.run(["probability"], {"slices": padded})[0][:, :height, :width]


@pytest.fixture
def cleaning(tmp_path: Path, write_artifact: Callable[..., Path]) -> Path:
    """The tiny artifact with a clean-up to the largest component and threshold 0.6."""
    settings = CleanupSettings(smallest_fraction=1.0)
    return write_artifact(tmp_path / "cleaning.onnx", threshold=0.6, cleanup=settings)


def test_a_bright_lesion_is_found_pixel_for_pixel(
    artifact: Path, draw_slice: Callable[..., np.ndarray]
) -> None:
    # FLAIR's bright level is 200, so one deviation is 10: the head becomes 80, the lesion 255.
    pixels = np.stack([draw_slice(), draw_slice(LESION)])
    found = load(artifact).segment(Volume(pixels, spacing_mm=(5.0, 1.0, 1.0)))
    expected = np.zeros((2, 40, 48), bool)
    expected[(1, *LESION)] = True
    np.testing.assert_array_equal(found.mask, expected)
    np.testing.assert_allclose(found.probability[expected], 1 / (1 + np.exp(-127 / 8)))
    np.testing.assert_allclose(found.probability[0, 20, 20], 1 / (1 + np.exp(6)), rtol=1e-5)
    assert (found.threshold, found.spacing_mm) == (0.5, (5.0, 1.0, 1.0))
    assert found.volume_ml == pytest.approx(48 * 5 / 1000)


@pytest.mark.parametrize(
    "shape", [(3, 255, 257), (2, 256, 256), (1, 1, 1), (2, 16, 17), (11, 31, 20)]
)
def test_a_volume_of_any_size_is_what_its_steps_give(
    cleaning: Path, shape: tuple[int, int, int]
) -> None:
    pixels = texture(shape)
    segmenter = load(cleaning, crop=False)
    found = segmenter.segment(Volume(pixels))
    probability = run_graph(cleaning, normalise(pixels, segmenter.contract.intensity))
    np.testing.assert_allclose(found.probability, probability, atol=1e-6)
    assert found.probability.dtype == np.float32
    structure = np.zeros((3, 3, 3), bool)
    structure[1], structure[:, 1, 1] = True, True
    labels, _ = ndimage.label(found.probability >= 0.6, structure)
    sizes = np.bincount(labels.ravel())[1:]
    largest = np.isin(labels, 1 + np.flatnonzero(sizes == sizes.max(initial=0)))
    np.testing.assert_array_equal(found.mask, largest & (labels > 0))


def test_clean_up_takes_something_away_and_leaves_something(cleaning: Path) -> None:
    found = load(cleaning).segment(Volume(texture((3, 64, 64))))
    assert 0 < found.mask.sum() < (found.probability >= 0.6).sum()


@pytest.mark.parametrize("batch", [1, 2, 4, 5, 100])
def test_the_size_of_a_batch_does_not_matter(artifact: Path, batch: int) -> None:
    volume = Volume(texture((5, 20, 33)))
    expected = load(artifact, batch=5).segment(volume)
    found = load(artifact, batch=batch).segment(volume)
    np.testing.assert_array_equal(found.probability, expected.probability)
    np.testing.assert_array_equal(found.mask, expected.mask)


@pytest.mark.parametrize("batch", [1, 3])
def test_the_head_of_the_volume_is_all_that_runs(artifact: Path, batch: int) -> None:
    pixels = np.zeros((5, 160, 180, 3), np.uint8)
    pixels[0, 30:60, 40:70] = texture((1, 30, 30))[0]
    pixels[2, 10:80, 10:90] = texture((1, 70, 80))[0]
    pixels[3, 33:63, 2:32] = texture((1, 30, 30))[0]
    pixels[4, 50, 50] = 255  # a spot is no head
    segmenter = load(artifact, batch=batch, crop=True)
    found = segmenter.segment(Volume(pixels)).probability
    whole = run_graph(artifact, normalise(pixels, segmenter.contract.intensity))
    inside = np.zeros(found.shape, bool)
    inside[[0, 2, 3], :112, :128] = True
    np.testing.assert_allclose(found[inside], whole[inside], atol=1e-6)
    assert not found[~inside].any()
    assert (whole[~inside] > 0).any()


@pytest.mark.parametrize(
    ("provider", "size"), [("cpu", (112, 128)), ("openvino", (128, 128)), ("cuda", (200, 256))]
)
def test_an_engine_that_plans_for_each_shape_meets_few_of_them(
    make_contract: Callable[..., Contract], provider: str, size: tuple[int, int]
) -> None:
    backend: Any = SimpleNamespace(provider=provider, contract=make_contract())
    pixels = np.zeros((2, 200, 300, 3), np.uint8)
    pixels[0, 20:84, 10:90] = 100
    prepared = Segmenter(backend, LoadSettings(crop=True)).prepare(Volume(pixels))
    assert [None if box is None else box.size for box in prepared.boxes] == [size, None]


def test_the_threshold_can_be_replaced_and_belongs_to_the_tumour(artifact: Path) -> None:
    volume = Volume(texture((2, 32, 32)))
    own = load(artifact).segment(volume)
    level = float(np.median(own.probability))
    found = load(artifact, threshold=level).segment(volume)
    assert (own.threshold, found.threshold) == (0.5, level)
    np.testing.assert_array_equal(found.mask, own.probability >= level)
    assert (own.probability == level).any() and found.mask.sum() > own.mask.sum()


@pytest.mark.parametrize("kind", [float, np.float64, np.longdouble, Fraction])
def test_a_threshold_of_any_type_is_compared_in_float32(artifact: Path, kind: type) -> None:
    segmenter = load(artifact, threshold=kind(0.7))
    prepared = segmenter.prepare(Volume(texture((1, 20, 30))))
    just_there = np.full((1, 20, 30), 0.7, np.float32)  # 0.699999988
    found = segmenter.finish(prepared, Answer(just_there))
    assert found.mask.all()
    assert type(found.threshold) is float


def test_a_replaced_threshold_decides_on_another_grid_too(artifact: Path) -> None:
    volume = Volume(texture((2, 32, 32)), spacing_mm=(5.0, 2.0, 2.0))
    own = load(artifact).segment(volume)
    for level in (0.2, 0.8):
        found = load(artifact, threshold=level).segment(volume)
        np.testing.assert_array_equal(found.mask, own.probability >= level)
        assert not np.array_equal(found.mask, own.mask)


def test_flair_only_is_a_volume_whose_other_sequences_are_flair(artifact: Path) -> None:
    pixels = texture((2, 32, 32))
    pixels[:, :8, :, FLAIR] = 0  # in the head by the other sequences alone
    other = np.repeat(pixels[..., FLAIR, None], 3, axis=-1)
    found = load(artifact, flair_only=True).segment(Volume(pixels))
    expected = load(artifact).segment(Volume(other))
    np.testing.assert_array_equal(found.probability, expected.probability)
    assert not np.array_equal(found.probability, load(artifact).segment(Volume(pixels)).probability)


def test_the_models_own_pixel_size_decides_what_it_is_shown(
    tmp_path: Path, write_artifact: Callable[..., Path]
) -> None:
    coarse = write_artifact(tmp_path / "coarse.onnx", pixel_mm=2.0)
    small = texture((2, 16, 16))
    pixels = np.kron(small, np.ones((1, 2, 2, 1), np.uint8))
    found = load(coarse).segment(Volume(pixels, spacing_mm=(5.0, 1.0, 1.0)))
    at_scale = load(coarse).segment(Volume(small)).probability
    expected = [cv2.resize(plane, (32, 32), interpolation=cv2.INTER_LINEAR) for plane in at_scale]
    np.testing.assert_allclose(found.probability, expected, atol=1e-6)


def test_one_slice_is_a_volume_of_one(artifact: Path) -> None:
    pixels = texture((1, 20, 30))
    segmenter = load(artifact)
    alone, expected = segmenter.segment(pixels[0]), segmenter.segment(Volume(pixels))
    assert alone.mask.shape == (1, 20, 30)
    np.testing.assert_array_equal(alone.probability, expected.probability)
    np.testing.assert_array_equal(alone.mask, expected.mask)


def test_a_provider_that_prepares_for_each_shape_takes_coarser_steps(artifact: Path) -> None:
    pytest.importorskip("openvino")
    ours, theirs = (load(artifact, provider=name) for name in ("cpu", "openvino"))
    assert (ours.crop, theirs.crop) == (CropSettings(), CropSettings(step=32))
    journal = Journal({})
    describe(journal, theirs, "openvino")
    assert journal.model["crop"] == asdict(theirs.crop)


def test_a_process_that_was_forked_after_the_load_is_told(artifact: Path) -> None:
    code = """if True:
        import os, signal, sys, numpy
        from lgg_runtime import LggError, LoadSettings, Segmenter
        segmenter = Segmenter.load(sys.argv[1], LoadSettings(threads=2))
        segmenter.segment(numpy.ones((16, 16, 3)))
        if os.fork():
            print(os.wait()[1])
        else:
            signal.alarm(50)
            try:
                segmenter.segment(numpy.ones((16, 16, 3)))
            except LggError as error:
                print(type(error).__name__, error, flush=True)
            segmenter = Segmenter.load(sys.argv[1], LoadSettings(threads=2))
            print(segmenter.segment(numpy.ones((16, 16, 3))).tumour_present, flush=True)
    """
    command = [sys.executable, "-c", code, str(artifact)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    says = "UsageError the model was loaded in another process; load it in this one\nFalse\n0\n"
    assert done.stdout == says


@pytest.mark.parametrize("take", [copy.copy, pickle.dumps])
def test_a_loaded_model_is_not_taken_elsewhere(artifact: Path, take: Any) -> None:
    with pytest.raises(UsageError, match="cannot be copied or pickled; load it in each process"):
        take(Segmenter.load(artifact))


@pytest.mark.parametrize("step", ["prepare", "run", "finish"])
def test_memory_that_ends_in_any_step_is_an_error_of_ours(
    artifact: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    segmenter = load(artifact)
    monkeypatch.setattr(segmenter, step, lambda *_: np.empty(2**60, np.uint8))
    with pytest.raises(OutOfMemoryError, match=r"^memory exhausted; give fewer or smaller slices$"):
        segmenter.segment(Volume(texture((1, 20, 30))))


def test_the_same_volume_gives_the_same_result_again(artifact: Path) -> None:
    volume = Volume(texture((4, 40, 40)))
    segmenter = load(artifact)
    first = segmenter.segment(volume)
    segmenter.segment(Volume(texture((2, 64, 16), seed=9)))
    for again in (segmenter.segment(volume), load(artifact).segment(volume)):
        np.testing.assert_array_equal(again.probability, first.probability)
        np.testing.assert_array_equal(again.mask, first.mask)


def test_raw_scanner_values_are_found_as_their_8_bit_picture(
    artifact: Path, draw_slice: Callable[..., np.ndarray]
) -> None:
    pixels = draw_slice(LESION)[None]
    segmenter = load(artifact)
    expected = segmenter.segment(Volume(pixels)).mask
    assert expected.any()
    for raw in (pixels.astype(np.uint16) * 17, pixels * np.float32(0.031)):
        np.testing.assert_array_equal(segmenter.segment(Volume(raw)).mask, expected)


@pytest.mark.parametrize("kind", ["<f2", ">f2"])
def test_half_precision_is_found_as_its_8_bit_picture(artifact: Path, kind: str) -> None:
    pixels = texture((2, 40, 48))
    segmenter = load(artifact)
    expected = segmenter.segment(Volume(pixels)).probability
    found = segmenter.segment(Volume(pixels.astype(kind))).probability
    np.testing.assert_array_equal(found, expected)


def test_the_pixels_of_the_caller_are_not_changed(artifact: Path) -> None:
    pixels = texture((2, 20, 20))
    before = pixels.copy()
    load(artifact, flair_only=True).segment(Volume(pixels))
    np.testing.assert_array_equal(pixels, before)


@pytest.mark.parametrize("shape", [(4, 4), (2, 4, 4, 3), (4, 4, 1), (4, 4, 4), (0, 4, 3), (3,)])
def test_an_array_that_is_no_slice_is_refused(artifact: Path, shape: tuple[int, ...]) -> None:
    is_slice = len(shape) == 3
    expected = "(slices, rows, columns, 3)" if is_slice else "(rows, columns, 3) or a Volume"
    with pytest.raises(InputError, match=re.escape(f": expected {expected}, found")):
        load(artifact).segment(np.zeros(shape, np.uint8))


@pytest.mark.parametrize("study", [None, "slice.png", [[[0, 0, 0]]]])
def test_what_is_no_array_is_refused(artifact: Path, study: Any) -> None:
    with pytest.raises(InputError, match="expected an array"):
        load(artifact).segment(study)


def test_a_loaded_model_says_what_it_is(artifact: Path) -> None:
    segmenter = load(artifact)
    assert segmenter.contract.name == "tiny"
    assert (segmenter.provider, segmenter.device) == ("cpu", "CPU")
    assert segmenter.versions == {"onnxruntime": onnxruntime.__version__}
    assert len(segmenter.digest) == 64


def test_the_digest_is_of_the_file(tmp_path: Path, artifact: Path, cleaning: Path) -> None:
    copy = tmp_path / "copy.onnx"
    copy.write_bytes(artifact.read_bytes())
    assert load(copy).digest == load(artifact).digest != load(cleaning).digest


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"provider": "tpu"}, "provider 'tpu': expected cpu, openvino, cuda, tensorrt, auto"),
        ({"threads": 0}, "threads 0: expected a whole number from 1 to 1024"),
        ({"threads": 100_000}, "threads 100000: expected a whole number from 1 to 1024"),
        ({"threads": 2.5}, "threads 2.5: expected a whole number"),
        ({"threads": True}, "threads True: expected a whole number"),
        ({"batch": True}, "batch True: expected a whole number"),
        ({"batch": "4"}, "batch '4': expected a whole number"),
        ({"threshold": "0.5"}, "threshold '0.5': expected a number"),
        ({"crop": "no"}, "crop 'no': expected True or False"),
        ({"first_look": 5}, "first_look 5: expected a name or a path"),
        ({"gpu": None}, "gpu None: expected GpuSettings"),
        ({"sha256": 5}, "sha256 5: expected text"),
        ({"batch": 0}, "batch 0: expected a whole number from 1 to 1024"),
        ({"threshold": 0.0}, "threshold 0.0: expected from 0.000001 to below 1"),
        ({"threshold": 1e-300}, "threshold 1e-300: expected from 0.000001 to below 1"),
        ({"threshold": 1.0}, "threshold 1.0: expected from 0.000001 to below 1"),
        ({"threshold": float("nan")}, "threshold nan: expected from 0.000001 to below 1"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        LoadSettings(**settings)


def test_what_names_no_model_or_settings_is_a_usage_error(artifact: Path) -> None:
    model: Any
    for model in (None, b"tiny", 3):
        with pytest.raises(UsageError, match="expected a name or a path"):
            Segmenter.load(model)
    settings: Any = {"threads": 1}
    with pytest.raises(UsageError, match="expected LoadSettings, found dict"):
        Segmenter.load(artifact, settings)


def test_a_model_is_found_by_its_path(artifact: Path) -> None:
    assert find_model(artifact) == find_model(str(artifact)) == artifact


@pytest.mark.parametrize("name", ["missing.onnx", "Standard"])
def test_a_model_that_is_not_there_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelError, match="no such model; expected a file or standard"):
        find_model(tmp_path / name)


def test_a_folder_is_no_model_and_says_how_one_is_made(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="a folder; of a training run's, lgg-export makes"):
        find_model(tmp_path)


def test_a_model_of_no_name_is_called_so() -> None:
    with pytest.raises(ModelError, match=r"^model of no name: no such model; "):
        find_model("")


@pytest.mark.parametrize(
    ("provider", "asked", "batches"),
    [
        ("cpu", None, [16, 4]),
        ("cpu", 9, [9, 9, 2]),
        ("openvino", None, [16, 4]),
        ("cuda", None, [8, 8, 4]),
    ],
)
def test_a_run_takes_as_many_slices_as_suit_the_provider(
    artifact: Path, provider: str, asked: int | None, batches: list[int]
) -> None:
    class Counting:
        contract = load_backend(artifact, BackendSettings("cpu", 1)).contract
        device, versions = "a stand-in", {}

        def __init__(self) -> None:
            self.provider, self.seen = provider, []

        def run(self, slices: np.ndarray) -> np.ndarray:
            self.seen.append(len(slices))
            return np.zeros(slices.shape[:3], np.float32)

    backend = Counting()
    settings = LoadSettings(provider, batch=asked, crop=False)
    Segmenter(backend, settings).segment(Volume(np.ones((20, 64, 64, 3), np.uint8)))
    assert backend.seen == batches
