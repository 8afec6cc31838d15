"""lgg-infer: find tumour in MRI slices with an exported model. Research use only."""

from __future__ import annotations

import os
import sys
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lgg_runtime import __version__
from lgg_runtime.cores import MOST_THREADS
from lgg_runtime.errors import UsageError
from lgg_runtime.progress import ignore, show_progress
from lgg_runtime.providers import CPU_PRECISIONS, PROVIDERS
from lgg_runtime.terminal import run_command, show, tell, terminal_columns

if TYPE_CHECKING:
    from lgg_runtime.loading import LoadSettings
    from lgg_runtime.pacs.pull import Pull
    from lgg_runtime.run.journal import Journal
    from lgg_runtime.run.request import Request

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
@click.argument("sources", metavar="[INPUT]", nargs=-1, type=NamedPath(path_type=Path))
@click.option("-o", "--output", required=True, type=NamedPath(path_type=Path, file_okay=False),
              help="Folder for the results; made if it is not there.")  # fmt: skip
@click.option("-m", "--model", default="standard",
              help="A shipped model (standard, lite or tiny, in int8 with -int8 behind it) or a "
              "file.")  # fmt: skip
@click.option("--model-sha256", "sha256", metavar="DIGEST",
              help="Refuse a model of another SHA-256.")  # fmt: skip
@click.option("--require-signature", "public_key", type=click.Path(path_type=Path),
              metavar="PUBLIC_KEY",
              help="Refuse a model that this Ed25519 key did not sign.")  # fmt: skip
@click.option("--provider", "--device", default="cpu", type=click.Choice(PROVIDERS),
              help="Where the model runs; one that cannot is an error.")  # fmt: skip
@click.option("--threads", type=click.IntRange(1, MOST_THREADS),
              help="Computing threads.  [default: all cores, OMP_NUM_THREADS of them]")  # fmt: skip
@click.option("--batch", type=click.IntRange(1, 1024),
              help="Slices a run of the model.  [default: 16 on a CPU, else 8]")  # fmt: skip
@click.option("--cpu-precision", type=click.Choice(CPU_PRECISIONS), default="fp32",
              help="Arithmetic of --provider openvino.")  # fmt: skip
@click.option("--gpu-index", type=click.IntRange(0), default=0, help="The GPU's number.")
@click.option("--gpu-memory", type=click.IntRange(1), metavar="MIB",
              help="Limit of onnxruntime's GPU memory; with tensorrt, of its workspace.  "
              "[default: none]")  # fmt: skip
@click.option("--cuda-graph", is_flag=True, help="Record and replay a GPU run of each shape.")
@click.option("--engine-cache", type=click.Path(path_type=Path, file_okay=False),
              help="Folder of compiled engines.  [default: the user's cache]")  # fmt: skip
@click.option("--threshold", type=click.FloatRange(1e-6, 1, max_open=True),
              help="Probability from which a pixel is tumour.  [default: the model's]")  # fmt: skip
@click.option("--flair-only", is_flag=True, help="Use FLAIR in place of the other sequences.")
@click.option("--crop/--no-crop", default=False,
              help="Run the box of the head alone: faster, and a mask may change.")  # fmt: skip
@click.option("--first-look", metavar="MODEL",
              help="Run the model only where this quick one (tiny, or a file) finds a sign of "
              "tumour: about twice as fast with standard, and a mask may change.")  # fmt: skip
@click.option("--first-look-sha256", metavar="DIGEST",
              help="Refuse a first look of another SHA-256.")  # fmt: skip
@click.option("-ot", "--output-type", "output_types", multiple=True, default=("mask",),
              type=click.Choice(_OUTPUT_TYPES), help="What to write; several at once.")  # fmt: skip
@click.option("--series-uid", "series_uids", multiple=True, help="DICOM: read these series alone.")
@click.option("--flair", help="DICOM: number or UID of the FLAIR series.  [default: recognised]")
@click.option("--t1", help="DICOM: number or UID of T1 before contrast.  "
              "[default: recognised]")  # fmt: skip
@click.option("--t1c", help="DICOM: number or UID of T1 after contrast.  "
              "[default: recognised]")  # fmt: skip
@click.option("--from", "origin", nargs=2, type=(click.Choice(("dicomweb",)), str),
              metavar="dicomweb URL", help="Server to fetch --study from.")  # fmt: skip
@click.option("--study", metavar="UID", help="StudyInstanceUID of the study to fetch.")
@click.option("--store-back", is_flag=True, help="Store the DICOM results on that server.")
@click.option("-p", "--preview", "overlay", is_flag=True, help="Write an overlay for each slice.")
@click.option("--save-heatmap", "heatmap", is_flag=True, help="Write a heatmap for each slice.")
@click.option("--save-probabilities", "probability", is_flag=True,
              help="Write the probabilities of each slice as float32 TIFF.")  # fmt: skip
@click.option("--report", is_flag=True, help="Write report.html, a page of all patients, and the "
              "overlays that it shows.")  # fmt: skip
