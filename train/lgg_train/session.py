"""From data and options to a finished run folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from lgg_runtime.cleanup import CleanupSettings, clean_up
from lgg_runtime.contract import Training
from lgg_runtime.errors import InputError, UsageError
from lgg_runtime.intensity import IntensitySettings
from lgg_runtime.metrics import Counts
from lgg_runtime.writers.atomic import make_folder
from lgg_train.cases import CaseFiles, digest_cases, find_cases, load_cases
from lgg_train.dataset import SampleSettings, TrainingSlices
from lgg_train.decision import choose_decision
from lgg_train.evaluation import Prediction, predict_cases
from lgg_train.figures import draw_curves
from lgg_train.fold_decision import load_decided
from lgg_train.history import carry_rounds, read_history, read_rounds
from lgg_train.loop import choose_device, load_same, train
from lgg_train.options import record_options
from lgg_train.report import write_report
from lgg_train.run import (
    CONFIG_FILE,
    LAST_FILE,
    MODEL_FILE,
    SPLIT_FILE,
    TrainedModel,
    check_same_training,
    describe_training,
    digest_model,
    load_model,
    read_digests,
    read_json,
    save_model,
    versions,
    write_json,
)
from lgg_train.schedule import Budget
from lgg_train.settings import Machinery, Origin, TrainSettings
from lgg_train.splits import Split, SplitSettings, check_held, make_split
from lgg_train.teachers import check_teachers, load_teachers
from lgg_train.unet import UNet, UNetSettings


def run_training(data: Path, out: Path, options: dict[str, Any]) -> str:
    """Train, choose the decision and score the validation patients; returns the scores as text."""
    start = load_model(options["start"]) if options["start"] is not None else None
    teachers = load_teachers(options["teachers"], options["crop"])
    settings = _train_settings(options)
    if start is not None:
        _check_same_shape(start.network.settings, settings.unet)
        rounds = read_rounds(options["start"])
    files = find_cases(data)
    if options["resume"]:
        _require_begun(out)
    else:
        make_folder(out)
        _require_no_run(out)
    split = _open_split(files, out, options)
    cases = {case.patient: case for case in load_cases(files, not options["no_progress"])}
    training = describe_training(split, digest_cases(cases.values()))
    digests = {name: case.digest for name, case in sorted(cases.items())}
    intensity = IntensitySettings()
    if start is not None:
        check_same_training("--start", start, training, intensity)
    elif training.split_by == "all":
        raise UsageError("--split-by all validates nothing; --start names the run that decided")
    check_teachers(teachers, training, intensity)
    decided = start
    if options["decision"] is not None:
        decided = load_decided(options["decision"])
        _check_decided(decided, training, intensity)
    device = choose_device(options["device"])
    config = {
        "data": str(data.resolve()),
        "training": asdict(training),
        "settings": settings.to_json(),
        "options": record_options(options),
        "intensity": intensity.to_json(),
        "device": str(device),
        "versions": versions(),
        "digests": digests,
    }
    if options["resume"]:
        _check_resumed(out, config, settings)
    split.write(out / SPLIT_FILE)
    write_json(out / CONFIG_FILE, config)
    if start is not None and not options["resume"]:
        carry_rounds(rounds, out)
    slices = TrainingSlices(
        [cases[name] for name in split.patients("train")],
        split.parts["train"],
        intensity,
        settings.samples,
    )
    held = [cases[name] for name in split.patients("validation")]
    used = split.parts["validation"]
    cases.clear()

    def validate(network: nn.Module) -> dict[str, float]:
        if not held:
            return {}
        return _validate(list(predict_cases(network, held, used, intensity, fast=True)))

    machinery = Machinery(
        device,
        workers=options["workers"],
        compiled=options["compiled"],
        progress=not options["no_progress"],
        tensorboard=options["tensorboard"],
    )
    network = train(
        slices,
        settings,
        machinery,
        out,
        validate,
        Origin(
            start.network if start else None,
            options["resume"],
            tuple(teacher.model.network for teacher in teachers),
        ),
    )
    if decided is not None and not held:
        after = f"; then trained on all {len(files)} patients"
        how = decided.decision.how.removesuffix(after) + after
        decision = replace(decided.decision, how=how)
        save_model(out, TrainedModel(network.cpu(), decision, intensity, training))
        return (
            f"{out}: trained on all {len(files)} patients; threshold and clean-up are those of "
            f"{options['decision'] or options['start']}\nResearch use only, not for diagnosis."
        )
    predictions = list(predict_cases(network, held, used, intensity))
    return _finish(out, network, intensity, training, predictions)


def recorded_options(out: Path) -> dict[str, Any]:
    """The options that the run in this folder was begun with.

    None where it recorded none. Raises InputError for a folder without a run, or a damaged one.
    """
    _require_begun(out)
    config = read_json(out / CONFIG_FILE)
    recorded = config.get("options", {}) if isinstance(config, dict) else None
    if not isinstance(recorded, dict):
        raise InputError(f"{out / CONFIG_FILE}: no options of a run in it")
    return recorded


def _require_begun(out: Path) -> None:
    """Raises InputError where there is no run to go on with."""
    if not (out / CONFIG_FILE).is_file():
        raise InputError(f"{out}: no run to go on with; leave --resume out to begin one")


def _require_no_run(out: Path) -> None:
    """Raises UsageError where the folder holds a run, finished or not."""
    if (out / LAST_FILE).exists():
        raise UsageError(f"{out} holds a run already; --resume goes on with it")
    if (out / MODEL_FILE).exists():
        raise UsageError(f"{out} holds a finished run; choose another folder")


def check_same_run(
    out: Path, files: Sequence[CaseFiles], digests: dict[str, str], options: dict[str, Any]
) -> None:
    """Raises InputError where the run in this folder has other data, another split or other
    settings than these give; its own are what is not asked for anew.

    digests: of each patient of the data.
    """
    if read_digests(out) != digests:
        raise InputError(f"{out}: a run on other data; choose another folder")
    if Split.read(out / SPLIT_FILE) != _open_split(files, out, {**options, "resume": False}):
        raise InputError(f"{out}: a run with another split; choose another folder")
    theirs = read_json(out / CONFIG_FILE)["settings"]
    ours = _train_settings(options).to_json()
    if other := [key for key in ours if theirs.get(key, ours[key]) != ours[key]]:
        raise InputError(f"{out}: a run with other settings ({', '.join(other)}); choose another")


def _train_settings(options: dict[str, Any]) -> TrainSettings:
    seed = options["seed"]
    return TrainSettings(
        Budget(options["epochs"], options["minutes"]),
        UNetSettings(
            options["features"],
            options["depth"],
            mirror=options["mirror"],
            stride=options["stride"],
        ),
        SampleSettings(
            options["batch"], options["tumour"], options["crop"], seed, options["augmentation"]
        ),
        peak_rate=options["rate"],
        precision=options["precision"],
        seed=seed,
        validations=options["validations"],
        start=digest_model(options["start"]) if options["start"] is not None else None,
        teachers=tuple(digest_model(run) for run in options["teachers"]),
    )


def _check_same_shape(theirs: UNetSettings, ours: UNetSettings) -> None:
    if replace(theirs, mirror=ours.mirror) != ours:
        raise UsageError(
            f"--start: that network has {theirs.features} features, a depth of {theirs.depth} and "
            f"a stride of {theirs.stride}, this one {ours.features}, {ours.depth} and {ours.stride}"
        )


def _check_decided(decided: TrainedModel, training: Training, intensity: IntensitySettings) -> None:
    if training.split_by != "all":
        raise UsageError(
            "--decision: a run that validates decides itself; for --split-by all alone"
        )
    if decided.training.data != training.data or decided.intensity != intensity:
        raise InputError("--decision: that run was trained on other data or other intensities")


def _open_split(files: Sequence[CaseFiles], out: Path, options: dict[str, Any]) -> Split:
    """The run's own split where it resumes, a given one, or a new one."""
    if options["resume"]:
        return Split.read(out / SPLIT_FILE)
    by, seed = options["split_by"], options["split_seed"]
    asked = SplitSettings(by, seed=seed, folds=options["folds"], fold=options["fold"])
    if options["split_file"] is None:
        split = make_split(files, asked)
    elif asked == SplitSettings():
        split = Split.read(options["split_file"])
    else:
        raise UsageError(
            "--split names the slices; leave --split-by, --split-seed, --folds and --fold out"
        )
    known = {case.patient: case for case in files}
    for members in split.parts.values():
        check_held(members, known)
    if split.by == "all" and split != make_split(files, SplitSettings("all", seed=split.seed)):
        raise InputError("the split, by all, leaves slices of the data out")
    return split


