"""The commands of lgg-bench that measure whole processes on this machine's processor."""

from __future__ import annotations

from pathlib import Path

import click

from lgg_bench.options import (
    ARTIFACTS,
    LIMIT,
    NO_PROGRESS,
    OUTPUT,
    PARTS,
    PATH,
    measured,
    refuse_repeated,
)
from lgg_runtime.cores import MOST_THREADS
from lgg_runtime.extras import needs_extra
from lgg_runtime.providers import ON_CPU
from lgg_runtime.terminal import show

WHOLE = click.Group()
_ARTIFACT = click.argument("artifact", type=PATH)
_THREADS = click.option("--threads", type=click.IntRange(1, MOST_THREADS), default=2)
_ENGINE = click.Choice(ON_CPU)
_PROVIDERS = click.option("--provider", "providers", type=_ENGINE, multiple=True, default=("cpu",),
                          callback=refuse_repeated,
                          help="Of lgg-infer; give it again for more.")  # fmt: skip
_PATIENTS = click.option("--patients", type=click.IntRange(1),
                         help="So many only, spread over the folder.")  # fmt: skip
_FIRST_LOOK = click.option("--first-look", type=PATH,
                           help="Each artifact once more behind this first look.")  # fmt: skip
_ROUNDS = click.option("--rounds", type=click.IntRange(1), default=5, help="Turns of each subject.")


@WHOLE.command()
@click.argument("folder", type=PATH)
@ARTIFACTS
@_PROVIDERS
@_THREADS
@_ROUNDS
@click.option("--infer-option", "options", multiple=True, help="More of lgg-infer's options.")
@_PATIENTS
@OUTPUT
@NO_PROGRESS
def throughput(
    folder: Path,
    artifacts: tuple[Path, ...],
    providers: tuple[str, ...],
    threads: int,
    rounds: int,
    options: tuple[str, ...],
    patients: int | None,
    output: Path | None,
    no_progress: bool,
) -> None:
    """Slices a second of lgg-infer on FOLDER, from command to last file."""
    from lgg_bench.throughput import ThroughputSettings, measure_throughput

    settings = ThroughputSettings(providers, threads, rounds, options, (), patients)
    measured(output, lambda: measure_throughput(folder, artifacts, None, settings, not no_progress))


@WHOLE.command()
@click.argument("folder", type=PATH)
@click.argument("run", type=PATH)
@ARTIFACTS
@_PROVIDERS
@_THREADS
@_ROUNDS
@click.option("--rival", "rivals", multiple=True, callback=refuse_repeated,
              help="Name of one that runs; give it again for more.  [default: all]")  # fmt: skip
@_PATIENTS
@_FIRST_LOOK
@OUTPUT
@NO_PROGRESS
def peers(
    folder: Path,
    run: Path,
    artifacts: tuple[Path, ...],
    providers: tuple[str, ...],
    threads: int,
    rounds: int,
    rivals: tuple[str, ...],
    patients: int | None,
    first_look: Path | None,
    output: Path | None,
    no_progress: bool,
) -> None:
    """Slices a second of lgg-infer beside what a notebook does with RUN's network, in turns.

    Rivals on full frames: PyTorch eager and compiled; onnxruntime and OpenVINO with no option set,
    on the first artifact.
    """
    from lgg_bench.throughput import RIVALS, ThroughputSettings, measure_throughput

    chosen = rivals or tuple(RIVALS)
    settings = ThroughputSettings(providers, threads, rounds, (), chosen, patients, first_look)
    measured(output, lambda: measure_throughput(folder, artifacts, run, settings, not no_progress))


@WHOLE.command()
@_ARTIFACT
@click.option("--slices", type=click.IntRange(25), multiple=True, default=(500, 20_000),
              callback=refuse_repeated,
              help="Of a folder, in steps of 25; give it again for more.")  # fmt: skip
@click.option("--provider", type=_ENGINE, default="cpu")
@_THREADS
@OUTPUT
def memory(
    artifact: Path, slices: tuple[int, ...], provider: str, threads: int, output: Path | None
) -> None:
    """Peak memory of lgg-infer on few and on many phantom slices."""
    from lgg_bench.memory import MemorySettings, measure_memory

    settings = MemorySettings(slices, provider, threads)
    measured(output, lambda: measure_memory(artifact, settings))


@WHOLE.command()
@_ARTIFACT
@_PROVIDERS
@_THREADS
@click.option("--rounds", type=click.IntRange(1), default=9, help="Turns of each command.")
@OUTPUT
def coldstart(
    artifact: Path, providers: tuple[str, ...], threads: int, rounds: int, output: Path | None
) -> None:
    """What the shortest commands take, and where the time of one slice goes."""
    from lgg_bench.coldstart import ColdstartSettings, measure_coldstart

    settings = ColdstartSettings(providers, threads, rounds)
    measured(output, lambda: measure_coldstart(artifact, settings))


@WHOLE.command()
@ARTIFACTS
@_THREADS
@OUTPUT
def roofline(artifacts: tuple[Path, ...], threads: int, output: Path | None) -> None:
    """What this machine computes at best, and the fraction of it that engines reach."""
    with needs_extra("train"):
        from lgg_bench.roofline import RooflineSettings, measure_roofline

    measured(output, lambda: measure_roofline(artifacts, RooflineSettings(threads)))


@WHOLE.command()
@click.argument("results", type=PATH, default="docs/results")
@click.option("-o", "--output", "page", type=PATH, default="docs/performance.md",
              help="The page to fill; its picture goes into a folder beside it.")  # fmt: skip
def performance(results: Path, page: Path) -> None:
    """Fill the performance page from the measurements in the folder RESULTS."""
    with needs_extra("train"):
        from lgg_bench.performance import write_performance

    write_performance(results, page)
    show(f"{page} is filled from {results}")


@WHOLE.command()
@click.argument("run", type=PATH)
@ARTIFACTS
@click.option("--data", type=PATH, required=True, help="Folder kaggle_3m, or one that holds it.")
@click.option("--split", "part", type=PARTS, default="test")
@LIMIT
@_PROVIDERS
@_FIRST_LOOK
@OUTPUT
@NO_PROGRESS
def quality(
    run: Path,
    artifacts: tuple[Path, ...],
    data: Path,
    part: str,
    limit: int | None,
    providers: tuple[str, ...],
    first_look: Path | None,
    output: Path | None,
    no_progress: bool,
) -> None:
    """Dice and recall of what lgg-infer runs, as it is, with head crop and after a first look,
    against RUN's network.
    """
    from lgg_bench.quality import QualitySettings, measure_quality

    settings = QualitySettings(part, providers, limit=limit, first_look=first_look)
    measured(output, lambda: measure_quality(run, artifacts, data, settings, not no_progress))
