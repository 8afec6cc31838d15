"""lgg-bench: measure artifacts against the PyTorch model, and print what was measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
from lgg_bench.whole_cli import WHOLE
from lgg_runtime import __version__
from lgg_runtime.command_group import CommandGroup
from lgg_runtime.cores import MOST_THREADS
from lgg_runtime.extras import needs_extra
from lgg_runtime.providers import CPU_PRECISIONS, ON_CPU, ON_GPU
from lgg_runtime.terminal import run_command, show, tell

_PROVIDER = click.option("--provider", "--device", default="cpu",
                         type=click.Choice((*ON_CPU, "cuda")),
                         help="Where the artifacts run.")  # fmt: skip
_CPU_PRECISION = click.option("--cpu-precision", type=click.Choice(CPU_PRECISIONS),
                              default="fp32", help="Of --provider openvino.")  # fmt: skip

_RUN = click.option("--run", type=PATH, help="A training run, to time PyTorch beside.")
_SIZE = click.option("--size", type=click.IntRange(32), default=256,
                     help="Height and width of a slice.")  # fmt: skip
_MODEL = click.option("-m", "--model", default="standard",
                      help="A shipped model's name or a file.")  # fmt: skip


@click.group(
    "lgg-bench", cls=CommandGroup, commands=WHOLE.commands, context_settings={"show_default": True}
)
@click.version_option(__version__, prog_name="lgg-bench")
def command() -> None:
    """Measure artifacts against the PyTorch model. Research use only, not for diagnosis."""


@command.command()
@click.argument("run", type=PATH)
@ARTIFACTS
@click.option("--data", type=PATH, help="Folder kaggle_3m, or one that holds it.  [default: the "
              "run's own; where that is not there, six phantoms]")  # fmt: skip
@click.option("--split", "part", type=PARTS, help="Whose patients.  [default: test]")
@LIMIT
@_PROVIDER
@_CPU_PRECISION
@OUTPUT
@NO_PROGRESS
def parity(
    run: Path,
    artifacts: tuple[Path, ...],
    data: Path | None,
    part: str | None,
    limit: int | None,
    provider: str,
    cpu_precision: str,
    output: Path | None,
    no_progress: bool,
) -> None:
    """Quality of a run's network and of its artifacts on test patients, with a verdict each.

    Ends with exit code 9 where an artifact differs beyond its precision's limits.
    """
    from lgg_bench.parity import ParitySettings, measure_parity, require_parity

    settings = ParitySettings(part, data, limit, provider, cpu_precision=cpu_precision)
    record = measured(output, lambda: measure_parity(run, artifacts, settings, not no_progress))
    require_parity(record)


@command.command()
@ARTIFACTS
@_RUN
@click.option("--batch", "batches", type=click.IntRange(1), multiple=True, default=(1, 8),
              callback=refuse_repeated,
              help="Slices of a call; give it again for more.")  # fmt: skip
@click.option("--threads", type=click.IntRange(1, MOST_THREADS), multiple=True,
              callback=refuse_repeated,
              help="Computing threads; give it again for more.  [default: all cores]")  # fmt: skip
@_SIZE
@click.option("--rounds", type=click.IntRange(1), default=20, help="Turns of each subject.")
@_PROVIDER
@_CPU_PRECISION
@OUTPUT
@NO_PROGRESS
def latency(
    artifacts: tuple[Path, ...],
    run: Path | None,
    batches: tuple[int, ...],
    threads: tuple[int, ...],
    size: int,
    rounds: int,
    provider: str,
    cpu_precision: str,
    output: Path | None,
    no_progress: bool,
) -> None:
    """Milliseconds a slice, cold and warm, by batch and threads; all subjects take turns."""
    from lgg_bench.latency import LatencySettings, measure_latency
    from lgg_bench.timing import TimingSettings

    settings = LatencySettings(
        batches, threads, size, provider, TimingSettings(rounds), cpu_precision
    )
    measured(output, lambda: measure_latency(artifacts, run, settings, not no_progress))


@command.command()
@ARTIFACTS
@_RUN
@click.option("--batch", "batches", type=click.IntRange(1), multiple=True, default=(1, 8, 64),
              callback=refuse_repeated,
              help="Slices of a call; give it again for more.")  # fmt: skip
@_SIZE
@click.option("--provider", type=click.Choice((*ON_GPU, "cpu")), default="cuda")
@click.option("--minutes", type=click.FloatRange(0, min_open=True), default=5.0,
              help="What the timed calls may take in all.")  # fmt: skip
@click.option("--patients", type=click.IntRange(1), default=8, help="Phantoms in the folder.")
@OUTPUT
def gpu(
    artifacts: tuple[Path, ...],
    run: Path | None,
    batches: tuple[int, ...],
    size: int,
    provider: str,
    minutes: float,
    patients: int,
    output: Path | None,
) -> None:
    """A GPU in one go: throughput, latency, compute apart, ceilings, parity and memory."""
    from lgg_bench.gpu import GpuBenchSettings, measure_gpu

    settings = GpuBenchSettings(batches, size, provider, minutes, patients)
    measured(output, lambda: measure_gpu(artifacts, run, settings, tell))


@command.command()
@click.option("--slices", type=click.IntRange(4), default=30, help="Of each sequence.")
@_SIZE
@click.option("--rounds", type=click.IntRange(1), default=5, help="Studies, one after the other.")
@click.option("--waiting", type=click.IntRange(1), default=100,
              help="Studies of FLAIR alone, all at once.")  # fmt: skip
@_MODEL
@click.option("--provider", type=click.Choice(ON_CPU), default="cpu")
@OUTPUT
def node(output: Path | None, **options: Any) -> None:
    """The DICOM node: seconds from a study's last image to the result, memory of a queue."""
    from lgg_bench.node import NodeBenchSettings, measure_node

    settings = NodeBenchSettings(**options)
    measured(output, lambda: measure_node(settings, tell))


