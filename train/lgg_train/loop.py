"""The training loop: batches in, an averaged model out, resumable at every checkpoint."""

from __future__ import annotations

import contextlib
import math
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn
from tqdm import tqdm

from lgg_runtime.errors import InputError, LggError, ProviderError
from lgg_train.checkpoint import load_checkpoint, save_checkpoint
from lgg_train.dataset import Batch, TrainingSlices
from lgg_train.history import History
from lgg_train.losses import mix_targets, segmentation_loss
from lgg_train.schedule import learning_rate
from lgg_train.settings import ANEW, Machinery, Origin, TrainSettings
from lgg_train.teachers import mean_probability, without_mirror
from lgg_train.unet import UNet, scale_slices

# A GPU computes while the next steps are prepared, until somebody asks for a loss.
STEPS_UNREAD = {"cpu": 1, "cuda": 50}
AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": None}


class DivergedError(LggError):
    """The loss is no longer a number."""


Validate = Callable[[nn.Module], dict[str, float]]


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
    """
    torch.backends.cudnn.benchmark = True  # crops have one size
    state = _State(settings, machinery, origin.network, origin.teachers)
    if origin.resume:
        state.load(folder / "last.pt")
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
            state.take_step(next(batches), rate)
            if state.step % STEPS_UNREAD[machinery.device.type] == 0:
                state.read_losses()
            state.seconds += time.monotonic() - begun
            done = budget.progress(state.step, steps_per_epoch, state.seconds)
            bar.n = round(100 * min(done, 1.0), 1)
            bar.set_postfix_str(f"step {state.step}, loss {state.mean_loss:.4f}")
            validates = int(done * settings.validations) > state.validated or done >= 1.0
            saves = time.monotonic() - saved > 60 * machinery.checkpoint_minutes or done >= 1.0
            if validates or saves:
                state.read_losses()
            if validates:
                state.validated = int(done * settings.validations)
                scores = validate(state.averaged.eval())
                history.add(state.step, state.seconds, state.mean_loss, rate, scores)
                bar.write(f"step {state.step}: " + _line(scores), file=sys.stderr)
            if saves:
                state.save(folder / "last.pt", history.rows)
                saved = time.monotonic()
    finally:
        bar.close()
        batches.close()
        history.close()
    return state.averaged.eval()


_BAR = "{desc}{percentage:5.1f}%|{bar}| {elapsed}<{remaining} {postfix}"


def choose_device(name: str) -> torch.device:
    """`cpu`, `cuda`, or `auto` for CUDA where it is; ProviderError for a CUDA that is not there."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise ProviderError("--device cuda: this PyTorch finds no CUDA device")
    return torch.device(name)


def load_same(path: Path, settings: TrainSettings) -> dict[str, Any]:
    """A run's checkpoint. Raises InputError where there is none, or one of other settings.

    A setting that the checkpoint does not tell had its default.
    """
    held = load_checkpoint(path)
    ours = settings.to_json()
    default = TrainSettings(settings.budget).to_json()
    if not (isinstance(held.get("settings"), dict) and held.keys() >= _HELD):
        raise InputError(f"{path.name}: not a checkpoint of this version")
    theirs = default | held["settings"]
    theirs["samples"] = default["samples"] | theirs["samples"]
    if theirs != ours:
        other = [key for key in theirs if key not in ours or theirs[key] != ours[key]]
        raise InputError(f"{path.name}: made with other settings: {', '.join(other)}")
    return held


_HELD = {"settings", "model", "averaged", "optimiser", "scaler", "counters", "mean_loss", "random",
         "history"}  # fmt: skip


