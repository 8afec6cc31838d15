"""From a finished run to an artifact on disk, through the gate."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx
import torch

from lgg_export.graph import build_graph
from lgg_export.int8 import quantise_run
from lgg_export.limits import LIMITS, golden_tolerance, limits_of
from lgg_export.parity import Parity, compare, without_patients
from lgg_export.precision import store_weights_as_fp16
from lgg_export.quantise import TARGETS
from lgg_export.references import open_calibration, open_references
from lgg_runtime import __version__
from lgg_runtime.backends import Backend, BackendSettings, load_backend
from lgg_runtime.backends.model_file import read_model, require_model_file
from lgg_runtime.batching import run_boxes
from lgg_runtime.contract import METADATA_KEY, PIXEL_MM, TRAINED_PIXEL_MM, Contract, Golden
from lgg_runtime.cores import available_cores
from lgg_runtime.crop import whole_frames
from lgg_runtime.errors import ModelError, ParityError, UsageError, naming
from lgg_runtime.golden import make_golden
from lgg_runtime.model_name import USABLE_NAME, is_usable_name
from lgg_runtime.notice import LICENCE
from lgg_runtime.volume import Pixels, Probability
from lgg_runtime.writers.atomic import require_writable, write_atomically
from lgg_runtime.writers.temporary_files import telling_temporary_files
from lgg_train.prediction import Prediction
from lgg_train.progress import watch_patients
from lgg_train.run import is_kept
from lgg_train.scores import read_own_scores
from lgg_train.trained import TrainedModel, load_model


@dataclass(frozen=True)
class ExportSettings:
    """precision: fp32, fp16 or int8 arithmetic; weights: how they are stored; name: in the
    contract, None for that of the run's folder; data: the dataset for the gate and for int8's
    ranges, None for the one that the run was trained on; target: what an int8 artifact is for,
    cpu or tensorrt; pixel_mm and licence: of the training slices' pixels and of the weights, as
    the contract has them.
    """

    precision: str = "fp32"
    weights: str = "fp32"
    name: str | None = None
    data: Path | None = None
    target: str = "cpu"
    pixel_mm: float = TRAINED_PIXEL_MM
    licence: str = LICENCE

    def __post_init__(self) -> None:
        if self.precision not in LIMITS or self.weights not in ("fp32", "fp16"):
            raise UsageError(f"precision {self.precision!r} or weights {self.weights!r} unknown")
        if self.precision != "fp32" and self.weights == "fp16":
            raise UsageError(
                f"{self.precision} stores its own kind of weights; leave --weights out"
            )
        if self.target not in TARGETS:
            raise UsageError(f"target {self.target!r}: expected {' or '.join(TARGETS)}")
        if self.target != "cpu" and self.precision != "int8":
            raise UsageError(f"--target {self.target} is for --precision int8; leave it out")
        least, most = PIXEL_MM
        if not least <= self.pixel_mm <= most:
            raise UsageError(f"--pixel-mm {self.pixel_mm}: expected from {least} to {most}")
        if not (self.licence.strip() and self.licence.isprintable()):
            raise UsageError(f"--licence {self.licence!r}: expected a line of printable text")

    @property
    def described(self) -> str:
        """The precision as the contract states it."""
        if self.precision == "int8":
            return TARGETS[self.target].precision
        return self.precision + (" with fp16 weights" if self.weights == "fp16" else "")


def export_run(
    run: Path, output: Path, settings: ExportSettings, progress: bool = False
) -> tuple[Contract, Parity]:
    """Build the artifact of a run, compare it with PyTorch, and write it if it passes.

    Raises ParityError, with every exceeded limit, where it does not, UsageError for a name of the
    file or of the model that cannot be, InputError for a run that is not finished or whose data are
    other ones, NoInputError for named data that are not there, and ResourceError where the file
    cannot be written; then nothing is written. `progress` shows bars where standard error is a
    terminal.
    """
    if output.suffix != ".onnx":
        raise UsageError(f"{output.name}: expected a name that ends in .onnx")
    name = run.resolve().name if settings.name is None else settings.name
    if not is_usable_name(name):
        raise UsageError(f"--name: {name!r}: expected {USABLE_NAME}; DICOM objects name the model")
    model = load_model(run)
    require_writable(output)
    contract = _contract(run, model, name, settings)
    with telling_temporary_files(), tempfile.TemporaryDirectory() as folder:
        trial = Path(folder) / "trial.onnx"

        def load(graph: onnx.ModelProto) -> Backend:
            write_atomically(trial, _with_contract(graph, contract))
            return load_backend(trial, BackendSettings("cpu", available_cores()))

        try:
            graph, made = _build(run, model, settings, load, progress)
            backend = load(graph)
            is_int8 = settings.precision == "int8"
            subject, references = open_references(run, model, settings.data, is_int8=is_int8)
            watched = watch_patients(references, "parity", progress)
            parity = compare(subject, watched, in_batches(backend), model.decision)
            golden = make_golden(backend.run, golden_tolerance(contract.precision))
        except (ModelError, ParityError) as error:
            raise ParityError(f"{output.name} is not written: {error}") from error
    if failures := parity.failures(limits_of(contract.precision)):
        remedy = "" if contract.precision == "fp32" else "; train longer, or export plain fp32"
        exceeded = "; ".join(failures)
        raise ParityError(f"{output.name} is not written: {exceeded} ({subject}){remedy}")
    contract = replace(contract, parity=parity.summary() | made, golden=golden)
    write_atomically(output, _with_contract(graph, contract))
    return contract, parity


def _build(
    run: Path,
    model: TrainedModel,
    settings: ExportSettings,
    load: Callable[[onnx.ModelProto], Backend],
    progress: bool,
) -> tuple[onnx.ModelProto, dict[str, Any]]:
    """The graph, and what the contract's parity says of how an int8 one was made."""
    lossy = settings.precision == "int8"
    target = TARGETS[settings.target]
    arithmetic = torch.float16 if settings.precision == "fp16" else torch.float32
    graph = build_graph(model.network, arithmetic, lossy and target.sub_pixel)
    if settings.weights == "fp16":
        graph = store_weights_as_fp16(graph)
    if not lossy:
        return graph, {}
    subject, references = open_calibration(run, model, settings.data)

    def judge(subject: str, chosen: Sequence[Prediction], graph: onnx.ModelProto) -> Parity:
        return compare(subject, chosen, in_batches(load(graph)), model.decision)

    patients = list(watch_patients(references, "int8's patients", progress))
    if not any((patient.probability >= model.decision.threshold).any() for patient in patients):
        raise ParityError(
            f"int8: the network marks nothing on {subject}, so that nothing shows what it loses; "
            "train it longer"
        )
    return quantise_run(graph, target, (subject, patients), judge, progress)


