"""Throughput: slices a second of whole commands on a folder, from command to last file.

All subjects take turns in one run: lgg-infer with each artifact on each provider, and beside it,
where a training run is given, what a notebook does with the same network.
"""

from __future__ import annotations

import shlex
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from lgg_bench.artifacts import describe_artifact, digest_run, label_artifacts, label_precision
from lgg_bench.infer_options import refuse_ruled
from lgg_bench.machine import describe_machine, note_load, note_shared_cores
from lgg_bench.operations import count_operations, count_run_operations
from lgg_bench.record import Record
from lgg_bench.table import Table
from lgg_bench.timing import Spread, describe_spread
from lgg_bench.whole import (
    OUTPUT,
    Ran,
    compare_runs,
    infer_command,
    read_stages,
    run_in_turn,
    run_whole,
)
from lgg_runtime.backends import BackendSettings
from lgg_runtime.errors import UsageError
from lgg_runtime.plural import count
from lgg_runtime.readers.folder import list_studies
from lgg_runtime.readers.listing import RASTER

NOTEBOOK = "PyTorch eager, as a notebook"
_OF_NOTEBOOK = (
    "Notebook: OpenCV reads, PyTorch runs eager float32 in batches of 8, OpenCV writes PNG. "
    "PyTorch compiled, where it takes part: after its first compilation, which PyTorch keeps on "
    "the disk. What is no artifact runs the network of the first one that was named."
)
RIVALS = {
    NOTEBOOK: "eager",
    "PyTorch compiled": "compiled",
    "onnxruntime, defaults": "onnxruntime",
    "OpenVINO, defaults": "openvino",
}
_SIDE = 64


@dataclass(frozen=True)
class ThroughputSettings:
    """providers: of lgg-infer; threads: of every subject; rounds: turns of each; options: more of
    lgg-infer's; rivals: names of what else takes part, where a training run is given; patients:
    so many only, spread over the folder, whose first ones may all be of one scanner; first_look:
    the artifact with which each one takes part once more, None for no such turn.
    """

    providers: tuple[str, ...] = ("cpu",)
    threads: int = 2
    rounds: int = 5
    options: tuple[str, ...] = ()
    rivals: tuple[str, ...] = tuple(RIVALS)
    patients: int | None = None
    first_look: Path | None = None

    def __post_init__(self) -> None:
        if unknown := set(self.rivals) - RIVALS.keys():
            names = " or ".join(map(repr, RIVALS))  # which hold commas
            raise UsageError(f"no rival {unknown.pop()!r}; expected {names}")
        refuse_ruled(self.options)

    def to_json(self) -> dict[str, Any]:
        return {
            "providers": list(self.providers),
            "threads": self.threads,
            "rounds": self.rounds,
            "options": list(self.options),
            "patients": self.patients,
        }


def measure_throughput(
    folder: Path,
    artifacts: Sequence[Path],
    run: Path | None,
    settings: ThroughputSettings,
    progress: bool,
) -> Record:
    """Results: `slices` and `studies` of the folder; `artifacts`, label to precision and digest,
    and `first_look`, its own; `rows`, one for each subject. A row's `engine_busy` is the share of
    the pipeline's time in which the model ran, None for what is not lgg-infer.

    Raises before minutes are measured: UsageError for a run of another network than the first
    artifact's, ModelError or ProviderError for an artifact that a provider cannot run.
    """
    machine = describe_machine()
    files, look = label_artifacts(artifacts), settings.first_look
    for provider in settings.providers:
        backend = BackendSettings(provider, 1)
        described = {label: describe_artifact(path, backend) for label, path in files.items()}
        described_look = None if look is None else describe_artifact(look, backend)
    if run is not None:
        _require_same_network(run, artifacts[0])
    with tempfile.TemporaryDirectory() as taken:
        source = copy_slices(folder, Path(taken) / "in", settings.patients)
        listing = list_studies(source)
        commands = _commands(source, files, run, settings)
        total = len(commands) * settings.rounds
        with tqdm(total=total, unit="run", disable=None if progress else True, leave=False) as bar:
            ran = run_in_turn(commands, settings.rounds, bar.update)
    slices = sum(len(study.files) for study in listing.studies)
    results = {
        "slices": slices,
        "studies": len(listing.studies),
        "run": digest_run(run),
        "artifacts": described,
        "first_look": described_look,
        "rows": [_row(name, runs, ran.get(NOTEBOOK), slices) for name, runs in ran.items()],
    }
    return Record("throughput", settings.to_json(), machine, results)


def _require_same_network(run: Path, artifact: Path) -> None:
    """All rivals run one network, PyTorch's the run's and the others the artifact's; two of one
    shape may have been trained on other patients.
    """
    theirs = count_run_operations(run, _SIDE)
    ours = count_operations(artifact, _SIDE, _SIDE)
    if theirs != ours:
        raise UsageError(
            f"{artifact.name} is of another network than {run}: {ours} operations for a slice of "
            f"{_SIDE} x {_SIDE}, and {theirs}; name an artifact of the run's network first"
        )


