"""The training loop: batches in, an averaged model out, resumable at every checkpoint."""

from __future__ import annotations

import contextlib
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from tqdm import tqdm

from lgg_runtime.terminal import ignoring_lost_reader
from lgg_train.dataset import TrainingSlices
from lgg_train.device import within_compiler, within_memory
from lgg_train.history import History
from lgg_train.run import LAST_FILE
from lgg_train.schedule import learning_rate
from lgg_train.settings import ANEW, Machinery, Origin, TrainSettings
from lgg_train.state import TrainingState
from lgg_train.unet import UNet

# After how many steps their losses are read. Reading waits for the device: left alone, a GPU goes
# on computing while the next steps are prepared for it.
STEPS_UNREAD = {"cpu": 1, "cuda": 50}
_BAR = "{desc}{percentage:5.1f}%|{bar}| {elapsed}<{remaining} {postfix}"

Validate = Callable[[nn.Module], dict[str, float]]


@within_memory("a smaller --batch or --crop, or fewer --features, may fit")
def train(
    slices: TrainingSlices,
    settings: TrainSettings,
    machinery: Machinery,
    folder: Path,
    validate: Validate,
    origin: Origin = ANEW,
) -> UNet:
    """Train for the budget and return the averaged model, in evaluation mode on the device.

    Writes `last.pt` (everything that a resumed run needs) and `history.csv` into the folder.
    `validate` takes the averaged model and returns numbers for the history.
    Raises DivergedError where the loss, a weight or an answer is no longer finite, InputError where
    the folder holds no checkpoint of these settings to resume from, ResourceError where the memory
    does not suffice or a worker was killed, ProviderError where nothing can be compiled.
    """
    torch.backends.cudnn.benchmark = True  # crops have one size
    state = TrainingState(settings, machinery, origin)
    if origin.resume:
        state.load(folder / LAST_FILE)
    steps_per_epoch = math.ceil(len(slices) / settings.samples.batch)
    budget = settings.budget
    batches = slices.batches(state.step, machinery.workers)
    history = History(folder, state.history, machinery.tensorboard)
    hidden = None if machinery.progress else True  # None: where standard error is no terminal
    bar = tqdm(total=100, unit="%", disable=hidden, bar_format=_BAR)
    saved = time.monotonic()
    try:
        while (done := budget.progress(state.step, steps_per_epoch, state.seconds)) < 1.0:
            begun = time.monotonic()
            rate = learning_rate(settings.peak_rate, done, settings.warm_up)
            with within_compiler() if machinery.compiled else contextlib.nullcontext():
                state.take_step(next(batches), rate)
            if state.step % STEPS_UNREAD[machinery.device.type] == 0:
                state.read_losses()
            state.seconds += time.monotonic() - begun
            done = budget.progress(state.step, steps_per_epoch, state.seconds)
            bar.n = round(100 * done, 1)
            bar.set_postfix_str(f"step {state.step}, loss {state.mean_loss:.4f}")
            validates = int(done * settings.validations) > state.validated or done >= 1.0
            saves = time.monotonic() - saved > 60 * machinery.checkpoint_minutes or done >= 1.0
            if validates or saves:
                state.read_losses()
                state.require_finite()
            if validates:
                state.validated = int(done * settings.validations)
                scores = validate(state.averaged.eval())
                history.add(state.step, state.seconds, state.mean_loss, rate, scores)
            if saves:
                state.save(folder / LAST_FILE, history.rows)
                saved = time.monotonic()
            if validates:
                told = _line(state.step, {"loss": state.mean_loss} | scores)
                with ignoring_lost_reader(sys.stderr):
                    bar.write(told, file=sys.stderr)
    finally:
        bar.close()
        batches.close()
        history.close()
    state.require_finite()
    return state.averaged.eval()


def _line(step: int, numbers: dict[str, float]) -> str:
    return f"step {step}: " + ", ".join(f"{name} {value:.4f}" for name, value in numbers.items())
