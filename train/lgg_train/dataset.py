"""Training batches, each a function of (seed, step) alone, so that a resumed run repeats it."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import signal
import sys
import threading
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, Dataset

from lgg_runtime.errors import InputError, ResourceError, UsageError
from lgg_runtime.intensity import IntensitySettings, normalise
from lgg_runtime.volume import CHANNELS, Mask, Pixels
from lgg_train.augmentations import AUGMENTATIONS
from lgg_train.cases import Case
from lgg_train.crops import CropMaker
from lgg_train.symmetry import OtherSide
from lgg_train.unet import scale_slices

BATCHES_AHEAD = 4
_SHARED = Path("/dev/shm")  # where processes leave batches for each other
DRAWS = ("slice", "patient")
_WORKER_DIED = "DataLoader worker"  # begins what PyTorch says of a process that was killed

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class SampleSettings:
    """batch: crops a step, of which `tumour` hold tumour before the crop; crop: pixels a side;
    augmentation: a name of AUGMENTATIONS; draw: slice, where each slice comes equally often, or
    patient, where each patient does and then each slice of theirs.
    """

    batch: int = 16
    tumour: int = 10
    crop: int = 192
    seed: int = 0
    augmentation: str = "plain"
    draw: str = "slice"

    def __post_init__(self) -> None:
        if self.augmentation not in AUGMENTATIONS:
            raise UsageError(
                f"augmentation {self.augmentation!r}: expected {', '.join(AUGMENTATIONS)}"
            )
        if self.draw not in DRAWS:
            raise UsageError(f"draw {self.draw!r}: expected {' or '.join(DRAWS)}")
        for name in ("batch", "crop"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} {getattr(self, name)}: expected at least 1")
        if self.count_bytes(2 * len(CHANNELS)) > sys.maxsize:
            raise UsageError(
                f"batch {self.batch}, crop {self.crop}: no memory holds so many pixels; give a "
                "smaller --batch or --crop"
            )
        if not 0 <= self.tumour <= self.batch:
            raise UsageError(
                f"--tumour: {self.tumour} of a batch of {self.batch}: expected 0 to {self.batch}"
            )

    def count_bytes(self, channels: int) -> int:
        """Of a batch: the slices twice and the masks."""
        return self.batch * self.crop**2 * (2 * channels + np.dtype(np.float32).itemsize)


class Batch(NamedTuple):
    """Crops of one step.

    slices: what the network is shown, (B, crop, crop, 3) uint8, with the other side 6 channels;
    masks: (B, 1, crop, crop) float32;
    complete: the slices before FLAIR was put in the place of other sequences, for the teachers.
    """

    slices: torch.Tensor
    masks: torch.Tensor
    complete: torch.Tensor


class TrainingSlices:
    """Normalised slices of the training patients in memory, and batches of augmented crops."""

    def __init__(
        self,
        cases: Sequence[Case],
        used: dict[str, tuple[int, ...]],
        intensity: IntensitySettings,
        settings: SampleSettings,
        symmetry: bool = False,
    ):
        self._settings = settings
        chosen = AUGMENTATIONS[settings.augmentation]
        self._crops = CropMaker(settings.crop, chosen)
        self._slices: list[Pixels] = []
        self._masks: list[Mask] = []
        owners: list[str] = []
        for case in cases:
            pixels = normalise(case.volume.pixels, intensity)
            for index in used[case.patient]:
                self._slices.append(pixels[index])
                self._masks.append(case.masks[index])
                owners.append(case.patient if settings.draw == "patient" else "")
        self._channels = len(CHANNELS) * (2 if symmetry else 1)
        self._middles = [_find_middle(each) if symmetry else None for each in self._slices]
        holds = np.array([mask.any() for mask in self._masks])
        self._with_tumour, self._without = (
            _part(np.flatnonzero(which), np.array(owners)) for which in (holds, ~holds)
        )
        if not self._with_tumour:
            raise InputError("the training slices hold no tumour")

    def __len__(self) -> int:
        return len(self._slices)

    def batch(self, step: int) -> Batch:
        """The crops of one step."""
        s = self._settings
        rng = np.random.default_rng((s.seed, step))
        other = self._without or self._with_tumour
        chosen = (*_draw(rng, self._with_tumour, s.tumour), *_draw(rng, other, s.batch - s.tumour))
        slices = np.empty((s.batch, s.crop, s.crop, self._channels), np.uint8)
        complete = np.empty_like(slices)
        masks = np.empty((s.batch, 1, s.crop, s.crop), np.float32)
        for row, i in enumerate(chosen):
            made = self._crops.make(self._slices[i], self._masks[i], self._middles[i], rng)
            slices[row], complete[row], masks[row, 0] = made
        return Batch(*(torch.from_numpy(part) for part in (slices, masks, complete)))

    def batches(self, first: int, workers: int) -> Generator[Batch, None, None]:
        """Batches from step `first` on without end, made ahead in a thread beside.

        With `workers`, that many processes make them; the batches are the same ones. Raises
        ResourceError where one of them was killed, or where they have too little shared memory.
        """
        if not workers:
            return self._batches_of_thread(first)
        self._require_shared_memory(workers)
        return self._batches_of_processes(first, workers)

    def _batches_of_thread(self, first: int) -> Generator[Batch, None, None]:
        thread = ThreadPoolExecutor(1, "batches")
        try:
            steps = range(first, first + BATCHES_AHEAD)
            ahead = deque(thread.submit(self.batch, step) for step in steps)
            for step in itertools.count(steps.stop):
                batch = ahead.popleft().result()
                ahead.append(thread.submit(self.batch, step))
                yield batch
        finally:
            thread.shutdown(cancel_futures=True)

    def _require_shared_memory(self, workers: int) -> None:
        """A process that finds none left loses its batch, and who waits for it waits for ever."""
        if not _SHARED.is_dir():
            return
        s = self._settings
        a_batch = s.count_bytes(self._channels)
        needed, free = (workers * BATCHES_AHEAD + 2) * a_batch, shutil.disk_usage(_SHARED).free
        if needed > free:
            raise ResourceError(
                f"--workers {workers}: need {-(-needed >> 20)} MiB of {_SHARED}, {free >> 20} are "
                "free; give fewer, or enlarge it (docker run --shm-size)"
            )

    def _batches_of_processes(self, first: int, workers: int) -> Generator[Batch, None, None]:
        cv2.setNumThreads(1)  # a forked process waits for ever for OpenCV's threads, which it lacks
        loader = DataLoader(
            _Steps(self),
            batch_size=None,
            sampler=range(first, sys.maxsize),
            num_workers=workers,
            prefetch_factor=BATCHES_AHEAD,
            # Since Python 3.14 each process would begin anew, with a copy of all slices.
            multiprocessing_context="fork" if sys.platform == "linux" else None,
            worker_init_fn=_outlive_terminal,
            pin_memory=torch.cuda.is_available(),
        )
        with _keeping_signal_handler():
            batches = iter(loader)
        try:
            yield from batches
        except (RuntimeError, ConnectionError, EOFError) as error:
            if isinstance(error, RuntimeError) and not str(error).startswith(_WORKER_DIED):
                raise
            raise ResourceError(
                "--workers: a process that augments was killed; the memory may not suffice for "
                f"{workers}, give fewer"
            ) from error


def _find_middle(pixels: Pixels) -> int:
    return int(OtherSide().find_middles(scale_slices(torch.from_numpy(pixels[None])))[0])


def _part(slices: Indices, owners: npt.NDArray[np.str_]) -> list[Indices]:
    """The slices of each owner; owners: of every slice there is."""
    theirs = owners[slices]
    return [slices[theirs == owner] for owner in dict.fromkeys(theirs)]


def _draw(rng: np.random.Generator, pools: Sequence[Indices], count: int) -> list[int]:
    """Numbers of slices, each from a pool that is drawn first."""
    if len(pools) == 1:
        return list(rng.choice(pools[0], count))
    return [rng.choice(pools[pool]) for pool in rng.choice(len(pools), count)]


@contextlib.contextmanager
def _keeping_signal_handler() -> Iterator[None]:
    """Without PyTorch's handler, which tells of a worker's death by an error wherever the main
    thread is at that moment, be it in the midst of another error; the loader itself notices it
    where it waits for the worker.
    """
    if sys.platform == "win32" or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGCHLD)
    yield
    signal.signal(signal.SIGCHLD, before)


def _outlive_terminal(_worker: int) -> None:
    """A closed terminal signals all processes alike; this one ends as its parent does, which tells
    of it, and not by an error of its own.
    """
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


class _Steps(Dataset[Batch]):
    """A training set's batches by their step, as DataLoader asks for them."""

    def __init__(self, slices: TrainingSlices):
        self._slices = slices

    def __getitem__(self, step: int) -> Batch:
        return self._slices.batch(step)
