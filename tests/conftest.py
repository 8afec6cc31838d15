"""What the tests share: a tiny real artifact, slices drawn by hand, the command to call."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from lgg_runtime.cleanup import CleanupSettings
from lgg_runtime.contract import INPUT, METADATA_KEY, OUTPUT, Contract, Golden, Training
from lgg_runtime.golden import STEP, golden_input
from lgg_runtime.intensity import IntensitySettings
from lgg_runtime.volume import FLAIR
from stand_ins import runs
from stand_ins.signals import keeping_handlers

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before any test loads onnxruntime

# How long an example takes says how busy the machine is, and nothing of what is tested.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

# What each tiny graph does with the FLAIR channel, float32 [N, H, W]: operator, constants.
FORMULAS: dict[str, tuple[tuple[str, tuple[float, ...]], ...]] = {
    "sigmoid": (("Sub", (128.0,)), ("Div", (8.0,)), ("Sigmoid", ())),
    "logit": (("Sub", (128.0,)), ("Div", (8.0,))),
    "nan": (("Sub", (1000.0,)), ("Sqrt", ())),
}


def make_golden() -> Golden:
    """The pair of the formula sigmoid, computed without a model."""
    slices = golden_input((1, 16, 16, 3))
    z = (slices[0, ::STEP, ::STEP, FLAIR].ravel() - 128.0) / 8.0
    samples = tuple((1 / (1 + np.exp(-z))).tolist())
    return Golden(slices.shape, hashlib.sha256(slices).hexdigest(), "b" * 64, samples, 1e-4)


@pytest.fixture(scope="session")
def make_contract() -> Callable[..., Contract]:
    """A valid contract; keywords replace its fields."""

    def make(**changes: Any) -> Contract:
        fields: dict[str, Any] = {
            "name": "tiny",
            "precision": "fp32",
            "threshold": 0.5,
            "intensity": IntensitySettings(),
            "cleanup": CleanupSettings(),
            "training": Training("d" * 64, "5" * 64, "patient", {"train": 2, "test": 1}),
            "golden": make_golden(),
            "how_decided": "by hand",
            "tool_version": "0",
        }
        return Contract(**(fields | changes))

    return make


@pytest.fixture(scope="session")
def build_model() -> Callable[..., Any]:
    """An ONNX model of the contract's form that computes one of FORMULAS from FLAIR alone."""
    onnx = pytest.importorskip("onnx")

    def build(formula: str = "sigmoid", size: tuple[Any, Any, Any] = ("N", "H", "W")) -> Any:
        helper, kinds = onnx.helper, onnx.TensorProto
        channel = helper.make_tensor("flair_index", kinds.INT64, (), [FLAIR])
        nodes = [
            helper.make_node("Gather", [INPUT, "flair_index"], ["gathered"], axis=3),
            helper.make_node("Cast", ["gathered"], ["step0"], to=kinds.FLOAT),
        ]
        constants = [channel]
        for index, (operator, values) in enumerate(FORMULAS[formula]):
            name = f"constant{index}"
            constants += [helper.make_tensor(name, kinds.FLOAT, (), [v]) for v in values]
            inputs = [f"step{index}", *(name for _ in values)]
            nodes.append(helper.make_node(operator, inputs, [f"step{index + 1}"]))
        nodes[-1].output[0] = OUTPUT
        graph = helper.make_graph(
            nodes,
            "tiny",
            [helper.make_tensor_value_info(INPUT, kinds.UINT8, (*size, 3))],
            [helper.make_tensor_value_info(OUTPUT, kinds.FLOAT, size)],
            constants,
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)

    return build


@pytest.fixture(scope="session")
def save_artifact() -> Callable[[Any, Path, str | None], Path]:
    """Writes an ONNX model with a contract's text in its metadata, or without one."""
    onnx = pytest.importorskip("onnx")

    def save(model: Any, path: Path, contract: str | None) -> Path:
        if contract is not None:
            onnx.helper.set_model_props(model, {METADATA_KEY: contract})
        path.write_bytes(model.SerializeToString())
        return path

    return save


@pytest.fixture(scope="session")
def write_artifact(
    build_model: Callable[..., Any],
    save_artifact: Callable[..., Path],
    make_contract: Callable[..., Contract],
) -> Callable[..., Path]:
    """Writes a whole artifact of one of FORMULAS; keywords replace fields of its contract."""

    def write(path: Path, formula: str = "sigmoid", **changes: Any) -> Path:
        return save_artifact(build_model(formula), path, make_contract(**changes).dumps())

    return write


@pytest.fixture(scope="session")
def artifact(tmp_path_factory: pytest.TempPathFactory, write_artifact: Callable[..., Path]) -> Path:
    """probability = sigmoid((FLAIR - 128) / 8), threshold 0.5, no clean-up."""
    return write_artifact(tmp_path_factory.mktemp("artifact") / "tiny.onnx")


@pytest.fixture(scope="session")
def draw_slice() -> Callable[..., np.ndarray]:
    """Draws a head of value 100 on black, with a lesion or without, see `stand_ins.runs`."""
    return runs.draw_slice


@pytest.fixture(scope="session")
def write_picture() -> Callable[[Path, np.ndarray], Path]:
    """Writes RGB or grey pixels by the suffix, and the folders above."""

    def write(path: Path, pixels: np.ndarray) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        done, data = cv2.imencode(path.suffix, pixels[..., ::-1] if pixels.ndim == 3 else pixels)
        assert done
        path.write_bytes(data.tobytes())
        return path

    return write


@pytest.fixture
def make_caller(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Callable[..., SimpleNamespace]]:
    """Makes what calls a command, by its name and its `main`, as the shell does: it returns the
    exit code, standard output and error.
    """

    def make(name: str, main: Callable[[], object]) -> Callable[..., SimpleNamespace]:
        def call(*args: object) -> SimpleNamespace:
            monkeypatch.setattr("sys.argv", [name, *map(str, args)])
            with keeping_handlers(), pytest.raises(SystemExit) as ended:
                main()
            return SimpleNamespace(code=ended.value.code, **capsys.readouterr()._asdict())

        return call

    return make


@pytest.fixture
def call_infer(
    make_caller: Callable[..., Callable[..., SimpleNamespace]],
) -> Callable[..., SimpleNamespace]:
    """Calls lgg-infer as the shell does, see `make_caller`."""
    from lgg_runtime.cli import main

    return make_caller("lgg-infer", main)


@pytest.fixture(scope="session")
def one_thread() -> Iterator[None]:
    """Sums in one order, and no threads that wait for each other over tiny tensors."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with kaggle_3m: twelve patients, one without a lesion, of six slices of 64 x 64."""
    from lgg_train.phantom import PhantomSettings, write_phantoms

    root = tmp_path_factory.mktemp("phantoms")
    write_phantoms(root, PhantomSettings(patients=12, slices=6, size=64, seed=5))
    return root


@pytest.fixture
def run_copy(finished_run: Path, tmp_path: Path) -> Path:
    """A copy of the folder of a finished run, to write into."""
    return shutil.copytree(finished_run, tmp_path / "run")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """A file system in memory of the given size; called again, it changes the size."""
    if os.getuid() != 0:
        pytest.skip("only root can mount a file system")
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = False

    def mount(size: int) -> Path:
        nonlocal mounted
        options = f"size={size}" + (",remount" if mounted else "")
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder],
            check=False,
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            pytest.skip(f"no file system can be mounted: {done.stderr.strip()}")
        mounted = True
        return folder

    yield mount
    if mounted:
        subprocess.run(["umount", folder], check=True)
