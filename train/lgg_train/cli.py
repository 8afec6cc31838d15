"""lgg-train: train the U-Net on the public layout, evaluate it, make phantoms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lgg_runtime import __version__
from lgg_runtime.command_group import CommandGroup
from lgg_runtime.extras import needs_extra
from lgg_runtime.plural import count
from lgg_runtime.terminal import run_command, show
from lgg_train.options import NO_PROGRESS, recall_options, refuse_another_split, training_options

_PATH = click.Path(path_type=Path)
_DATA = click.option(
    "--data", required=True, type=_PATH, help="Folder kaggle_3m, or one that holds it."
)
_DEVICE = click.option("--device", type=click.Choice(("auto", "cpu", "cuda")), default="auto")


@click.group("lgg-train", cls=CommandGroup)
@click.version_option(__version__, prog_name="lgg-train")
def command() -> None:
    """Dataset to checkpoint. Research use only, not for diagnosis."""


@command.command(context_settings={"show_default": True})
@_DATA
@click.option("-o", "--out", required=True, type=_PATH, help="The run's folder.")
@training_options
@click.option("--split-by", type=click.Choice(("patient", "slice", "all")), default="patient",
              help="all: every patient trains; with --start, whose decision stays.")  # fmt: skip
@click.option("--folds", type=click.IntRange(2), help="Deal the patients into that many folds.")
@click.option("--fold", type=click.IntRange(0), show_default="0 with --folds",
              help="The fold that tests.")  # fmt: skip
@click.option("--split", "split_file", type=_PATH, help="Use this split file.")
@click.option("--decision", type=_PATH, help="With --split-by all: threshold and clean-up of "
              "that finished run or decided cross-validation, not of --start.")  # fmt: skip
@click.option("--resume", is_flag=True, help="Go on from the folder's last checkpoint, with the "
              "run's own options; those given must be the same.")  # fmt: skip
def train(data: Path, out: Path, **options: Any) -> None:
    """Train for a budget, choose the decision on validation patients, write the run's folder."""
    with needs_extra("train"):
        from lgg_train.beginning import recorded_options
        from lgg_train.request import read_request
        from lgg_train.session import run_training

    context = click.get_current_context()
    refuse_another_split(context)
    if options["resume"]:
        options |= recall_options(recorded_options(out), context)
    show(run_training(data, out, read_request(options)))


@command.command(context_settings={"show_default": True})
@_DATA
@click.option("-o", "--out", required=True, type=_PATH, help="Folder of the folds' runs.")
@click.option("--folds", type=click.IntRange(2), default=5, help="Deal the patients into as many.")
@training_options
def cv(data: Path, out: Path, folds: int, **options: Any) -> None:
    """Cross-validate by patient: train and test every fold, go on where a call was broken off."""
    with needs_extra("train"):
        from lgg_train.crossval import run_cross_validation
        from lgg_train.request import read_request

    show(run_cross_validation(data, out, folds, read_request(options)))


@command.command(context_settings={"show_default": True})
@click.argument("folder", type=_PATH)
@_DATA
@_DEVICE
@NO_PROGRESS
def decide(folder: Path, data: Path, device: str, no_progress: bool) -> None:
    """Choose threshold and clean-up over all patients of a cross-validation, for --decision."""
    with needs_extra("train"):
        from lgg_train import fold_decision

    show(fold_decision.decide(folder, data, device, not no_progress))


@command.command(context_settings={"show_default": True})
@click.argument("run", type=_PATH)
@_DATA
@click.option("--split", "part", type=click.Choice(("test", "validation", "train")), default="test")
@_DEVICE
@click.option("--flair-only", is_flag=True, help="Put FLAIR in the place of the other sequences.")
@NO_PROGRESS
def evaluate(
    run: Path, data: Path, part: str, device: str, flair_only: bool, no_progress: bool
) -> None:
    """Score a run on one part of its split, as the notebook does and by patient; scores and
    pictures are written into RUN.
    """
    with needs_extra("train"):
        from lgg_train.report import run_evaluation

    show(run_evaluation(run, data, part, device, flair_only, not no_progress))


@command.command(context_settings={"show_default": True})
@click.option("-o", "--out", required=True, type=_PATH, help="Folder for kaggle_3m.")
@click.option("--patients", type=click.IntRange(1), default=20)
@click.option("--slices", type=click.IntRange(2), default=24, help="Slices a patient.")
@click.option("--size", type=click.IntRange(32), default=256, help="Pixels a side of a slice.")
@click.option("--seed", type=int, default=0)
@click.option("--format", "form", type=click.Choice(("tiff", "dicom", "nifti")), default="tiff",
              help="The dataset's layout, or scans with their place in the world.")  # fmt: skip
@click.option("--plane", type=click.Choice(("axial", "mirrored", "coronal", "sagittal", "oblique")),
              default="axial", help="Of a scan's slices.")  # fmt: skip
@click.option("--anisotropic", is_flag=True, help="A scan's columns twice as wide as its rows.")
@click.option("--reversed", is_flag=True, help="DICOM: number slices against their order.")
@click.option("--gap", is_flag=True, help="DICOM: leave one inner slice out.")
def phantom(out: Path, form: str, **options: Any) -> None:
    """Make phantom patients by code: slices in the public layout, or scans with the truth."""
    from lgg_train.phantom import PhantomSettings, write_phantoms

    drawn = ("patients", "slices", "size", "seed")
    settings = PhantomSettings(**{name: options.pop(name) for name in drawn})
    patients, slices = settings.patients, settings.slices
    if form != "dicom" and (options["gap"] or options["reversed"]):
        raise click.UsageError("--gap and --reversed: for --format dicom")
    if form != "tiff":
        from lgg_train.phantom_files import write_scans
        from lgg_train.phantom_scan import ScanSettings

        if options["gap"] and slices < 4:
            raise click.UsageError("--gap: expected at least 4 slices, of which an inner one goes")
        write_scans(out, form, settings, ScanSettings(**options))
        studies = count(patients, "phantom study", "phantom studies")
        show(f"{studies} in {out / form}, the truth in {out / 'truth'}")
        return
    if unused := [name for name, value in options.items() if value not in (False, "axial")]:
        raise click.UsageError(f"--{unused[0]}: for --format dicom or nifti")
    write_phantoms(out, settings)
    made = f"{count(patients, 'phantom patient')} of {count(slices, 'slice')}"
    show(f"{made} in {out / 'kaggle_3m'}")


@command.command()
@click.option("-o", "--out", required=True, type=_PATH, help="Folder for kaggle_3m.")
def data(out: Path) -> None:
    """Fetch the public dataset with kagglehub, or say how to get it."""
    from lgg_train.fetch import fetch_dataset

    show(f"The dataset is in {fetch_dataset(out)}")


def main() -> None:
    run_command(command)


if __name__ == "__main__":
    main()
