"""The Python API: load a model once, segment many volumes."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from lgg_runtime.backends import Backend, share_threads
from lgg_runtime.backends.within_memory import WithinMemory, is_memory_limited
from lgg_runtime.batching import fill_boxes, run_boxes
from lgg_runtime.cleanup import drop_small
from lgg_runtime.contract import Contract
from lgg_runtime.cores import available_cores
from lgg_runtime.crop import Box, Boxes, CropSettings, find_boxes, whole_frames
from lgg_runtime.errors import InputError, UsageError
from lgg_runtime.exhausted import telling_exhausted_memory
from lgg_runtime.first_look import require_same_slices, run_from_signs
from lgg_runtime.forked import outlive_fork
from lgg_runtime.grid import ModelGrid
from lgg_runtime.intensity import bright_levels, head_mask, normalise
from lgg_runtime.loading import LoadSettings
from lgg_runtime.model_name import NAME_LENGTH
from lgg_runtime.opening import open_model
from lgg_runtime.plausibility import find_doubts
from lgg_runtime.providers import ON_CPU
from lgg_runtime.volume import Pixels, Probability, Segmentation, Volume, repeat_flair
from lgg_runtime.workers import Workers

# Slices a run. On a CPU they run one by one: larger batches leave fewer idle cores at the end.
_CPU_BATCH, _GPU_BATCH = 16, 8
# Volumes at once: while one of them comes to its end, the next one takes the cores that it leaves.
_AT_ONCE_ON_CPU = 2
# Some engines plan anew for each input shape; coarser steps of the crop box keep shapes few.
_STEPS = {"cuda": 256, "tensorrt": 256, "openvino": 32}
# Loading is mostly compiling there, so a model and its first look are loaded side by side.
_COMPILES = ("openvino",)
# Letters of a first look's name in the name of both.
_QUICK_LENGTH = 12


@dataclass(frozen=True)
class Prepared:
    """A volume that is ready to run.

    slices: normalised, on the model's grid, (S', H', W', 3) uint8; boxes: what to run of each,
    None for a slice without head; spacing_mm: as in the volume; doubts: why it does not look like
    what the model was trained on.
    """

    grid: ModelGrid
    slices: Pixels
    boxes: tuple[Box | None, ...]
    spacing_mm: tuple[float, float, float] | None
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answer:
    """What the networks say of a volume.

    probability: (S', H', W') on the model's grid, 0 outside of the boxes and in slices that the
    first look left out; left_out: how many these are.
    """

    probability: Probability
    left_out: int = 0


class Segmenter:
    """A loaded model. `segment` may be called any number of times.

    digest: SHA-256 of the model's file; why: the reason for the provider that it runs on;
    first_look: the segmenter whose probabilities decide where this one runs, None for everywhere.
    """

    def __init__(
        self, backend: Backend, settings: LoadSettings, digest: str = "", why: str = "as asked for"
    ):
        self._backend, self.settings = backend, settings
        self.digest, self.why = digest, why
        self.first_look: Segmenter | None = None
        self._process = os.getpid()
        outlive_fork(self)
        chosen = backend.contract.threshold if settings.threshold is None else settings.threshold
        self.threshold = float(chosen)  # else probabilities would be compared in its type

    @classmethod
    def load(
        cls, model: str | Path = "standard", settings: LoadSettings | None = None
    ) -> Segmenter:
        """Load a shipped model by name or an artifact by path, with its first look if asked for.

        Raises ModelError for a model that is refused, ProviderError where it cannot run,
        OutOfMemoryError where the memory does not suffice, UsageError for what is no name or path
        and for impossible settings.
        """
        settings = LoadSettings() if settings is None else settings
        if not isinstance(settings, LoadSettings):
            raise UsageError(f"settings: expected LoadSettings, found {type(settings).__name__}")
        if settings.first_look is None:
            return cls._load_one(model, settings)
        quick = replace(
            settings, first_look=None, sha256=settings.first_look_sha256, first_look_sha256=None
        )
        if settings.provider in _COMPILES:
            with Workers(1, "look") as beside:
                looking = beside.submit(cls._load_one, settings.first_look, quick)
                segmenter = cls._load_one(model, settings)
                segmenter.first_look = beside.wait_for(looking)
        else:
            segmenter = cls._load_one(model, settings)
            same = replace(quick, provider=segmenter.provider)
            segmenter.first_look = cls._load_one(settings.first_look, same)
            share_threads(segmenter.first_look._backend, segmenter._backend)
        require_same_slices(segmenter.first_look.contract, segmenter.contract)
        return segmenter

    @classmethod
    def _load_one(cls, model: str | Path, settings: LoadSettings) -> Segmenter:
        backend, digest, why = open_model(model, settings)
        return cls(backend, settings, digest, why)

    def __getstate__(self) -> NoReturn:
        raise UsageError("a loaded model cannot be copied or pickled; load it in each process")

    @property
    def contract(self) -> Contract:
        return self._backend.contract

    @property
    def name(self) -> str:
        """The model's name; behind a first look, that one's too, with the start of its digest. Long
        names are cut, so that DICOM objects hold them.
        """
        beside = ""
        if (quick := self.first_look) is not None:
            beside = f" after {quick.contract.name[:_QUICK_LENGTH]} {quick.digest[:8]}"
        return self.contract.name[: NAME_LENGTH - len(beside)] + beside

    @property
    def provider(self) -> str:
        """The provider that really runs."""
        return self._backend.provider

    @property
    def device(self) -> str:
        return self._backend.device

    @property
    def crop(self) -> CropSettings:
        """The contract's constants, with the step that this provider takes."""
        crop = self.contract.crop
        return replace(crop, step=max(crop.step, _STEPS.get(self.provider, 1)))

    @property
    def batch(self) -> int:
        """Slices a run."""
        return self.settings.batch or (_CPU_BATCH if self.provider in ON_CPU else _GPU_BATCH)

    @property
    def volumes_at_once(self) -> int:
        """Of how many volumes `run` should be called at once, so that no core is idle: two would
        take two threads where one is asked for.
        """
        if is_memory_limited() or (self.settings.threads or available_cores()) == 1:
            return 1
        return _AT_ONCE_ON_CPU if self.provider in ON_CPU else 1

    @property
    def largest_batch(self) -> int | None:
        """Slices that the memory holds at once, None as long as every batch did fit."""
        backend = self._backend
        return backend.largest_batch if isinstance(backend, WithinMemory) else None

    @property
    def versions(self) -> dict[str, str]:
        return self._backend.versions

    def segment(self, study: Volume | npt.NDArray[Any]) -> Segmentation:
        """Find tumour in a volume, or in one slice (H, W, 3) as a volume of one.

        A volume that knows its spacing and place is brought to the model's scale and view, and the
        result is on the volume's own voxels. The three steps are `prepare`, `run` and `finish`. The
        same volume always gives the same result on one provider. Several threads may call it at
        once; on a GPU, the network then runs for one of them at a time.
        Raises InputError for another shape or a spacing that no patient has, ModelError if the
        model's output is no number, OutOfMemoryError where the memory does not suffice, UsageError
        in a process that was forked after the load.
        """
        with telling_exhausted_memory():
            prepared = self.prepare(study)
            return self.finish(prepared, self.run(prepared))

    def prepare(self, study: Volume | npt.NDArray[Any]) -> Prepared:
        """Bring to the model's grid and scale: the first step of `segment`. Raises InputError."""
        # What rounds to 0 is 0 in any host. As a decorator, NumPy 1.26 mixes up threads' settings.
        with np.errstate(under="ignore"):
            volume = study if isinstance(study, Volume) else _volume_of_slice(study)
            grid = ModelGrid.of(volume, self.contract.pixel_mm)
            pixels = grid.to_model(volume.pixels)
            if self.settings.flair_only:
                pixels = repeat_flair(pixels)
            if pixels.dtype.kind == "f" and pixels.dtype.itemsize == 2:  # too coarse to compute in
                pixels = pixels.astype(np.float32)
            intensity = self.contract.intensity
            bright = bright_levels(pixels, intensity)
            doubts = find_doubts(pixels, self.contract.plausibility, bright)
            head = head_mask(pixels, intensity, bright)
            slices = normalise(pixels, intensity, head, bright)
            boxes = find_boxes(head, self.crop) if self.settings.crop else whole_frames(*head.shape)
            return Prepared(grid, slices, boxes, volume.spacing_mm, doubts)

    def run(self, prepared: Prepared, before_batch: Callable[[], object] | None = None) -> Answer:
        """The second step: the networks alone. before_batch: called before each of their runs; what
        it raises ends this one. Raises the other errors of `segment`.
        """
        if self._process != os.getpid():  # no thread of an engine outlives a fork
            raise UsageError("the model was loaded in another process; load it in this one")
        slices, boxes = prepared.slices, prepared.boxes
        if self.first_look is None:
            return Answer(run_boxes(self._backend, slices, boxes, self.batch, before_batch))
        quick = self.first_look._backend
        look = run_boxes(quick, slices, boxes, self.batch, before_batch)

        def run(chosen: Boxes, found: Probability) -> None:
            fill_boxes(self._backend, slices, chosen, self.batch, found, before_batch)

        return Answer(*run_from_signs(look, boxes, run, self.threshold))

    def finish(self, prepared: Prepared, answer: Answer) -> Segmentation:
        """The last step: decide, clean up, and bring back to the volume's own voxels."""
        probability = answer.probability
        mask, dropped = drop_small(probability >= self.threshold, self.contract.cleanup)
        mask, probability = prepared.grid.bring_back(mask, probability, self.threshold)
        spacing_mm, doubts = prepared.spacing_mm, prepared.doubts
        return Segmentation(mask, probability, self.threshold, spacing_mm, doubts, dropped)


def _volume_of_slice(pixels: npt.NDArray[Any]) -> Volume:
    if not isinstance(pixels, np.ndarray):
        raise InputError(f"slice: expected an array, found {type(pixels).__name__}")
    if pixels.ndim != 3:
        raise InputError(f"slice: expected (rows, columns, 3) or a Volume, found {pixels.shape}")
    return Volume(pixels[None])
