"""lgg-infer: find tumour in MRI slices with an exported model. Research use only."""

from __future__ import annotations

import os
import sys
from contextlib import AbstractContextManager, closing, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lgg_runtime.terminal import run_command, told_at_the_end

if TYPE_CHECKING:
    from lgg_runtime.job import Job
    from lgg_runtime.journal import Journal
    from lgg_runtime.pacs.pull import Pull
    from lgg_runtime.reading import Reading
    from lgg_runtime.segmenter import Segmenter

EXIT_CODES = """lgg-infer doctor says what works on this machine.

\b
Exit codes: 0 all done, 2 usage, 3 some inputs failed, 4 no usable input, 5 model refused,
6 provider unavailable, 7 disk or memory exhausted, 8 output conflict, 130 and 143 signals."""


_OUTPUT_TYPES = ("mask", "dicom-seg", "dicom-seg-fractional", "nifti", "dicom-sc", "dicom-sr")


class NamedPath(click.Path):
    """A path that is not empty: an unset variable would name the current folder."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("it is empty; '.' names the current folder", param, ctx)
        return super().convert(value, param, ctx)


@click.command("lgg-infer", epilog=EXIT_CODES, context_settings={"show_default": True})
@click.argument("source", metavar="[INPUT]", required=False, type=NamedPath(path_type=Path))
@click.option("-o", "--output", required=True, type=NamedPath(path_type=Path, file_okay=False),
              help="Folder for the results; made if it is not there.")  # fmt: skip
@click.option("-m", "--model", default="standard", help="A shipped model's name or a file.")
@click.option("--model-sha256", metavar="DIGEST", help="Refuse a model of another SHA-256.")
@click.option("--require-signature", type=click.Path(path_type=Path), metavar="PUBLIC_KEY",
              help="Refuse a model that this Ed25519 key did not sign.")  # fmt: skip
@click.option("--provider", "--device", default="cpu",
              type=click.Choice(("cpu", "openvino", "cuda", "tensorrt", "auto")),
              help="Where the model runs; one that cannot is an error.")  # fmt: skip
@click.option("--threads", type=click.IntRange(1), help="Computing threads.  [default: all cores]")
@click.option("--batch", type=click.IntRange(1),
              help="Slices a run of the model.  [default: 16 on a CPU, else 8]")  # fmt: skip
@click.option("--cpu-precision", type=click.Choice(("fp32", "bf16")), default="fp32",
              help="Arithmetic of --provider openvino.")  # fmt: skip
@click.option("--gpu-index", type=click.IntRange(0), default=0, help="The GPU's number.")
@click.option("--gpu-memory", type=click.IntRange(1), metavar="MIB",
              help="Limit of the GPU memory that onnxruntime takes.  [default: none]")  # fmt: skip
@click.option("--cuda-graph", is_flag=True, help="Record and replay a GPU run of each shape.")
@click.option("--engine-cache", type=click.Path(path_type=Path, file_okay=False),
              help="Folder of compiled engines.  [default: the user's cache]")  # fmt: skip
@click.option("--threshold", type=click.FloatRange(0, 1, min_open=True, max_open=True),
              help="Probability from which a pixel is tumour.  [default: the model's]")  # fmt: skip
@click.option("--flair-only", is_flag=True, help="Use FLAIR in place of the other sequences.")
@click.option("--crop/--no-crop", default=False,
              help="Run the box of the head alone: faster, and a mask may change.")  # fmt: skip
@click.option("--first-look", metavar="MODEL",
              help="Run the model only where this quick one (tiny, or a file) finds a sign of "
              "tumour: up to twice as fast, and a mask may change.")  # fmt: skip
@click.option("--first-look-sha256", metavar="DIGEST",
              help="Refuse a first look of another SHA-256.")  # fmt: skip
@click.option("-ot", "--output-type", "output_types", multiple=True, default=("mask",),
              type=click.Choice(_OUTPUT_TYPES), help="What to write; several at once.")  # fmt: skip
@click.option("--series-uid", "series_uids", multiple=True, help="DICOM: read these series alone.")
@click.option("--flair", help="DICOM: number or UID of the FLAIR series.  [default: recognised]")
@click.option("--t1", help="DICOM: of T1 before contrast.  [default: recognised]")
@click.option("--t1c", help="DICOM: of T1 after contrast.  [default: recognised]")
@click.option("--from", "origin", nargs=2, type=(click.Choice(("dicomweb",)), str),
              metavar="dicomweb URL", help="Server to fetch --study from.")  # fmt: skip
@click.option("--study", metavar="UID", help="StudyInstanceUID of the study to fetch.")
@click.option("--store-back", is_flag=True, help="Store the DICOM results on that server.")
@click.option("-p", "--preview", is_flag=True, help="Write an overlay a slice.")
@click.option("--save-heatmap", is_flag=True, help="Write a heatmap a slice.")
@click.option("--save-probabilities", is_flag=True, help="Write float32 TIFF a slice.")
@click.option("--evaluate", is_flag=True, help="Score against the *_mask files beside the slices.")
@click.option("--resume", is_flag=True, help="Go on with an earlier run into the same folder.")
@click.option("--json", "as_json", is_flag=True, help="Print run.json in place of the table.")
@click.option("--no-progress", is_flag=True, help="No progress bar.")
@click.option("-q", "--quiet", is_flag=True, help="Print errors only.")
@click.version_option(package_name="lgg-edge", prog_name="lgg-infer")
def command(source: Path | None, output: Path, quiet: bool, as_json: bool, **options: Any) -> int:
    """Find tumour in MRI slices. Research use only, not for diagnosis.

    INPUT is a slice, a folder or a tree of TIFF, PNG or JPEG slices whose channels are
    pre-contrast, FLAIR and post-contrast. Slices of one folder and one stem, numbered, are one
    patient's volume. A DICOM study, a DICOMDIR and NIfTI are read too, in a tree or alone.
    """
    pull = _read_pull(source, options)
    with _given(source, pull) as given:
        journal = _infer(given, output, quiet or as_json, options, pull)
    _print(journal, output, quiet, as_json)
    if not journal.failures:
        return 0
    return 3 if journal.patients else 4


def _read_pull(source: Path | None, options: dict[str, Any]) -> Pull | None:
    if source is not None and not any(options[name] for name in ("origin", "study", "store_back")):
        return None  # what asks a server is not loaded
    from lgg_runtime.pacs.pull import read_pull

    return read_pull(source, options)


def _given(source: Path | None, pull: Pull | None) -> AbstractContextManager[Path]:
    if pull is None:
        return nullcontext(source or Path())
    from lgg_runtime.pacs.pull import fetched

    return fetched(pull)


def _infer(
    source: Path, output: Path, silent: bool, options: dict[str, Any], pull: Pull | None
) -> Journal:
    from lgg_runtime.destination import check_output, check_places
    from lgg_runtime.journal import Journal
    from lgg_runtime.pipeline import Job
    from lgg_runtime.provenance import describe, settings_of
    from lgg_runtime.readers.dicom_series import SeriesChoice
    from lgg_runtime.readers.folder import list_studies
    from lgg_runtime.reading import Reading
    from lgg_runtime.request import check_evaluable, check_request
    from lgg_runtime.segmenter import Segmenter
    from lgg_runtime.writers.atomic import make_folder, require_folder

    check_output(output, source)
    listing = list_studies(source)
    check_places(output, source, listing)
    if options["evaluate"]:
        check_evaluable(listing)
    flagged = [name for name, flag in _FLAGS.items() if options[flag]]
    outputs = (*dict.fromkeys(options["output_types"]), *flagged)
    choice = SeriesChoice(*(options[name] for name in ("series_uids", "flair", "t1", "t1c")))
    check_request(listing, outputs, choice)
    require_folder(output)
    job = Job(listing, output, outputs, options["evaluate"], choice)
    with closing(Reading(job)) as reading:  # the first files, while the model is loaded
        # Before anything is written: a model or provider that is refused leaves no trace.
        segmenter = Segmenter.load(options["model"], _load_settings(options))
        if not silent:
            _tell_what_runs(segmenter, options["provider"])
        make_folder(output)
        recorded = str(source) if pull is None else pull.described
        settings = {"input": recorded, "model": options["model"], "batch": segmenter.batch}
        journal = Journal(settings | settings_of(options))
        describe(journal, segmenter, options["provider"])
        _run(job, reading, segmenter, journal, options | {"silent": silent, "pull": pull})
    return journal


def _run(
    job: Job, reading: Reading, segmenter: Segmenter, journal: Journal, options: dict[str, Any]
) -> None:
    """The run itself, from the lock of the output folder to its last file."""
    from dataclasses import replace

    from lgg_runtime.errors import LggError
    from lgg_runtime.ledger import open_ledger
    from lgg_runtime.lock import lock_output
    from lgg_runtime.pipeline import run_job
    from lgg_runtime.provenance import decisive

    output, silent, pull = job.output, options["silent"], options["pull"]
    shared = decisive(journal, job.outputs, job.choice)
    with (
        lock_output(output) as died,
        open_ledger(output, shared, options["resume"]) as ledger,
    ):
        if died and not silent:
            click.echo("the lock of a run that died is taken over", err=True)
        total = sum(len(study.paths) for study in job.listing.studies)
        journal.write(output, "running")  # a run that is killed leaves no older one's success
        state = "interrupted"
        try:
            with _bar(total, silent or options["no_progress"]) as bar:
                run_job(replace(job, ledger=ledger), segmenter, journal, bar.update, reading)
            if pull is not None and options["store_back"]:
                _store_back(pull, output, journal, silent)
            state = "complete"
        except LggError as error:
            state = f"stopped: {error}"
            raise
        finally:
            if segmenter.largest_batch is not None:
                journal.provider["largest_batch"] = segmenter.largest_batch
            if segmenter.first_look is not None:
                journal.model["first_look"] |= {"left_out": journal.left_out}
            journal.write(output, state)


def _store_back(pull: Pull, output: Path, journal: Journal, silent: bool) -> None:
    from lgg_runtime.pacs.pull import store_back

    stored = store_back(pull.server, output, journal)
    if not silent:
        click.echo(f"{stored} objects stored on {pull.server.name}", err=True)


def _tell_what_runs(segmenter: Segmenter, requested: str) -> None:
    from lgg_runtime.processor import multiplies_int8

    if requested == "auto":
        click.echo(f"provider auto: {segmenter.provider} ({segmenter.why})", err=True)
    on_cpu = segmenter.device.startswith("CPU")
    if on_cpu and segmenter.contract.precision.startswith("int8") and multiplies_int8() is False:
        click.echo(
            "warning: this processor has no instructions for int8 (VNNI); int8 may be slower than "
            "fp32 here",
            err=True,
        )


# Pictures beside the outputs by --output-type, and the option that asks for each.
_FLAGS = {
    "overlay": "preview",
    "heatmap": "save_heatmap",
    "probability": "save_probabilities",
}


def _load_settings(options: dict[str, Any]) -> Any:
    from lgg_runtime.backends import GpuSettings
    from lgg_runtime.segmenter import LoadSettings

    kept = ("provider", "threads", "batch", "threshold", "flair_only", "crop", "first_look",
            "first_look_sha256", "cpu_precision")  # fmt: skip
    gpu = GpuSettings(
        device=options["gpu_index"],
        memory_limit_mib=options["gpu_memory"],
        cuda_graph=options["cuda_graph"],
        engine_cache=options["engine_cache"],
        tell=partial(click.echo, err=True),
    )
    return LoadSettings(
        gpu=gpu,
        sha256=options["model_sha256"],
        public_key=options["require_signature"],
        **{name: options[name] for name in kept},
    )


def _bar(total: int, silent: bool) -> Any:
    if silent or sys.stderr is None or not sys.stderr.isatty():
        return nullcontext(_NoBar())
    from tqdm import tqdm

    # No thread of its own: where the memory is exhausted, Python waits for ever for one that died.
    tqdm.monitor_interval = 0
    return tqdm(total=total, unit="slice", leave=False)


class _NoBar:
    """In place of a progress bar where nobody sees it; tqdm takes as long to load as ten slices."""

    def update(self, count: int) -> None: ...


def _print(journal: Journal, output: Path, quiet: bool, as_json: bool) -> None:
    from lgg_runtime import report

    with told_at_the_end():
        for record in journal.failures:
            click.echo(report.describe_failure(record), err=True)
    with told_at_the_end():
        if as_json:
            click.echo((output / "run.json").read_text(encoding="utf-8"), nl=False)
        elif not quiet:
            click.echo(report.describe_run(journal, output))


def main() -> None:
    # NumPy's own threads, which nothing here uses, would spin beside the model's when it is loaded.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # A word in the place of INPUT, unless there is such an input.
    if sys.argv[1:2] == ["doctor"] and not Path("doctor").exists():
        from lgg_runtime.doctor_cli import command as doctor

        del sys.argv[1]
        run_command(doctor)
    run_command(command)


if __name__ == "__main__":
    main()
