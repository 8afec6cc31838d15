"""lgg-export: turn a training run into an artifact that is proven equal to it."""

from __future__ import annotations

import json
import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import click

from lgg_runtime import __version__
from lgg_runtime.command_group import CommandGroup
from lgg_runtime.errors import ModelError, naming
from lgg_runtime.extras import needs_extra
from lgg_runtime.notice import LICENCE
from lgg_runtime.plural import count
from lgg_runtime.terminal import run_command, show

_PATH = click.Path(path_type=Path)


class _RunByDefault(CommandGroup):
    """`lgg-export RUN -o FILE` is `lgg-export run ...`, `lgg-export MODEL.onnx -o FILE` or one
    with --format is `lgg-export engine ...`.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("--help", "--version"):
            args = ["engine" if _asks_for_engine(args) else "run", *args]
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Raises a command's UsageError, where a path has the command's name, with how to give the
        path: `lgg-export run -o FILE` lacks an argument.
        """
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            name = ctx.invoked_subcommand
            if name is None or not os.path.lexists(name):
                raise
            told = f"{error.format_message()} If '{name}' is meant as a path, give './{name}'."
            raise click.UsageError(told, error.ctx) from error


def _asks_for_engine(args: list[str]) -> bool:
    """Whether a format is given, or what is given beside the options' values is an artifact."""
    if any(word.split("=")[0] == "--format" for word in args):
        return True
    given = [word for before, word in pairwise(["", *args]) if not _awaits_value(before)]
    return any(word.endswith(".onnx") and not word.startswith("-") for word in given)


def _awaits_value(word: str) -> bool:
    """Whether the next word belongs to this one: `-o`, `--name`, not `-oFILE`, `--name=NAME`."""
    return "=" not in word if word.startswith("--") else len(word) == 2 and word[0] == "-"


@click.group("lgg-export", cls=_RunByDefault)
@click.version_option(__version__, prog_name="lgg-export")
def command() -> None:
    """Checkpoint to artifact: `lgg-export RUN -o model.onnx`. Research use only.

    Artifact to engine: `lgg-export model.onnx -o model.engine --format tensorrt-rtx`.

    An artifact that differs from PyTorch beyond its precision's limits is not written (exit 9).
    """


@command.command(context_settings={"show_default": True})
@click.argument("run", type=_PATH)
@click.option("-o", "--output", required=True, type=_PATH, help="The artifact, NAME.onnx.")
@click.option("--precision", type=click.Choice(("fp32", "fp16", "int8")), default="fp32")
@click.option("--target", type=click.Choice(("cpu", "tensorrt")), default="cpu",
              help="What an int8 artifact is for; each takes another kind.")  # fmt: skip
@click.option("--weights", type=click.Choice(("fp32", "fp16")), default="fp32",
              help="How weights are stored; fp16 halves the file, fp32 computes.")  # fmt: skip
@click.option("--name", help="The model's name in its contract and in DICOM objects.  "
              "[default: the name of RUN's folder]")  # fmt: skip
@click.option("--pixel-mm", type=float, default=0.9375,
              help="Side of a pixel that RUN was trained on; scans are brought to it.")  # fmt: skip
@click.option("--licence", default=LICENCE, help="Terms of the weights, as the contract has them.")
@click.option("--data", type=_PATH, help="Dataset for the gate and int8's ranges.  "
              "[default: the run's own; phantoms where it is not there]")  # fmt: skip
@click.option("--no-progress", is_flag=True, help="No progress bar.")
def run(run: Path, output: Path, no_progress: bool, **options: Any) -> None:
    """Export a training run's folder, the default command."""
    with needs_extra("export"):
        from lgg_export.artifact import ExportSettings, export_run

    contract, parity = export_run(run, output, ExportSettings(**options), not no_progress)
    size = output.stat().st_size / 2**20
    show(
        f"{output}: {contract.precision}, {size:.1f} MiB\n"
        f"Parity with PyTorch on {parity.subject} ({count(parity.slices, 'slice')}): largest "
        f"probability difference {parity.largest_probability_difference:.2g}, flipped pixels "
        f"{parity.flipped_pixels:.2g}, largest metric difference "
        f"{parity.largest_metric_difference:.2g}, largest Dice difference of a patient "
        f"{parity.largest_dice_difference:.2g}\n{contract.intended_use}"
    )


@command.command(context_settings={"show_default": True})
@click.argument("model", type=_PATH)
@click.option("-o", "--output", required=True, type=_PATH, help="The engine, NAME.engine.")
@click.option("--format", "library", required=True,
              type=click.Choice(("tensorrt", "tensorrt-rtx")),
              help="tensorrt builds on the GPU it is for; tensorrt-rtx needs none.")  # fmt: skip
@click.option("--compute-capability", "compute_capabilities", multiple=True, metavar="SM86",
              help="A GPU for tensorrt-rtx; repeatable.  [default: Ampere and later]")  # fmt: skip
@click.option("--batch", type=click.IntRange(1), default=32, help="Most slices a run.")
@click.option("--size", type=click.IntRange(256), default=512, help="Largest height and width.")
@click.option("--workspace", "workspace_mib", type=click.IntRange(1), metavar="MIB",
              help="Limit of the workspace.  [default: the library's]")  # fmt: skip
@click.option("--timing-cache", type=_PATH, help="File of tensorrt's timings, kept between builds.")
@click.option("--device", type=click.IntRange(0), default=0, help="The GPU that tensorrt uses.")
def engine(model: Path, output: Path, **options: Any) -> None:
    """Compile an artifact into an engine, the default command for NAME.onnx."""
    with needs_extra("export"):
        from lgg_export.description import describe_engine
        from lgg_export.engine import EngineSettings, build_engine

    sidecar = build_engine(model, output, EngineSettings(**options))
    size = output.stat().st_size / 2**20
    show(f"{output}: {size:.1f} MiB\n{describe_engine(sidecar)}")


@command.command()
@click.argument("model", type=_PATH)
@click.option("--key", required=True, type=_PATH, help="Ed25519 private key in PEM.")
def sign(model: Path, key: Path) -> None:
    """Sign an artifact or engine, for `lgg-infer --require-signature PUBLIC_KEY`."""
    from lgg_export.signing import sign_model

    path, digest = sign_model(model, key)
    show(f"{path}: signature of SHA-256 {digest}")


@command.command()
@click.argument("model", type=_PATH)
@click.option("--json", "as_json", is_flag=True, help="Print JSON for a program.")
def inspect(model: Path, as_json: bool) -> None:
    """Print the contract of a file or of a shipped model's name; of an engine, its key too."""
    with needs_extra("export"):
        from lgg_export.artifact import read_contract
        from lgg_export.description import describe_contract, describe_engine
    from lgg_runtime.loading import find_model
    from lgg_runtime.sidecar import read_engine

    file = find_model(model)
    if file.suffix.lower() == ".engine":
        sidecar = read_engine(file)[1]
        with naming(file.name, ModelError):
            show(sidecar.dumps() if as_json else describe_engine(sidecar), nl=not as_json)
        return
    contract = read_contract(file)
    with naming(file.name, ModelError):
        show(json.dumps(contract.to_json(), indent=1) if as_json else describe_contract(contract))


def main() -> None:
    run_command(command)


if __name__ == "__main__":
    main()
