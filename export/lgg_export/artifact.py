"""From a finished run to an artifact on disk, through the gate."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import onnx

from lgg_export.golden import make_golden
from lgg_export.parity import Limits, Parity, Reference, compare, without_patients
from lgg_export.precision import PRECISIONS, limits_of, store_weights_as_fp16
from lgg_runtime.backends import Backend, BackendSettings, load_backend
from lgg_runtime.contract import METADATA_KEY, Contract, Golden
from lgg_runtime.cores import available_cores
from lgg_runtime.errors import InputError, ModelError, ParityError, UsageError
from lgg_runtime.segmenter import run_in_batches
from lgg_runtime.volume import Pixels, Probability
from lgg_runtime.writers.atomic import write_atomically
from lgg_train.cases import CaseFiles, find_cases, load_cases
from lgg_train.evaluation import predict_cases
from lgg_train.phantom import PhantomSettings, write_phantoms
from lgg_train.run import CONFIG_FILE, SPLIT_FILE, TrainedModel, load_model, read_json
from lgg_train.splits import Split

PHANTOMS = PhantomSettings(patients=6, slices=24, seed=1000)


@dataclass(frozen=True)
class ExportSettings:
    """precision: fp32 or fp16 arithmetic; weights: how they are stored; name: in the contract;
    data: the dataset for the gate, None for the one that the run was trained on.
    """

    precision: str = "fp32"
    weights: str = "fp32"
    name: str = "standard"
    data: Path | None = None

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS or self.weights not in ("fp32", "fp16"):
            raise UsageError(f"precision {self.precision!r} or weights {self.weights!r} unknown")
        if self.precision == "fp16" and self.weights == "fp16":
            raise UsageError("fp16 arithmetic stores fp16 weights already; leave --weights out")

    @property
    def described(self) -> str:
        """The precision as the contract states it."""
        return self.precision + (" with fp16 weights" if self.weights == "fp16" else "")

    @property
    def limits(self) -> Limits:
        return limits_of(self.described)


def export_run(run: Path, output: Path, settings: ExportSettings) -> tuple[Contract, Parity]:
    """Build the artifact of a run, compare it with PyTorch, and write it if it passes.

    Raises ParityError, with every exceeded limit, where it does not; then nothing is written.
    """
    if output.suffix != ".onnx":
        raise UsageError(f"{output.name}: expected a name that ends in .onnx")
    model = load_model(run)
    graph = PRECISIONS[settings.precision].build(model.network)
    if settings.weights == "fp16":
        graph = store_weights_as_fp16(graph)
    contract = _contract(run, model, settings)
    with tempfile.TemporaryDirectory() as folder:
        trial = Path(folder) / "trial.onnx"
        trial.write_bytes(_with_contract(graph, contract))
        backend = load_backend(trial, BackendSettings("cpu", available_cores()))
        subject, references = open_references(run, model, settings.data)
        try:
            parity = compare(subject, references, in_batches(backend), model.decision)
            golden = make_golden(backend.run, settings.limits.probability)
        except ModelError as error:
            raise ParityError(f"{output.name} is not written: {error} ({subject})") from error
    if failures := parity.failures(settings.limits):
        raise ParityError(f"{output.name} is not written: {'; '.join(failures)} ({subject})")
    contract = replace(contract, parity=parity.summary(), golden=golden)
    write_atomically(output, _with_contract(graph, contract))
    return contract, parity


def in_batches(backend: Backend, batch: int = 8) -> Any:
    """The backend as a function over whole volumes of any height and width."""

    def run(slices: Pixels) -> Probability:
        return run_in_batches(backend, slices, batch)

    return run


def open_references(
    run: Path, model: TrainedModel, data: Path | None, part: str = "validation"
) -> tuple[str, Iterator[Reference]]:
    """What to compare on, in words, and PyTorch's predictions for it, one patient at a time.

    The patients of that part of the run's split, from `data` or else from where the run was
    trained; phantoms, and the words say so, where that folder is not there any more.
    """
    folder = data or Path(read_json(run / CONFIG_FILE)["data"])
    if data is None and not folder.is_dir():
        return f"{PHANTOMS.patients} phantom patients, the dataset is not there", _phantoms(model)
    split = Split.read(run / SPLIT_FILE)
    known = {case.patient: case for case in find_cases(folder)}
    missing = [name for name in split.patients(part) if name not in known]
    if missing:
        raise InputError(f"{folder}: patients of the split are missing: {', '.join(missing)}")
    chosen = [known[name] for name in split.patients(part)]
    return f"{len(chosen)} {part} patients", _references(model, chosen)


def read_contract(path: Path) -> Contract:
    """The contract of an ONNX file. Raises ModelError where there is none, or a damaged one."""
    try:
        model = onnx.load(str(path), load_external_data=False)
    except FileNotFoundError as error:
        raise ModelError(f"{path}: no such model") from error
    except Exception as error:
        # protobuf's decode errors depend on its implementation.
        raise ModelError(f"{path.name}: not an ONNX file") from error
    held = {entry.key: entry.value for entry in model.metadata_props}
    if METADATA_KEY not in held:
        raise ModelError(f"{path.name}: no contract in its metadata")
    try:
        return Contract.loads(held[METADATA_KEY])
    except ModelError as error:
        raise ModelError(f"{path.name}: {error}") from error


def _references(model: TrainedModel, chosen: list[CaseFiles]) -> Iterator[Reference]:
    for files in chosen:
        case = load_cases([files])
        used = {files.patient: tuple(range(len(files.slices)))}
        for p in predict_cases(model.network, case, used, model.intensity):
            yield Reference(p.patient, p.slices, p.probability, p.truth)


def _phantoms(model: TrainedModel) -> Iterator[Reference]:
    with tempfile.TemporaryDirectory() as folder:
        write_phantoms(Path(folder), PHANTOMS)
        yield from _references(model, find_cases(Path(folder)))


def _contract(run: Path, model: TrainedModel, settings: ExportSettings) -> Contract:
    metrics = {
        part: without_patients(read_json(run / f"metrics_{part}.json"))
        for part in ("validation", "test")
        if (run / f"metrics_{part}.json").is_file()
    }
    return Contract(
        name=settings.name,
        precision=settings.described,
        threshold=model.decision.threshold,
        intensity=model.intensity,
        cleanup=model.decision.cleanup,
        training=model.training,
        golden=Golden((), "", "", (), 0.0),
        how_decided=model.decision.how,
        tool_version=version("lgg-edge"),
        metrics=metrics,
    )


def _with_contract(graph: onnx.ModelProto, contract: Contract) -> bytes:
    onnx.helper.set_model_props(graph, {METADATA_KEY: contract.dumps()})
    data: bytes = graph.SerializeToString()
    return data