@click.option("--evaluate", is_flag=True, help="Score against the *_mask files beside the slices.")
@click.option("--resume", is_flag=True, help="Go on with an earlier run into the same folder.")
@click.option("--json", "as_json", is_flag=True, help="Print run.json in place of the table.")
@click.option("--no-progress", is_flag=True, help="No progress bar.")
@click.option("-q", "--quiet", is_flag=True, help="Print errors only.")
@click.option("-v", "--verbose", is_flag=True, help="Print the notes on each input too.")
@click.version_option(__version__, prog_name="lgg-infer")
def command(
    sources: tuple[Path, ...], output: Path, quiet: bool, as_json: bool, **options: Any
) -> int:
    """Find tumour in MRI slices. Research use only, not for diagnosis.

    INPUT is a slice, a folder or a tree of TIFF, PNG or JPEG slices whose channels are
    pre-contrast, FLAIR and post-contrast. Slices of one folder and one stem, numbered, are one
    patient's volume. A DICOM study, a DICOMDIR and NIfTI are read too, in a tree or alone.
    """
    if quiet and options["verbose"]:
        raise UsageError("--quiet and --verbose: leave one out")
    origin = _read_origin(sources, options)
    with _opened(origin) as given:
        journal = _infer(origin, given, output, quiet or as_json, options)
    _print(journal, output, quiet, as_json, options)
    if not journal.failures:
        return 0
    return 3 if journal.patients else 4


def _read_origin(sources: tuple[Path, ...], options: dict[str, Any]) -> Path | Pull:
    if len(sources) > 1:  # as a shell makes of folder/*.tif
        remedy = "give the folder that holds them, and a name with spaces in quotes"
        raise UsageError(f"{len(sources)} inputs, expected one; {remedy}")
    source = next(iter(sources), None)
    if source is not None and not any(options[name] for name in ("origin", "study", "store_back")):
        return source  # what asks a server is not loaded
    from lgg_runtime.pacs.pull import read_pull

    return read_pull(source, options)


def _opened(origin: Path | Pull) -> AbstractContextManager[Path]:
    if isinstance(origin, Path):
        return nullcontext(origin)
    from lgg_runtime.pacs.pull import fetched

    return fetched(origin)


def _infer(
    origin: Path | Pull, given: Path, output: Path, is_silent: bool, options: dict[str, Any]
) -> Journal:
    from lgg_runtime.ahead import load_ahead

    settings = _load_settings(options)
    told = ignore if is_silent else tell

    def deliver(journal: Journal) -> None:
        if options["store_back"] and not isinstance(origin, Path):
            from lgg_runtime.pacs.pull import store_back
            from lgg_runtime.plural import count

            stored = store_back(origin.server, output, journal)
            told(f"{count(stored, 'object')} stored on {origin.server.name}")

    progress = partial(show_progress, is_silent or options["no_progress"])
    with load_ahead(options["model"], settings) as load:
        # What follows the model's own modules is imported while it is loaded.
        from lgg_runtime.run.inference import infer

        request = _read_request(origin, given, output, settings, options)
        return infer(request, load, told, progress, deliver)


def _read_request(
    origin: Path | Pull, given: Path, output: Path, settings: LoadSettings, options: dict[str, Any]
) -> Request:
    from lgg_runtime.readers.dicom_series import SeriesChoice
    from lgg_runtime.run.request import Request
    from lgg_runtime.writers.formats import OUTPUTS

    wanted = options | {"overlay": options["overlay"] or options["report"]}
    pictures = [name for name in OUTPUTS if wanted.get(name)]
    return Request(
        given=given,
        recorded=str(origin) if isinstance(origin, Path) else origin.described,
        output=output,
        outputs=(*dict.fromkeys(options["output_types"]), *pictures),
        evaluate=options["evaluate"],
        choice=SeriesChoice(*(options[name] for name in ("series_uids", "flair", "t1", "t1c"))),
        model=options["model"],
        load=settings,
        resume=options["resume"],
        report=options["report"],
    )


def _load_settings(options: dict[str, Any]) -> LoadSettings:
    from dataclasses import fields

    from lgg_runtime.backends import GpuSettings
    from lgg_runtime.loading import LoadSettings

    gpu = GpuSettings(
        device=options["gpu_index"],
        memory_limit_mib=options["gpu_memory"],
        cuda_graph=options["cuda_graph"],
        engine_cache=options["engine_cache"],
        tell=tell,
    )
    names = {each.name for each in fields(LoadSettings)} - {"gpu"}
    return LoadSettings(gpu=gpu, **{name: options[name] for name in names})


def _print(
    journal: Journal, output: Path, quiet: bool, as_json: bool, options: dict[str, Any]
) -> None:
    from lgg_runtime.run import report

    for record in journal.inputs:
        if options["verbose"] and record.notes:
            tell(report.describe_notes(record))
    for record in journal.failures:
        tell(report.describe_failure(record))
    if as_json:
        show("".join(journal.encode("complete")), nl=False)  # the file may be another run's by now
    elif not quiet:
        show(report.describe_run(journal, output, options["report"], terminal_columns()))


def main() -> None:
    # NumPy's own threads, which nothing here uses, would spin beside the model's when it is loaded.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # `lgg-infer doctor` is a subcommand, unless a file or folder named doctor exists.
    if sys.argv[1:2] == ["doctor"] and not Path("doctor").exists():
        from lgg_runtime.doctor_cli import command as doctor

        del sys.argv[1]
        run_command(doctor)
    run_command(command)


if __name__ == "__main__":
    main()