def _check_resumed(out: Path, config: dict[str, Any], settings: TrainSettings) -> None:
    """A run that cannot be gone on with is refused before anything in its folder is changed."""
    if read_json(out / CONFIG_FILE)["training"] != config["training"]:
        raise InputError(f"{out}: the run was begun on other data or another split")
    load_same(out / LAST_FILE, settings)


def _validate(predictions: Sequence[Prediction]) -> dict[str, float]:
    """Numbers for the history, at a threshold of 0.5: raw, and with the largest component alone."""
    raw: list[Counts] = []
    largest: list[Counts] = []
    for p in predictions:
        used = list(p.used)
        mask = p.probability >= 0.5
        raw.append(Counts.of(mask[used], p.truth[used]))
        kept = clean_up(mask, CleanupSettings(smallest_fraction=1.0))
        largest.append(Counts.of(kept[used], p.truth[used]))
    pooled = sum(raw, Counts())
    return {
        "dice_mean": float(np.mean([c.dice for c in raw])),
        "dice_median": float(np.median([c.dice for c in raw])),
        "dice_mean_largest": float(np.mean([c.dice for c in largest])),
        "f1": pooled.dice,
        "recall": pooled.recall,
    }


def _finish(
    out: Path,
    network: UNet,
    intensity: IntensitySettings,
    training: Any,
    predictions: Sequence[Prediction],
) -> str:
    decision = choose_decision([(p.probability, p.truth, p.used) for p in predictions])
    model = TrainedModel(network.to(torch.device("cpu")), decision, intensity, training)
    save_model(out, model)
    draw_curves(read_history(out), out / "curves.png")
    return write_report(out, model, "validation", predictions)
