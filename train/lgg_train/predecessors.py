"""The finished runs that a run goes on from: whose weights, probabilities or decision it takes."""

from __future__ import annotations

from dataclasses import dataclass, replace

from lgg_runtime.contract import Training
from lgg_runtime.errors import InputError, UsageError
from lgg_runtime.intensity import IntensitySettings
from lgg_train.fold_decision import load_decided
from lgg_train.history import Row, read_rounds
from lgg_train.request import TrainingRequest
from lgg_train.settings import Origin
from lgg_train.teachers import Teacher, check_teachers, load_teachers
from lgg_train.trained import TrainedModel, check_same_training, load_model
from lgg_train.unet import UNetSettings, with_symmetry


@dataclass(frozen=True)
class Predecessors:
    """The finished runs that a run goes on from.

    rounds: the history of `start` and of the runs before it. decided: the model whose threshold
    and clean-up are asked for in place of those of `start`.
    """

    start: TrainedModel | None
    rounds: list[list[Row]]
    teachers: list[Teacher]
    decided: TrainedModel | None

    def origin(self, resume: bool, training: Training) -> Origin:
        """What training begins with; training: on which data."""
        network = self.start.network if self.start is not None else None
        teachers = tuple(teacher.model.network for teacher in self.teachers)
        return Origin(network, resume, teachers, training)


def load_predecessors(request: TrainingRequest) -> Predecessors:
    """Raises InputError for a folder without a model, UsageError for a network that cannot fit."""
    start = load_model(request.start) if request.start is not None else None
    teachers = load_teachers(request.teachers, request.settings)
    if start is not None:
        _check_same_shape(start.network.settings, request.settings.unet)
        if request.settings.unet.symmetry:
            start = replace(start, network=with_symmetry(start.network))
    rounds = read_rounds(request.start) if request.start is not None else []
    decided = load_decided(request.decision) if request.decision is not None else None
    return Predecessors(start, rounds, teachers, decided)


def check_predecessors(
    before: Predecessors, training: Training, intensity: IntensitySettings
) -> None:
    """Raises InputError for one of other data, UsageError where one is missing or one too many."""
    if before.start is not None:
        check_same_training("--start", before.start, training, intensity)
    elif training.split_by == "all":
        raise UsageError(
            "--split-by all validates nothing: it goes on from the weights of a run that did; name "
            "its folder by --start"
        )
    check_teachers(before.teachers, training, intensity)
    if before.decided is None:
        return
    if training.split_by != "all":
        raise UsageError(
            "--decision: a run that validates decides itself; for --split-by all alone"
        )
    decided = before.decided
    if decided.training.data != training.data or decided.intensity != intensity:
        raise InputError("--decision: that run was trained on other data or other intensities")


def _check_same_shape(theirs: UNetSettings, ours: UNetSettings) -> None:
    if theirs.symmetry and not ours.symmetry:
        raise UsageError("--start: that network sees the other side too; give --symmetry")
    if replace(theirs, mirror=ours.mirror, symmetry=ours.symmetry) != ours:
        raise UsageError(
            f"--start: that network has {theirs.features} features, a depth of {theirs.depth} and "
            f"a stride of {theirs.stride}, this one {ours.features}, {ours.depth} and {ours.stride}"
        )
