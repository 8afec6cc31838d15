"""The accuracy page: tables and pictures of trained runs, from the JSON in their folders alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lgg_bench.accuracy_figures import draw_calibration, draw_curves, draw_folds, draw_patients
from lgg_bench.document import fill_page
from lgg_bench.run_record import PARTS, RunRecord
from lgg_bench.table import Table
from lgg_runtime.errors import InputError, UsageError
from lgg_train.dataset import SampleSettings
from lgg_train.history import HISTORY_FILE
from lgg_train.options import RECIPES
from lgg_train.run import FLAIR_ONLY, read_json

_MEASURES = ("patients", "mean Dice (95 %)", "median", "worst tenth", "IoU", "precision", "recall",
             "F1")  # fmt: skip


@dataclass(frozen=True)
class Evidence:
    """What the page is made of.

    runs: split by patient; folds: `cv.json` by the recipe's name, or by RECIPE-AUGMENTATION for a
    recipe with another augmentation than its own; leaks: runs split by slice, named
    RECIPE-by-slice or RECIPE-AUGMENTATION-by-slice.
    """

    runs: Sequence[RunRecord]
    folds: dict[str, dict[str, Any]]
    leaks: Sequence[RunRecord] = ()

    @classmethod
    def read(
        cls, runs: Sequence[Path], folds: Sequence[Path] = (), leaks: Sequence[Path] = ()
    ) -> Evidence:
        """Raises InputError for a run without scores, by slice or with scores of several
        networks, and for a missing file; UsageError for two that the page would call by one name.
        """
        names = [path.stem.removeprefix("cv-") for path in folds]
        for given in (names, [run.name for run in runs], [run.name for run in leaks]):
            if twice := [name for name in given if given.count(name) > 1]:
                raise UsageError(f"two are called {twice[0]}: give each a name of its own")
        records = [_read_run(run) for run in runs]
        for run, record in zip(runs, records, strict=True):
            with _refusing_foreign(f"{run}: a run"):
                by, tested = record.config["training"]["split_by"], record.tested
            if by != "patient":
                raise InputError(f"{run}: split by {by}; --leak takes those by slice")
            if not record.rounds[-1]:
                raise InputError(f"{run}: no {HISTORY_FILE}, which training writes")
            if tested != records[0].tested:
                raise InputError(f"{run}: tested on other patients than {runs[0]}")
        return cls(
            records,
            {name: read_json(path) for name, path in zip(names, folds, strict=True)},
            [_read_run(run) for run in leaks],
        )

    @property
    def names(self) -> str:
        """All that it is made of, for messages."""
        runs = [run.name for run in (*self.runs, *self.leaks)]
        return ", ".join((*runs, *(f"cv-{name}.json" for name in self.folds)))

    def blocks(self) -> dict[str, str]:
        """The page's blocks by name. Raises InputError for files of another kind or version."""
        with _refusing_foreign(f"{self.names}: scores"):
            return {
                "scores": _scores(self.runs),
                "trust": _trust(self.runs),
                "institutions": _institutions(self.runs),
                "flair": _flair(self.runs, self.folds),
                "folds": _folds(self.folds),
                "leak": _leak(self.leaks, self.folds),
            }


def write_accuracy(evidence: Evidence, page: Path) -> None:
    """Fill the page's blocks and draw its pictures, as `fill_page` does.

    Raises InputError for scores of another kind and for a page without the blocks.
    """
    records = evidence.runs
    blocks = evidence.blocks()
    drawn = {r.name: evidence.folds[r.name] for r in records if r.name in evidence.folds}
    with _refusing_foreign(f"{evidence.names}: scores"):
        pictures = {
            "patients.png": draw_patients(records),
            "calibration.png": draw_calibration(records),
            "curves.png": draw_curves(records),
        }
        if drawn:
            pictures["folds.png"] = draw_folds(drawn)
    fill_page(page, blocks, pictures)


def _read_run(folder: Path) -> RunRecord:
    """Raises InputError as `RunRecord.read` does, and for scores of several networks."""
    record = RunRecord.read(folder)
    with _refusing_foreign(f"{folder}: a run"):
        networks = record.networks
    if len(networks) > 1:
        raise InputError(
            f"{folder}: scores of {len(networks)} networks; `lgg-train evaluate` scores anew"
        )
    return record


@contextmanager
def _refusing_foreign(what: str) -> Iterator[None]:
    """Raises InputError where files hold other values than training and scoring write."""
    try:
        yield
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{what} of another kind or version: {error!r}") from error


def _scores(records: Sequence[RunRecord]) -> str:
    rows = []
    for record in records:
        for part in PARTS:
            found = record.scores[part]
            interval = found["assessment"]["intervals"]["mean"]
            rows.append([record.label, part, *_measures(found, interval)])
    return Table("Patients never trained on", ("model", "part", *_MEASURES), rows).as_markdown()