class _State:
    """Model, average, optimiser and counters, which a checkpoint holds, and the teachers."""

    def __init__(
        self,
        settings: TrainSettings,
        machinery: Machinery,
        start: UNet | None,
        teachers: Sequence[UNet] = (),
    ):
        torch.manual_seed(settings.seed)
        self.settings, self.device = settings, machinery.device
        self.model, self.averaged = (self._place(UNet(settings.unet)) for _ in range(2))
        if start is not None:
            self.model.load_state_dict(start.state_dict())
        self.averaged.load_state_dict(self.model.state_dict())
        self.teachers = [self._place(without_mirror(teacher)) for teacher in teachers]
        self.forward = torch.compile(self.model) if machinery.compiled else self.model
        self.optimiser = torch.optim.AdamW(
            self.model.parameters(),
            settings.peak_rate,
            weight_decay=settings.weight_decay,
            fused=True,
        )
        half = settings.precision == "fp16"
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=half)
        self.step, self.seconds, self.validated = 0, 0.0, 0
        self.mean_loss = math.nan
        self._unread: list[torch.Tensor] = []
        self.history: list[dict[str, float]] = []

    def _place(self, network: UNet) -> UNet:
        network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return network

    def take_step(self, batch: Batch, rate: float) -> None:
        """One optimiser step, begun and not waited for."""
        slices, masks = (self._take(part) for part in (batch.slices, batch.masks))
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.model.train()
        with _autocast(self.device, self.settings.precision):
            logits = self.forward(_scale(slices))
            if self.teachers:
                whole = _scale(self._take(batch.complete))
                masks = mix_targets(masks, mean_probability(self.teachers, whole))
        loss = segmentation_loss(logits, masks)
        self.optimiser.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self.scaler.unscale_(self.optimiser)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip_norm)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.step += 1
        self._average()
        self._unread.append(loss.detach())

    def _take(self, part: torch.Tensor) -> torch.Tensor:
        return part.to(self.device, non_blocking=True)

    def read_losses(self) -> None:
        """Take the last steps' losses into their mean, which waits for the device.

        Raises DivergedError where one is no finite number.
        """
        if not self._unread:
            return
        values = torch.stack(self._unread).tolist()
        self._unread.clear()
        for step, value in enumerate(values, self.step - len(values) + 1):
            if not math.isfinite(value):
                raise DivergedError(f"the loss is {value} at step {step}; lower the peak rate")
            self.mean_loss = (
                value if math.isnan(self.mean_loss) else 0.98 * self.mean_loss + 0.02 * value
            )

    @torch.no_grad()
    def _average(self) -> None:
        """Exponential moving average; its memory grows with the steps, to forget the start."""
        decay = min(self.settings.average_decay, self.step / (self.step + 10))
        ours, theirs = (list(n.state_dict().values()) for n in (self.averaged, self.model))
        pairs = list(zip(ours, theirs, strict=True))
        update = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        update(*zip(*(p for p in pairs if p[0].is_floating_point()), strict=True), None)
        for mine, new in pairs:
            if not mine.is_floating_point():
                mine.copy_(new)

    def save(self, path: Path, history: list[dict[str, float]]) -> None:
        counters = {"step": self.step, "seconds": self.seconds, "validated": self.validated}
        save_checkpoint(
            path,
            {
                "settings": self.settings.to_json(),
                "model": self.model.state_dict(),
                "averaged": self.averaged.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "scaler": self.scaler.state_dict(),
                "counters": counters,
                "mean_loss": self.mean_loss,
                "random": torch.get_rng_state(),
                "history": history,
            },
        )

    def load(self, path: Path) -> None:
        """Raises InputError as `load_same` does."""
        held = load_same(path, self.settings)
        self.model.load_state_dict(held["model"])
        self.averaged.load_state_dict(held["averaged"])
        self.optimiser.load_state_dict(held["optimiser"])
        self.scaler.load_state_dict(held["scaler"])
        self.step, self.seconds = held["counters"]["step"], held["counters"]["seconds"]
        self.validated, self.mean_loss = held["counters"]["validated"], held["mean_loss"]
        self.history = held["history"]
        torch.set_rng_state(held["random"])


def _scale(slices: torch.Tensor) -> torch.Tensor:
    return scale_slices(slices).contiguous(memory_format=torch.channels_last)


def _autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager[Any]:
    dtype = AUTOCAST[precision]
    return torch.autocast(device.type, dtype) if dtype is not None else contextlib.nullcontext()


def _line(scores: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in scores.items())
