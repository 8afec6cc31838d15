"""What rows about training and export meet: drawn patients and a finished run, spoilt."""

from __future__ import annotations

import errno
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from catalogue.raster_bytes import tiff
from catalogue.row import Scene
from lgg_runtime.lock import lock_output

Make = Callable[[Scene], object]
FIRST, SECOND = "PHANTOM_A_0001", "PHANTOM_B_0002"
TRAINING_LOCK = ".lgg-train.lock"


class Intruder:
    """Unpickling it would make a file in the current folder."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("intruded"),)


def data(make: Make = lambda _: None) -> Make:
    """Drawn patients as the input, spoilt."""

    def put(scene: Scene) -> None:
        shutil.copytree(scene.shared("phantoms"), scene.source, dirs_exist_ok=True)
        make(scene)

    return put


def run(make: Make = lambda _: None) -> Make:
    """A finished run beside the drawn patients, spoilt."""

    def put(scene: Scene) -> None:
        data()(scene)
        shutil.copytree(scene.shared("brief_run"), scene.root / "trained")
        make(scene)

    return put


def patient(scene: Scene) -> tuple[Path, str]:
    """The first patient's folder and name."""
    folder = min((scene.source / "kaggle_3m").iterdir())
    return folder, folder.name


def leave_one(scene: Scene) -> None:
    first = patient(scene)[0]
    for folder in (scene.source / "kaggle_3m").iterdir():
        if folder != first:
            shutil.rmtree(folder)


def mix(scene: Scene) -> None:
    """The second patient's slices are copied into the first one's folder."""
    folder, _ = patient(scene)
    shutil.copytree(folder.with_name(SECOND), folder, dirs_exist_ok=True)


def lacking(end: str) -> Make:
    def make(scene: Scene) -> None:
        folder, name = patient(scene)
        (folder / f"{name}{end}").unlink()

    return make


def holding(end: str, pixels: Callable[[], np.ndarray]) -> Make:
    def make(scene: Scene) -> None:
        folder, name = patient(scene)
        (folder / f"{name}{end}").write_bytes(tiff(pixels()))

    return make


def lose_the_number(scene: Scene) -> None:
    from lgg_train import state

    def lose(logits: Any, _masks: Any) -> Any:
        return logits.sum() * float("nan")

    scene.patch.setattr(state, "segmentation_loss", lose)


def exhaust_memory(scene: Scene) -> None:
    """A step asks for more memory than any machine addresses."""
    import torch

    from lgg_train import state

    def exhaust(_logits: Any, _masks: Any) -> Any:
        return torch.empty(2**60, dtype=torch.uint8)

    scene.patch.setattr(state, "segmentation_loss", exhaust)


def checkpoint(state: Callable[[], Any]) -> Make:
    def make(scene: Scene) -> None:
        import torch

        torch.save(state(), scene.root / "trained" / "last.pt")

    return make


def cut_checkpoint(scene: Scene) -> None:
    path = scene.root / "trained" / "last.pt"
    path.write_bytes(path.read_bytes()[:1000])


def fill_disk(scene: Scene) -> None:
    """There is no space for another checkpoint; the run has more to do than it had."""
    from lgg_runtime.writers.atomic import open_atomically
    from lgg_train import checkpoint

    def refuse(path: Path, _data: bytes) -> None:
        with open_atomically(path) as stream:
            stream.write(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    scene.patch.setattr(checkpoint, "write_atomically", refuse)


def stop_at_a_step(scene: Scene) -> None:
    from lgg_train import state

    real = state.segmentation_loss

    def stop(logits: Any, masks: Any) -> Any:
        signal.raise_signal(signal.SIGTERM)
        return real(logits, masks)

    scene.patch.setattr(state, "segmentation_loss", stop)


def lock_run(scene: Scene) -> None:
    """Another training holds the folder."""
    (scene.root / "trained").mkdir()
    scene.later.enter_context(lock_output(scene.root / "trained", TRAINING_LOCK))


def no_compiler(scene: Scene) -> None:
    """As where CXX names none."""
    import torch
    from torch._dynamo.exc import BackendCompilerFailed

    def refuse(_slices: Any) -> Any:
        raise BackendCompilerFailed("inductor", RuntimeError("No working C++ compiler found"), None)

    scene.patch.setattr(torch, "compile", lambda _model: refuse)


def lose_a_worker(scene: Scene) -> None:
    """The first process that augments is killed as soon as there is one."""
    import multiprocessing

    from lgg_train import state

    real = state.segmentation_loss

    def kill(logits: Any, masks: Any) -> Any:
        for worker in multiprocessing.active_children():
            worker.kill()
            worker.join()
        return real(logits, masks)

    scene.patch.setattr(state, "segmentation_loss", kill)


def no_gpu(scene: Scene) -> None:
    import torch

    scene.patch.setattr(torch.cuda, "is_available", lambda: False)


def write_split(**parts: dict[str, list[int]]) -> Make:
    def make(scene: Scene) -> None:
        import json

        record = {"schema": 1, "by": "patient", "seed": 0, "parts": parts}
        (scene.root / "split.json").write_text(json.dumps(record))

    return make


def another_graph(scene: Scene) -> None:
    """The gate is given a graph that is not the network's; an older artifact lies there."""
    from lgg_export import artifact

    model = scene.shared("build_model")()
    scene.patch.setattr(artifact, "build_graph", lambda *_: model)
    (scene.root / "new.onnx").write_bytes(b"older")


def lose_a_patient(scene: Scene) -> None:
    """A validation patient of the run."""
    import json

    split = json.loads((scene.root / "trained" / "split.json").read_text())
    (name,) = split["parts"]["validation"]
    shutil.rmtree(scene.source / "kaggle_3m" / name)


def write_first(scene: Scene, content: bytes) -> None:
    folder, name = patient(scene)
    (folder / f"{name}_1.tif").write_bytes(content)
