"""Parity: do artifacts find on the test patients what the PyTorch model finds?

PyTorch predicts once, in float32; each artifact answers on the same normalised slices and is
judged by its precision's limits, the same that the export's gate holds it to.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lgg_bench.artifacts import (
    contract_differences,
    describe_provider,
    digest_run,
    label_artifacts,
)
from lgg_bench.machine import describe_machine
from lgg_bench.record import Record
from lgg_bench.table import Table, compare_cell
from lgg_runtime.backends import Backend, BackendSettings, load_backend
from lgg_runtime.cores import available_cores
from lgg_runtime.digests import digest_file
from lgg_runtime.errors import ModelError, ParityError, UsageError
from lgg_runtime.extras import needs_extra
from lgg_runtime.metrics import summarise
from lgg_runtime.plural import count
from lgg_train.prediction import Prediction
from lgg_train.progress import watch_patients

if TYPE_CHECKING:
    from lgg_train.trained import TrainedModel

PYTORCH = "PyTorch"
_PART, _TRAINED = "test", "train"
_POOLED = ("iou", "recall", "precision", "f1")
# Column, what was found, its limit, and how much of it is one.
_COMPARED = (
    ("probability", "largest_probability_difference", "probability", 1.0),
    ("flipped in 100,000", "flipped_pixels", "flipped", 1e5),
    ("metrics", "largest_metric_difference", "metric", 1.0),
    ("a patient's Dice", "largest_dice_difference", "metric", 1.0),
    ("mean Dice lost", "mean_dice_loss", "mean_dice_loss", 1.0),
    ("a patient's Dice lost", "largest_dice_loss", "patient_dice_loss", 1.0),
    ("recall lost", "recall_loss", "recall_loss", 1.0),
)
_KEPT = (*(found for _, found, *_ in _COMPARED), "artifact")


@dataclass(frozen=True)
class ParitySettings:
    """part: of the run's split, None for test, or for some of those who trained where all did;
    data: None for the dataset that the run was trained on, or for phantoms, which no part is of,
    where that is gone; limit: the first patients only; provider: where the artifacts run; batch:
    slices of a call; cpu_precision: as for BackendSettings.
    """

    part: str | None = None
    data: Path | None = None
    limit: int | None = None
    provider: str = "cpu"
    batch: int = 8
    cpu_precision: str = "fp32"

    def to_json(self) -> dict[str, Any]:
        return {
            "limit": self.limit,
            "provider": self.provider,
            "cpu_precision": self.cpu_precision,
            "batch": self.batch,
        }


def measure_parity(
    run: Path, artifacts: Sequence[Path], settings: ParitySettings, progress: bool = False
) -> Record:
    """Compare every artifact with the run's network. No patient's name enters the record.

    Results: `subject`, what it was measured on, in words; `slices`; `threshold`; `pytorch`, its
    scores; `artifacts`, one row each with its limits, its `failures` in words, and `parity`, None
    where the output was no probability. Raises UsageError for a part of a dataset that is gone,
    InputError for data that do not fit the run, ModelError or ProviderError for an artifact that
    cannot be loaded.
    """
    with needs_extra("export"):
        from lgg_export.references import open_references
        from lgg_train.trained import load_model

    machine = describe_machine()
    files = label_artifacts(artifacts)
    chosen = BackendSettings(
        settings.provider, available_cores(), cpu_precision=settings.cpu_precision
    )
    backends = {label: load_backend(path, chosen) for label, path in files.items()}
    model = load_model(run)
    part = _choose_part(run, model, settings)
    subject, stream = open_references(run, model, settings.data, settings.part or _PART)
    references = list(watch_patients(islice(stream, settings.limit), PYTORCH, progress))
    if settings.limit is not None:
        subject = f"the first {len(references)} of {subject}"
    rows = []
    for label, backend in backends.items():
        watched = watch_patients(references, label, progress)
        row = judge_artifact(backend, model, (subject, watched), settings)
        rows.append({"artifact": label, "sha256": digest_file(files[label]), **row})
    results = {
        "subject": subject,
        "slices": sum(len(reference.used) for reference in references),
        "run": digest_run(run),
        "threshold": model.decision.threshold,
        "training_data": model.training.data,
        "pytorch": _score(references, model),
        "artifacts": rows,
    }
    return Record("parity", {"split": part, **settings.to_json()}, machine, results)


def _choose_part(run: Path, model: TrainedModel, settings: ParitySettings) -> str | None:
    """Of the split, None for phantoms; where none is asked for and all patients trained, train.

    Raises UsageError where one is asked for without data, or that the split leaves empty.
    """
    from lgg_export.references import find_dataset
    from lgg_train.trained import read_split

    if find_dataset(run, settings.data) is not None:
        split = read_split(run, model)
        if split.patients(settings.part or _PART):
            return settings.part or _PART
        if settings.part is None:
            return _TRAINED
        raise UsageError(
            f"--split {settings.part}: all patients of {run} trained; leave --split out to compare "
            "on some of them"
        )
    if settings.part is None:
        return None
    raise UsageError(
        f"--split {settings.part}: the dataset that {run} was trained on is not there; name it "
        "with --data, or leave --split out to compare on phantoms"
    )


def judge_artifact(
    backend: Backend,
    model: TrainedModel,
    references: tuple[str, Iterable[Prediction]],
    settings: ParitySettings,
) -> dict[str, Any]:
    """One artifact's row: what it is, its limits, its failures, and the comparison."""
    from lgg_export.artifact import in_batches
    from lgg_export.limits import LOSSY, limits_of
    from lgg_export.parity import compare

    contract = backend.contract
    limits = LOSSY if settings.cpu_precision == "bf16" else limits_of(contract.precision)
    failures = contract_differences(contract, model)
    parity = None
    try:
        found = compare(*references, in_batches(backend, settings.batch), model.decision)
        failures += found.failures(limits)
        summary = found.summary()
        parity = {key: summary[key] for key in _KEPT}
    except (ModelError, ParityError) as error:  # no probabilities: a verdict, not the end
        failures.append(str(error))
    return {
        "precision": contract.precision,
        "provider": backend.provider,
        "limits": asdict(limits),
        "failures": failures,
        "parity": parity,
    }


