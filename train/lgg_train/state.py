"""What training holds and changes at each step, and the checkpoint that it is resumed from."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from lgg_runtime.contract import Training
from lgg_runtime.errors import InputError, LggError, first_line
from lgg_train.checkpoint import load_checkpoint, save_checkpoint
from lgg_train.dataset import Batch
from lgg_train.device import autocast, within_memory
from lgg_train.history import Row
from lgg_train.losses import mix_targets, segmentation_loss
from lgg_train.recorded import RecordedStep
from lgg_train.settings import Machinery, Origin, TrainSettings
from lgg_train.teachers import mean_probability, without_mirror
from lgg_train.unet import UNet, load_weights, scale_slices

# What a checkpoint holds beside its schema.
_HELD = {"settings", "model", "averaged", "optimiser", "scaler", "counters", "mean_loss", "history"}


class DivergedError(LggError):
    """The loss, or what the network holds or answers, is no longer a finite number."""


def load_same(path: Path, settings: TrainSettings, training: Training | None) -> dict[str, Any]:
    """A run's checkpoint. Raises InputError where there is none, or one of other settings, other
    data or another split.

    A setting that the checkpoint does not hold, made before there was one, counts as its default;
    one that does not tell its data and split may be of any.
    """
    held = load_checkpoint(path)
    if not (isinstance(held.get("settings"), dict) and held.keys() >= _HELD):
        raise InputError(f"{path}: not a checkpoint of this version")
    if other := settings.differing(held["settings"]):
        raise InputError(f"{path}: made with other settings: {', '.join(other)}; leave them out")
    told = held.get("training")
    if told is not None and training is not None and told != asdict(training):
        raise InputError(f"{path}: of a run on other data or another split; put its own back")
    return held


class TrainingState:
    """Model, average, optimiser and counters, which a checkpoint holds, and the teachers.

    averaged: the moving average of the model's weights, which is what training is for.
    """

    def __init__(self, settings: TrainSettings, machinery: Machinery, origin: Origin):
        torch.manual_seed(settings.seed)
        self.settings, self.device = settings, machinery.device
        self.training = origin.training
        self.model, self.averaged = (self._place(UNet(settings.unet)) for _ in range(2))
        if origin.network is not None:
            self.model.load_state_dict(origin.network.state_dict())
        self.averaged.load_state_dict(self.model.state_dict())
        self.teachers = [self._place(without_mirror(teacher)) for teacher in origin.teachers]
        self.forward = torch.compile(self.model) if machinery.compiled else self.model
        half = settings.precision == "fp16"
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=half)
        recorded = self.device.type == "cuda" and not half
        # What changes from step to step stands on the device, where a recorded step finds it.
        self._new = torch.zeros((), device=self.device)
        self._rate = torch.zeros((), device=self.device) if recorded else None
        self.optimiser = torch.optim.AdamW(
            self.model.parameters(),
            settings.peak_rate if self._rate is None else self._rate,
            weight_decay=settings.weight_decay,
            fused=True,
            capturable=recorded,
        )
        self._recorded = RecordedStep() if recorded else None
        self.step, self.seconds, self.validated = 0, 0.0, 0
        self.mean_loss = math.nan
        self._unread: list[torch.Tensor] = []
        self.history: list[Row] = []

    def _place(self, network: UNet) -> UNet:
        network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return network

    def take_step(self, batch: Batch, rate: float) -> None:
        """One optimiser step, begun and not waited for."""
        self.step += 1
        # The average's memory grows with the steps, to forget the start.
        decay = min(self.settings.average_decay, self.step / (self.step + 10))
        self._new.fill_(1 - decay)
        self._set_rate(rate)
        self.model.train()
        batch = Batch(*(self._take(part) for part in batch))
        recorded = self._recorded
        loss = recorded(self._compute, batch) if recorded is not None else self._compute(batch)
        self._unread.append(loss)

    def _set_rate(self, rate: float) -> None:
        if self._rate is not None:
            self._rate.fill_(rate)
        for group in self.optimiser.param_groups:
            group["lr"] = rate if self._rate is None else self._rate

    def _compute(self, batch: Batch) -> torch.Tensor:
        """The step itself, on the device alone; returns its loss."""
        with autocast(self.device, self.settings.precision):
            logits = self.forward(_scale(batch.slices))
            masks = batch.masks
            if self.teachers:
                masks = mix_targets(masks, mean_probability(self.teachers, _scale(batch.complete)))
        loss = segmentation_loss(logits, masks)
        self.optimiser.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self.scaler.unscale_(self.optimiser)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip_norm)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self._average()
        return loss.detach()

    def _take(self, part: torch.Tensor) -> torch.Tensor:
        return part.to(self.device, non_blocking=True)

    def read_losses(self) -> None:
        """Take the steps' unread losses into their moving mean, which waits for the device.

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
    def require_finite(self) -> None:
        """Raises DivergedError where the average, which is what is kept, is of no use: the loss of
        the last step is of the weights before it.

        Weights that are large and finite still give answers that are not.
        """
        crop = self.settings.samples.crop
        ramp = torch.arange(crop * crop * 3).remainder(256).to(torch.uint8)
        answer = self.averaged.eval()(_scale(self._take(ramp.reshape(1, crop, crop, 3))))
        for name, value in (*self.averaged.state_dict().items(), ("the answer", answer)):
            if not torch.isfinite(value).all():
                raise DivergedError(
                    f"{name} is not finite after step {self.step}; lower the peak rate"
                )

    @torch.no_grad()
    def _average(self) -> None:
        """Exponential moving average of the weights and of the batches' statistics."""
        ours, theirs = (n.state_dict().values() for n in (self.averaged, self.model))
        for mine, new in zip(ours, theirs, strict=True):
            if mine.is_floating_point():
                mine.lerp_(new, self._new)
            else:
                mine.copy_(new)

    def save(self, path: Path, history: list[Row]) -> None:
        """Write a checkpoint; `history` goes with it, so that a resumed run's has no gap."""
        counters = {"step": self.step, "seconds": self.seconds, "validated": self.validated}
        save_checkpoint(
            path,
            {
                "settings": self.settings.to_json(),
                "training": None if self.training is None else asdict(self.training),
                "model": self.model.state_dict(),
                "averaged": self.averaged.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "scaler": self.scaler.state_dict(),
                "counters": counters,
                "mean_loss": self.mean_loss,
                "history": history,
            },
        )

    def load(self, path: Path) -> None:
        """Go on from a checkpoint. Raises InputError as `load_same` does, and for one that holds
        other tensors or numbers than this state.
        """
        held = load_same(path, self.settings, self.training)
        try:
            with within_memory("free some"):
                self._take_over(held)
        except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            reason = first_line(error)
            raise InputError(f"{path}: not a checkpoint of this version ({reason})") from error

    def _take_over(self, held: dict[str, Any]) -> None:
        """Raises any of many errors, PyTorch's and Python's, where something does not fit."""
        load_weights(self.model, held["model"])
        load_weights(self.averaged, held["averaged"])
        # Its groups' values are of the settings, which are the same, and of this device.
        groups = self.optimiser.state_dict()["param_groups"]
        state = held["optimiser"]["state"]
        self.optimiser.load_state_dict({"state": state, "param_groups": groups})
        for weights, moments in self.optimiser.state.items():  # unasked, a step writes beyond them
            if not weights.shape == moments["exp_avg"].shape == moments["exp_avg_sq"].shape:
                raise ValueError(f"moments of {weights.shape} in another shape")
            if moments["step"].shape:
                raise ValueError("steps of one weight that are many")
            if not all(torch.isfinite(each).all() for each in moments.values()):
                raise ValueError("moments that are not finite")
        self.scaler.load_state_dict(held["scaler"])
        counted = [held["counters"][name] for name in ("step", "validated", "seconds")]
        whole = all(isinstance(number, int) for number in counted[:2])
        if not (whole and min(counted) >= 0 and math.isfinite(counted[2])):
            raise ValueError(f"{counted} cannot have been counted")
        self.step, self.validated, self.seconds = counted
        self.mean_loss = float(held["mean_loss"])
        self.history = [dict(row) for row in held["history"]]
        if not all(math.isfinite(number) for row in self.history for number in row.values()):
            raise ValueError("a history of numbers that are not finite")


def _scale(slices: torch.Tensor) -> torch.Tensor:
    return scale_slices(slices).contiguous(memory_format=torch.channels_last)
