"""Quality of what lgg-infer runs: each artifact on each provider, as it is, with the head crop and
after a first look, against the run's network in float32 on all of every slice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lgg_bench.artifacts import (
    contract_differences,
    digest_run,
    label_artifacts,
    score_differences,
)
from lgg_bench.machine import describe_machine
from lgg_bench.record import Record
from lgg_bench.table import Table
from lgg_runtime.cores import available_cores
from lgg_runtime.digests import digest_file
from lgg_runtime.errors import UsageError
from lgg_runtime.extras import needs_extra
from lgg_runtime.intensity import normalise
from lgg_runtime.loading import LoadSettings
from lgg_runtime.metrics import Counts, summarise
from lgg_runtime.plural import count
from lgg_runtime.segmenter import Segmenter
from lgg_train.progress import watch_patients

if TYPE_CHECKING:
    from lgg_train.cases import CaseFiles
    from lgg_train.trained import TrainedModel

PYTORCH = "PyTorch fp32, full frames"
# What may be lost: which of the precision's limits holds for it, and how it is called.
_LOST = {
    "mean_dice": ("mean_dice_loss", "the mean Dice"),
    "patient_dice": ("patient_dice_loss", "a patient's Dice"),
    "recall": ("recall_loss", "recall"),
}
Key = tuple[str, str, str]


@dataclass(frozen=True)
class QualitySettings:
    """part: of the run's split; providers: of lgg-infer, on all cores; limit: the first
    patients; first_look: the model for it, None to leave it out.
    """

    part: str
    providers: tuple[str, ...]
    limit: int | None
    first_look: Path | None

    def to_json(self) -> dict[str, Any]:
        return {
            "split": self.part,
            "providers": list(self.providers),
            "threads": available_cores(),
            "limit": self.limit,
        }


@dataclass
class _Segmented:
    """What a segmenter did: counts by patient, and slices that its first look left out."""

    counts: dict[str, Counts] = field(default_factory=dict)
    left_out: int = 0


def measure_quality(
    run: Path,
    artifacts: Sequence[Path],
    data: Path,
    settings: QualitySettings,
    progress: bool,
) -> Record:
    """Results: `patients`, `slices`; `rows`, the network's first: mean and median Dice by patient,
    pooled recall, `left_out`, slices that the first look left out, and `lost`, by how much the
    mean, the worst patient and the recall are lower than the network's, None for itself; `limits`
    of what may be lost, those of the precisions that round. No patient's name enters the record.

    Raises UsageError for an artifact that is of another run, or a first look of another split.
    """
    machine = describe_machine()
    files = label_artifacts(artifacts)
    with needs_extra("export"):
        from lgg_export.limits import LOSSY
        from lgg_train.cases import find_cases
        from lgg_train.run import SPLIT_FILE
        from lgg_train.splits import find_members
        from lgg_train.trained import load_model, read_split

    model = load_model(run)
    split = read_split(run, model)
    members = find_members(split, settings.part, find_cases(data), run / SPLIT_FILE)
    segmenters = _load_segmenters(files, settings)
    _require_run(run, model, segmenters)
    chosen = members[: settings.limit]
    watched = watch_patients(chosen, "segment", progress)
    slices, theirs, ours = _segment(run, model, watched, split.parts[settings.part], segmenters)
    rows = [_row(key, segmenters[key], each, theirs) for key, each in ours.items()]
    results = {
        "run": digest_run(run),
        "artifacts": {label: digest_file(path) for label, path in files.items()},
        "first_look": None if settings.first_look is None else digest_file(settings.first_look),
        "patients": len(theirs),
        "slices": slices,
        "limits": {name: getattr(LOSSY, limit) for name, (limit, _) in _LOST.items()},
        "rows": [{"subject": PYTORCH, "way": "", **_score(theirs, None)}, *rows],
    }
    return Record("quality", settings.to_json(), machine, results)


def _segment(
    run: Path,
    model: TrainedModel,
    members: Iterable[CaseFiles],
    counting: Mapping[str, Sequence[int]],
    segmenters: dict[Key, Segmenter],
) -> tuple[int, dict[str, Counts], dict[Key, _Segmented]]:
    """How many slices count, what the network found by patient, and what each segmenter did.

    counting: by patient the slices that do.
    """
    from lgg_train.cases import load_case
    from lgg_train.predict import predict_slices
    from lgg_train.run import check_cases

    theirs: dict[str, Counts] = {}
    ours = {key: _Segmented() for key in segmenters}
    slices = 0
    for file in members:
        case = load_case(file)
        check_cases(run, [case])
        used = list(counting[case.patient])
        truth = case.masks[used]
        pixels = case.volume.pixels
        slices += len(used)
        probability = predict_slices(model.network, normalise(pixels, model.intensity))
        theirs[case.patient] = Counts.of(model.decision.apply(probability)[used], truth)
        for key, segmenter in segmenters.items():
            prepared = segmenter.prepare(case.volume)
            answer = segmenter.run(prepared)
            found = segmenter.finish(prepared, answer)
            ours[key].left_out += answer.left_out
            ours[key].counts[case.patient] = Counts.of(found.mask[used], truth)
    return slices, theirs, ours


def _load_segmenters(files: dict[str, Path], settings: QualitySettings) -> dict[Key, Segmenter]:
    """By artifact, provider and way, which is empty for whole frames without a first look."""
    ways: dict[str, dict[str, Any]] = {"": {}, "head crop": {"crop": True}}
    if settings.first_look is not None:
        ways["first look"] = {"first_look": settings.first_look}
    return {
        (label, provider, way): Segmenter.load(path, LoadSettings(provider, **options))
        for label, path in files.items()
        for provider in settings.providers
        for way, options in ways.items()
    }


def _require_run(run: Path, model: TrainedModel, segmenters: dict[Key, Segmenter]) -> None:
    """Raises UsageError, naming it, for an artifact of another run than the network it is set
    against, and for a first look that may have seen the patients.
    """
    for (label, _, _), segmenter in segmenters.items():
        contract = segmenter.contract
        differences = contract_differences(contract, model) + score_differences(contract, run)
        if differences:
            raise UsageError(f"{label} is not of {run}: {'; '.join(differences)}")
        look = segmenter.first_look
        if look is not None and look.contract.training != model.training:
            raise UsageError(
                f"first look {look.name}: its contract's training data or split is not that of "
                f"{run}; take one of a run on the same split"
            )


def _row(
    key: Key, segmenter: Segmenter, found: _Segmented, reference: dict[str, Counts]
) -> dict[str, Any]:
    label, provider, way = key
    return {
        "subject": f"{label} ({segmenter.contract.precision}) on {provider}",
        "way": way,
        "left_out": found.left_out,
        **_score(found.counts, reference),
    }


def _score(counts: dict[str, Counts], reference: dict[str, Counts] | None) -> dict[str, Any]:
    scores = summarise(counts)
    dice = scores["per_patient_dice"]
    lost = None
    if reference is not None:
        theirs = summarise(reference)
        lost = {
            "mean_dice": theirs["per_patient_dice"]["mean"] - dice["mean"],
            "patient_dice": max(reference[name].dice - counts[name].dice for name in counts),
            "recall": theirs["pooled"]["recall"] - scores["pooled"]["recall"],
        }
    return {
        "mean_dice": dice["mean"],
        "median_dice": dice["median"],
        "recall": scores["pooled"]["recall"],
        "precision": scores["pooled"]["precision"],
        "lost": lost,
    }


def tabulate(record: Record) -> list[Table]:
    """A row for each configuration, with what it lost and the verdict."""
    results = record.results
    limits = results["limits"]
    rows = []
    for row in results["rows"]:
        lost = row["lost"]
        cells = [f"{row[key]:.4f}" for key in ("mean_dice", "median_dice", "recall", "precision")]
        if lost is None:
            cells += ["", "", "", ""]
        else:
            cells += [f"{lost[key]:+.4f}" for key in limits]
            kept = all(lost[key] <= limit for key, limit in limits.items())
            cells.append("within" if kept else "beyond")
        rows.append([", ".join(filter(None, (row["subject"], row["way"]))), *cells])
    header = ["", "mean Dice", "median", "recall", "precision", "mean lost", "a patient's lost",
              "recall lost", "limits"]  # fmt: skip
    first = "" if record.settings["limit"] is None else "the first "
    title = (
        f"Quality on {first}{count(results['patients'], record.settings['split'] + ' patient')} "
        f"({count(results['slices'], 'slice')})"
    )
    allowed = ", ".join(f"{limit:g} of {_LOST[name][1]}" for name, limit in limits.items())
    notes = [
        "Dice by patient after threshold and clean-up; recall and precision over all pixels. Lost: "
        f"by how much lower than PyTorch, at most {allowed}."
    ]
    return [Table(title, header, rows, notes)]