@command.command()
@_MODEL
@click.option("--slices", type=click.IntRange(2), default=100_000, help="In all or more: rounds of "
              "1,000 go on until two have ended after the warm-up.")  # fmt: skip
@click.option("--warm-up", type=click.IntRange(1), default=5_000,
              help="Slices after which the memory may hardly grow.")  # fmt: skip
@OUTPUT
def soak(model: str, slices: int, warm_up: int, output: Path | None) -> None:
    """Slices of varied shapes for hours, with memory, descriptors and threads watched."""
    from lgg_bench.soak import SoakSettings, measure_soak

    measured(output, lambda: measure_soak(model, SoakSettings(slices, warm_up), tell))


@command.command()
@click.option("--data", required=True, type=PATH, help="Folder kaggle_3m, or one that holds it.")
@click.option("--split", required=True, type=PATH, help="The split file of the shipped run.")
@OUTPUT
def plausibility(data: Path, split: Path, output: Path | None) -> None:
    """How often the check of inputs warns: of other pictures, and of test patients."""
    from lgg_bench.plausibility import PlausibilityBench, measure_plausibility

    measured(output, lambda: measure_plausibility(data, split, PlausibilityBench()))


@command.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=PATH)
def table(files: tuple[Path, ...]) -> None:
    """Print recorded measurements as Markdown."""
    from lgg_bench.record import Record
    from lgg_bench.tables import describe_record

    show("\n\n".join(describe_record(Record.read(path), path) for path in files))


@command.command()
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=PATH)
@click.option("-o", "--output", "page", type=PATH, default="docs/accuracy.md",
              help="The page to fill; its pictures go into a folder beside it.")  # fmt: skip
@click.option("--cv", "folds", type=PATH, multiple=True, help="A cross-validation's cv.json, as "
              "cv-NAME.json; give it again for more.")  # fmt: skip
@click.option("--leak", "leaks", type=PATH, multiple=True, help="A run of the recipe that is "
              "split in more than one way; give it again for each split.")  # fmt: skip
def accuracy(
    runs: tuple[Path, ...], page: Path, folds: tuple[Path, ...], leaks: tuple[Path, ...]
) -> None:
    """Fill the accuracy page from the scores in the folders of trained runs."""
    with needs_extra("train"):
        from lgg_bench.accuracy import Evidence, write_accuracy

    write_accuracy(Evidence.read(runs, folds, leaks), page)
    show(f"{page} is filled from {', '.join(run.name for run in runs)}")


def main() -> None:
    run_command(command)


if __name__ == "__main__":
    main()
