"""A training step that a GPU has recorded: one launch in place of a thousand small ones."""

from __future__ import annotations

from collections.abc import Callable

import torch

from lgg_train.dataset import Batch

Compute = Callable[[Batch], torch.Tensor]
Replay = Callable[[], torch.Tensor]

# Before it is recorded, a step has to have allocated what it keeps and chosen its algorithms.
STEPS_BEFORE = 3


def record_on_gpu(compute: Compute, inputs: Batch) -> Replay:
    """Record what `compute` launches for these inputs, which are read anew at each replay.

    Nothing is computed yet. The thread that pins batches goes on calling CUDA meanwhile.
    """
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        result = compute(inputs)

    def replay() -> torch.Tensor:
        graph.replay()
        return result.clone()

    return replay


class RecordedStep:
    """A step that computes as it is the first times, then from its recording."""

    def __init__(self, record: Callable[[Compute, Batch], Replay] = record_on_gpu):
        self._record = record
        self._before = STEPS_BEFORE
        self._inputs: Batch | None = None
        self._replay: Replay | None = None

    def __call__(self, compute: Compute, batch: Batch) -> torch.Tensor:
        """The step's loss, which later steps leave as it is.

        compute: the same at each call; takes a batch on the device, reads nothing back, and finds
        in tensors whatever changes from step to step. Batches keep one size.
        """
        if self._before:
            self._before -= 1
            return compute(batch)
        if self._inputs is None or self._replay is None:
            self._inputs = Batch(*(part.clone() for part in batch))
            self._replay = self._record(compute, self._inputs)
        for held, new in zip(self._inputs, batch, strict=True):
            held.copy_(new)
        return self._replay()
