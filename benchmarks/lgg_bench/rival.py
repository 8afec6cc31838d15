"""What a notebook does with the same network: read with OpenCV, batches of 8, write PNG.

    python -m lgg_bench.rival ENGINE MODEL FOLDER OUTPUT

ENGINE is eager or compiled (PyTorch, MODEL a training run), onnxruntime or openvino with no option
set (MODEL an artifact). Full frames, one thing after the other, nothing of the runtime.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

BATCH, MULTIPLE = 8, 16
# Of what lgg-infer takes for a slice, so that both read the same files.
SUFFIXES = (".tif", ".tiff", ".png", ".jpg", ".jpeg")
Predict = Callable[[Any], Any]


def load_eager(model: str) -> Predict:
    return _load_pytorch(model, lambda network: network)


def load_compiled(model: str) -> Predict:
    import torch

    return _load_pytorch(model, torch.compile)


def load_onnxruntime(model: str) -> Predict:
    from lgg_runtime.backends.onnx_session import import_onnxruntime

    session = import_onnxruntime().InferenceSession(model, providers=["CPUExecutionProvider"])
    return lambda slices: session.run(None, {"slices": slices})[0]


def load_openvino(model: str) -> Predict:
    from lgg_runtime.backends.openvino_core import import_openvino

    compiled = import_openvino().Core().compile_model(model, "CPU")
    return lambda slices: compiled(slices)[0]


ENGINES: dict[str, Callable[[str], Predict]] = {
    "eager": load_eager,
    "compiled": load_compiled,
    "onnxruntime": load_onnxruntime,
    "openvino": load_openvino,
}


def segment_folder(predict: Predict, folder: Path, output: Path) -> None:
    slices = (p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES)
    paths = sorted(p for p in slices if not p.stem.endswith("_mask"))
    if not paths:
        raise SystemExit(f"{folder}: no slice in it")
    output.mkdir(parents=True)
    for start in range(0, len(paths), BATCH):
        chosen = paths[start : start + BATCH]
        pixels = _stack({str(path.relative_to(folder)): _read(path) for path in chosen})
        for path, probability in zip(chosen, predict(pixels), strict=True):
            mask = (probability >= 0.5).astype(np.uint8) * 255
            cv2.imwrite(str(output / f"{path.stem}_mask.png"), mask)


def _load_pytorch(model: str, prepare: Callable[[Any], Any]) -> Predict:
    """prepare: gives what runs in the network's place."""
    import torch

    from lgg_train.trained import load_model
    from lgg_train.unet import scale_slices

    network = prepare(load_model(Path(model)).network.eval())

    def predict(slices: Any) -> Any:
        with torch.no_grad():
            x = scale_slices(torch.from_numpy(slices)).contiguous()
            return torch.sigmoid(network(x))[:, 0].numpy()

    return predict


def _stack(pictures: dict[str, Any]) -> Any:
    """A batch, which no network takes of two sizes, nor of sides that halve to broken numbers."""
    first = next(iter(pictures.values())).shape
    for name, picture in pictures.items():
        if picture.shape != first or any(side % MULTIPLE for side in picture.shape[:2]):
            size, beside = (f"{shape[1]} x {shape[0]}" for shape in (picture.shape, first))
            raise SystemExit(
                f"{name}: {size} pixels in a batch of {beside}; expected slices of one size, sides "
                f"in multiples of {MULTIPLE}, which a notebook needs: name a folder of such, or "
                "time lgg-infer alone with `lgg-bench throughput`"
            )
    return np.stack(list(pictures.values()))


def _read(path: Path) -> Any:
    image = cv2.imread(str(path))
    if image is None:
        raise SystemExit(f"{path}: OpenCV cannot read it")
    return image[..., ::-1]


if __name__ == "__main__":
    engine, given, source, target = sys.argv[1:]
    segment_folder(ENGINES[engine](given), Path(source), Path(target))