def copy_slices(folder: Path, target: Path, patients: int | None) -> Path:
    """A copy of so many patients' slices, without reference masks, as the target folder.

    Of a folder that holds kaggle_3m, those in it: `make data` leaves a link of that name, which
    no listing follows. Raises UsageError for scans, of which a file is no slice, and which no rival
    reads.
    """
    inner = folder / "kaggle_3m"
    listing = list_studies(inner if inner.is_dir() else folder)
    if scans := [study.kind for study in listing.studies if study.kind != RASTER]:
        raise UsageError(f"{folder}: expected pictures, one a slice, found {scans[0]}")
    found = len(listing.studies)
    taken = min(patients or found, found)
    for index in range(taken):
        study = listing.studies[index * found // taken]
        for path in study.files:
            copy = target / path.relative_to(listing.root)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
    return target


def _commands(
    folder: Path, files: dict[str, Path], run: Path | None, settings: ThroughputSettings
) -> dict[str, Callable[..., Ran]]:
    commands: dict[str, Callable[..., Ran]] = {}
    for name in settings.rivals if run is not None else ():
        model = run if "PyTorch" in name else next(iter(files.values()))
        script = [sys.executable, "-m", "lgg_bench.rival", RIVALS[name], str(model)]
        commands[name] = partial(run_whole, [*script, str(folder), OUTPUT], settings.threads)
    ways = {"": settings.options}
    if settings.first_look is not None:
        ways[", first look"] = (*settings.options, "--first-look", str(settings.first_look))
    for label, path in files.items():
        for provider in settings.providers:
            args = infer_command(folder, "-o", OUTPUT, "-m", path, "--provider", provider, "-q")
            for way, options in ways.items():
                commands[f"{label} on {provider}{way}"] = partial(
                    run_whole, [*args, *options], settings.threads, read_stages
                )
    return commands


def _row(
    name: str, runs: Sequence[Ran], reference: Sequence[Ran] | None, slices: int
) -> dict[str, Any]:
    reported = [run for run in runs if run.report]
    busy = [run.report["run"] / run.report["total"] for run in reported]
    of_process = [run.report["run"] / run.seconds for run in reported]
    return {
        "subject": name,
        "seconds": asdict(Spread.of([run.seconds for run in runs])),
        "slices_per_second": asdict(Spread.of([slices / run.seconds for run in runs])),
        "peak_mib": max(run.peak_mib for run in runs),
        "engine_busy": Spread.of(busy).median if busy else None,
        "engine_share_of_process": Spread.of(of_process).median if of_process else None,
        "times_notebook": None if reference is None else asdict(compare_runs(reference, runs)),
    }


def tabulate(record: Record) -> list[Table]:
    """One row for each subject, the fastest last."""
    results, settings, options = record.results, record.settings, record.settings["options"]
    has_notebook = any(row["times_notebook"] is not None for row in results["rows"])
    compared = ["x notebook"] if has_notebook else []
    header = ["", "seconds", "slices/s", *compared, "engine busy", "of process", "peak MiB"]
    rows = [
        [
            label_subject(row["subject"], results),
            describe_spread(row["seconds"], ".2f"),
            f"{row['slices_per_second']['median']:.1f}",
            *([describe_spread(row["times_notebook"], ".1f")] if has_notebook else []),
            _percent(row["engine_busy"]),
            _percent(row["engine_share_of_process"]),
            f"{row['peak_mib']:.0f}",
        ]
        for row in sorted(results["rows"], key=lambda row: -row["seconds"]["median"])
    ]
    title = (
        f"{count(results['slices'], 'slice')} of {count(results['studies'], 'patient')}, "
        f"whole commands, {count(settings['threads'], 'thread')}"
    )
    notes = [
        f"Seconds from the start of the process to the last file on disk, median (quartiles) of "
        f"{count(settings['rounds'], 'round')} in which all subjects take turns; the files had "
        "been read before.",
        *([_OF_NOTEBOOK] if has_notebook else []),
        *([f"lgg-infer ran with {shlex.join(options)}."] if options else []),
        "Engine busy: share of the pipeline's time in which the model ran; of process: of the "
        "whole command's time, with Python's start and the loading of the model.",
        *note_shared_cores(settings["threads"], record.machine),
        *note_load(record.machine, "every subject"),
    ]
    return [Table(title, header, rows, notes)]


def label_subject(subject: str, results: dict[str, Any]) -> str:
    """The subject with its artifact's precision."""
    artifact, on, provider = subject.rpartition(" on ")
    return label_precision(artifact, results) + on + provider


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.0f} %"