def _measures(scores: dict[str, Any], interval: tuple[float, float]) -> list[str]:
    """The cells of _MEASURES; interval: of the mean Dice."""
    dice, pooled = scores["per_patient_dice"], scores["pooled"]
    low, high = interval
    return [
        str(dice["patients"]),
        f"{dice['mean']:.3f} ({low:.3f} to {high:.3f})",
        *(f"{dice[key]:.3f}" for key in ("median", "worst_tenth")),
        *(f"{pooled[key]:.3f}" for key in ("iou", "precision", "recall", "f1")),
    ]


def _trust(records: Sequence[RunRecord]) -> str:
    rows = []
    for record in records:
        for part in PARTS:
            found = record.scores[part]["assessment"]
            lesions, empty = found["lesions"], found["empty_slices"]
            rows.append(
                [record.name, part,
                 f"{lesions['found']} of {lesions['lesions']}",
                 f"{lesions['false_per_patient']:.2f}",
                 _pixels(found["hd95_pixels"]["median"]),
                 f"{100 * empty['fraction']:.1f} % of {empty['slices']}",
                 f"{found['calibration']['expected_error']:.4f}"]
            )  # fmt: skip
    header = ("model", "part", "lesions found", "false lesions a patient",
              "median HD95 [pixels]", "empty slices marked", "calibration error")  # fmt: skip
    return Table("Lesions, surfaces, empty slices, calibration", header, rows).as_markdown()


def _pixels(distance: float | None) -> str:
    """None where no patient has both a reference and a finding."""
    return "-" if distance is None else f"{distance:.1f}"


def _institutions(records: Sequence[RunRecord]) -> str:
    rows = [
        [record.name, part, name, f"{group['patients']}", f"{group['mean']:.3f}"]
        for record in records
        for part in PARTS
        for name, group in record.scores[part]["assessment"]["by_institution"].items()
    ]
    header = ("model", "part", "institution", "patients", "mean Dice")
    return Table("Dice by institution", header, rows).as_markdown()


def _flair(records: Sequence[RunRecord], folds: dict[str, dict[str, Any]]) -> str:
    """A row for each part of a run, and for each cross-validation, that was scored both ways."""
    pairs = [
        (record.name, part, record.scores[part], record.scores.get(f"{part}{FLAIR_ONLY}"))
        for record in records
        for part in PARTS
    ]
    pairs += [
        (name, "every patient, in folds", record, record.get("flair_only"))
        for name, record in folds.items()
    ]
    rows = []
    for name, part, full, alone in pairs:
        if alone is None:
            continue
        means = [scores["per_patient_dice"]["mean"] for scores in (full, alone)]
        recalls = [scores["pooled"]["recall"] for scores in (full, alone)]
        rows.append(
            [name, part, str(full["per_patient_dice"]["patients"]),
             *(f"{value:.3f}" for value in (*means, means[1] - means[0], *recalls))]
        )  # fmt: skip
    header = ("model", "part", "patients", "mean Dice, all three", "FLAIR alone", "difference",
              "recall, all three", "FLAIR alone")  # fmt: skip
    return Table("FLAIR in the place of the other sequences", header, rows).as_markdown()


def _folds(folds: dict[str, dict[str, Any]]) -> str:
    rows = []
    for name, record in folds.items():
        measures = _measures(record, record["intervals"]["mean"])
        errors = [fold["expected_calibration_error"] for fold in record["folds"]]
        rows.append([name, str(len(errors)), *measures, f"{max(errors):.4f}"])
    header = ("recipe", "folds", *_MEASURES, "largest calibration error of a fold")
    return Table("Cross-validation by patient", header, rows).as_markdown()


def _leak(leaks: Sequence[RunRecord], folds: dict[str, dict[str, Any]]) -> str:
    """A row for each run by slice, after that of its recipe's cross-validation by patient."""
    rows = []
    for record in leaks:
        recipe = record.name.partition("-by-")[0]
        augmentation = record.config["settings"]["samples"]["augmentation"]
        by_patient = folds.get(_name_folds(recipe.removesuffix(f"-{augmentation}"), augmentation))
        if by_patient is not None:
            rows.append([recipe, "patient, in folds", *_pooled(by_patient), ""])
        scores = record.scores["test"]
        by_image = f"{scores['pooled']['mean_iou_tumour_slices']:.4f}"
        rows.append([recipe, record.config["training"]["split_by"], *_pooled(scores), by_image])
    header = ("recipe", "split by", "test pixels", "IoU", "recall", "precision", "F1",
              "IoU, mean over tumour slices")  # fmt: skip
    return Table("The same code, two splits", header, rows).as_markdown()


def _name_folds(recipe: str, augmentation: str) -> str:
    """The name of a recipe's cross-validation with that augmentation, see Evidence."""
    own = RECIPES.get(recipe, {}).get("augmentation", SampleSettings.augmentation)
    is_own = recipe in RECIPES and augmentation == own
    return recipe if is_own else f"{recipe}-{augmentation}"


def _pooled(scores: dict[str, Any]) -> list[str]:
    pooled = scores["pooled"]
    support = pooled["support"]["tumour"] + pooled["support"]["background"]
    found = (f"{pooled[key]:.4f}" for key in ("iou", "recall", "precision", "f1"))
    return [f"{support:,}", *found]