def in_batches(backend: Backend, batch: int = 8) -> Callable[[Pixels], Probability]:
    """The backend as a function over whole volumes of any height and width."""

    def run(slices: Pixels) -> Probability:
        return run_boxes(backend, slices, whole_frames(*slices.shape[:3]), batch)

    return run


def read_contract(path: Path) -> Contract:
    """The contract of an ONNX file. Raises ModelError as `read_artifact` does."""
    return read_artifact(path)[1]


def read_artifact(path: Path) -> tuple[bytes, Contract]:
    """An ONNX file's bytes, checked as before a run, and the contract in them.

    Raises ModelError for a file that the runtime would refuse for its form, and where there is no
    contract, or a damaged one.
    """
    require_model_file(path)
    data = read_model(path)
    try:
        model = onnx.ModelProto.FromString(data)
    except Exception as error:
        # protobuf's decode errors depend on its implementation.
        raise ModelError(f"{path.name}: not an ONNX file") from error
    held = {entry.key: entry.value for entry in model.metadata_props}
    if METADATA_KEY not in held:
        raise ModelError(f"{path.name}: no contract in its metadata")
    with naming(path.name, ModelError):
        return data, Contract.loads(held[METADATA_KEY])


def _contract(run: Path, model: TrainedModel, name: str, settings: ExportSettings) -> Contract:
    metrics = {
        part: without_patients(read_own_scores(run / f"metrics_{part}.json"))
        for part in ("validation", "test")
        if is_kept(run, f"metrics_{part}.json")
    }
    return Contract(
        name=name,
        precision=settings.described,
        threshold=model.decision.threshold,
        intensity=model.intensity,
        cleanup=model.decision.cleanup,
        training=model.training,
        golden=Golden((), "", "", (), 0.0),
        how_decided=model.decision.how,
        tool_version=__version__,
        metrics=metrics,
        pixel_mm=settings.pixel_mm,
        licence=settings.licence,
    )


def _with_contract(graph: onnx.ModelProto, contract: Contract) -> bytes:
    onnx.helper.set_model_props(graph, {METADATA_KEY: contract.dumps()})
    data: bytes = graph.SerializeToString()
    return data
