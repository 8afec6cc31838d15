"""What a training run is asked for: read from a command's options once, then passed whole."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from lgg_runtime.errors import UsageError
from lgg_train.dataset import SampleSettings
from lgg_train.device import choose_device, choose_precision
from lgg_train.schedule import Budget
from lgg_train.settings import Machinery, TrainSettings
from lgg_train.splits import SplitSettings
from lgg_train.unet import UNetSettings


@dataclass(frozen=True)
class TrainingRequest:
    """What a run is to do.

    settings: what decides its numbers, but for the digests of `start` and `teachers`, which are
    read when it begins. split: how to divide the data where no `split_file` does. start, teachers
    and decision: folders of the finished runs whose weights it begins with, whose probabilities it
    learns, whose threshold and clean-up it takes over. resume: go on from its last checkpoint.

    Raises UsageError for a split's seed where none is drawn.
    """

    settings: TrainSettings
    machinery: Machinery
    split: SplitSettings
    split_file: Path | None
    start: Path | None
    teachers: tuple[Path, ...]
    decision: Path | None
    resume: bool

    def __post_init__(self) -> None:
        if self.split.by == "all" and self.split.seed != SplitSettings().seed:
            raise UsageError("--split-by all draws no patients; leave --split-seed out")

    def options(self) -> dict[str, Any]:
        """The options that a resumed run goes on with, for JSON; paths hold from any folder."""
        settings = self.settings
        return {
            "epochs": settings.budget.epochs,
            "minutes": settings.budget.minutes,
            **{name: getattr(settings.unet, name) for name in _OF_NETWORK},
            **asdict(settings.samples),
            "rate": settings.peak_rate,
            "precision": settings.precision,
            "compiled": self.machinery.compiled,
            "tensorboard": self.machinery.tensorboard,
            "validations": settings.validations,
            "start": str(self.start.resolve()) if self.start is not None else None,
            "teachers": [str(run.resolve()) for run in self.teachers],
            "decision": str(self.decision.resolve()) if self.decision is not None else None,
        }


_OF_NETWORK = ("features", "depth", "mirror", "stride", "symmetry")


def read_request(options: dict[str, Any]) -> TrainingRequest:
    """The request that a command's options make.

    The options are those of `training_options` and what `train` adds to them; `cv` has no split,
    decision or --resume to give: `run_cross_validation` gives each fold its own.
    Raises UsageError for options that no run can have, ProviderError for a device that is not
    there.
    """
    device = choose_device(options["device"])
    return TrainingRequest(
        settings=TrainSettings(
            Budget(options["epochs"], options["minutes"]),
            UNetSettings(**{name: options[name] for name in _OF_NETWORK}),
            SampleSettings(**{each.name: options[each.name] for each in fields(SampleSettings)}),
            peak_rate=options["rate"],
            precision=choose_precision(options["precision"], device),
            seed=options["seed"],
            validations=options["validations"],
        ),
        machinery=Machinery(
            device,
            workers=options["workers"],
            compiled=options["compiled"],
            progress=not options["no_progress"],
            tensorboard=options["tensorboard"],
        ),
        split=SplitSettings(
            options.get("split_by", "patient"),
            seed=options["split_seed"],
            folds=options.get("folds"),
            fold=options.get("fold"),
        ),
        split_file=options.get("split_file"),
        start=options["start"],
        teachers=options["teachers"],
        decision=options.get("decision"),
        resume=options.get("resume", False),
    )