def require_parity(record: Record) -> None:
    """Raises ParityError, naming them, where artifacts failed."""
    rows = record.results["artifacts"]
    failed = [row["artifact"] for row in rows if row["failures"]]
    if failed:
        raise ParityError(
            f"{len(failed)} of {len(rows)} artifacts beyond their limits: {', '.join(failed)}"
        )


def tabulate(record: Record) -> list[Table]:
    """Both sides' quality, and the differences with their verdicts."""
    results = record.results
    return [_quality(results, describe_provider(record.settings)), _differences(results)]


def _quality(results: dict[str, Any], where: str) -> Table:
    header = ["", "IoU", "recall", "precision", "F1", "mean Dice", "median Dice"]
    rows = [[f"{PYTORCH} (fp32)", *_scores(results["pytorch"])]]
    for row in results["artifacts"]:
        rows.append([_label(row), *_scores((row["parity"] or {}).get("artifact"))])
    title = (
        f"Quality on {results['subject']} ({count(results['slices'], 'slice')}), "
        f"threshold {results['threshold']}"
    )
    notes = [
        "IoU, recall, precision and F1 over all pixels; Dice of each patient's volume. "
        f"Artifacts: on {where}."
    ]
    return Table(title, header, rows, notes)


def _scores(scores: dict[str, Any] | None) -> list[str]:
    if scores is None:
        return ["-"] * (len(_POOLED) + 2)
    dice = scores["per_patient_dice"]
    values = [*(scores["pooled"][key] for key in _POOLED), dice["mean"], dice["median"]]
    return [f"{value:.5f}" for value in values]


def _differences(results: dict[str, Any]) -> Table:
    header = ["", *(title for title, *_ in _COMPARED), "verdict"]
    rows, notes = [], []
    for row in results["artifacts"]:
        parity, limits = row["parity"] or {}, row["limits"]
        cells = [
            compare_cell(parity.get(found), limits.get(allowed), unit)
            for _, found, allowed, unit in _COMPARED
        ]
        rows.append([_label(row), *cells, "FAILED" if row["failures"] else "passed"])
        if row["failures"]:
            notes.append(f"{row['artifact']} FAILED: {'; '.join(row['failures'])}")
    first = "Found / allowed at that precision; flipped: pixels on the threshold's other side; "
    first += "lost: by how much lower, where below zero is a gain."
    return Table(f"Difference from {PYTORCH}", header, rows, [first, *notes])


def _label(row: dict[str, Any]) -> str:
    return f"{row['artifact']} ({row['precision']})"


def _score(references: Sequence[Prediction], model: TrainedModel) -> dict[str, Any]:
    from lgg_export.parity import without_patients

    return without_patients(summarise({r.patient: r.counts(model.decision) for r in references}))
