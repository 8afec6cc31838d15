"""What else runs the same network: onnxruntime as it comes, and PyTorch at its best."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from lgg_bench.artifacts import is_onnx
from lgg_runtime.backends.missing import NAMES
from lgg_runtime.backends.onnx_session import import_onnxruntime
from lgg_runtime.contract import INPUT, OUTPUT
from lgg_runtime.extras import needs_extra
from lgg_runtime.volume import Pixels, Probability

Run = Callable[[Pixels], Probability]


def load_peers(
    artifacts: Sequence[Path], run: Path | None, provider: str
) -> dict[str, Callable[[], Run]]:
    """By name, which says of which artifact or run it is: what loads each.

    artifacts: of which onnxruntime runs the first ONNX file, and takes no part where there is none;
    run: a training run's folder for PyTorch, None to leave it out. Raises ProviderError where
    PyTorch, which is to take part, finds no GPU.
    """
    on = "cpu" if provider == "cpu" else "cuda"
    peers: dict[str, Callable[[], Run]] = {
        f"onnxruntime, defaults, {path.name}": partial(_load_defaults, path, on)
        for path in [path for path in artifacts if is_onnx(path)][:1]
    }
    if run is None:
        return peers
    with needs_extra("train"):
        from lgg_bench.eager import load_eager, require_device
    require_device(on)
    of = run.resolve().name
    peers[f"PyTorch eager, {of}"] = partial(load_eager, run, "NCHW", on)
    if on == "cuda":
        peers[f"PyTorch fp16 channels_last, CUDA graph, {of}"] = partial(_load_graphed, run)
    return peers


def _load_defaults(path: Path, provider: str) -> Run:
    """onnxruntime with no option set, from host arrays to host arrays."""
    session = import_onnxruntime().InferenceSession(str(path), providers=[NAMES[provider]])

    def predict(slices: Pixels) -> Probability:
        probability: Probability = session.run([OUTPUT], {INPUT: slices})[0]
        return probability

    return predict


def _load_graphed(run: Path) -> Run:
    """PyTorch in half precision, channels last, a recorded CUDA graph for the last shape."""
    import torch

    from lgg_train.trained import load_model
    from lgg_train.unet import scale_slices

    device = torch.device("cuda")
    memory = torch.channels_last
    network = load_model(run, device).network.half().to(memory_format=memory)  # type: ignore[call-overload]
    held: dict[tuple[int, ...], tuple[torch.Tensor, torch.Tensor, torch.cuda.CUDAGraph]] = {}

    @torch.inference_mode()
    def compute(pixels: torch.Tensor) -> torch.Tensor:
        x = scale_slices(pixels).half().contiguous(memory_format=memory)
        return torch.sigmoid(network(x).float())[:, 0]

    def record(shape: tuple[int, ...]) -> None:
        held.clear()
        source = torch.zeros(shape, dtype=torch.uint8, device=device)
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                compute(source)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            target = compute(source)
        held[shape] = (source, target, graph)

    def predict(slices: Pixels) -> Probability:
        if slices.shape not in held:
            record(slices.shape)
        source, target, graph = held[slices.shape]
        source.copy_(torch.from_numpy(slices))
        graph.replay()
        return np.asarray(target.cpu().numpy())

    return predict
