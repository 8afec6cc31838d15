"""What artifacts are compared with: PyTorch's predictions for patients of a run's split."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from lgg_export.parity import Reference
from lgg_runtime.errors import InputError
from lgg_train.cases import CaseFiles, find_cases, load_cases
from lgg_train.evaluation import predict_cases
from lgg_train.phantom import PhantomSettings, write_phantoms
from lgg_train.run import CONFIG_FILE, SPLIT_FILE, TrainedModel, read_json
from lgg_train.splits import Split

# Where the dataset is not there: the part that was trained on has phantoms of its own.
PHANTOMS = PhantomSettings(patients=6, slices=24, seed=1000)
TRAINED_ON = "train"
MOST_TRAINED_ON = 10


def open_references(
    run: Path,
    model: TrainedModel,
    data: Path | None,
    part: str = "validation",
    most: int | None = None,
) -> tuple[str, Iterator[Reference]]:
    """What to compare on, in words, and PyTorch's predictions for it, one patient at a time.

    The patients of that part of the run's split, from `data` or else from where the run was
    trained; phantoms, and the words say so, where that folder is not there any more. most: so many
    patients at the most, spread evenly over the part. Ten of the training part where all patients
    trained.
    """
    folder = data or Path(read_json(run / CONFIG_FILE)["data"])
    if data is None and not folder.is_dir():
        phantoms = replace(PHANTOMS, seed=PHANTOMS.seed + 1) if part == TRAINED_ON else PHANTOMS
        words = f"{phantoms.patients} phantom patients, the dataset is not there"
        return words, _phantoms(model, phantoms)
    split = Split.read(run / SPLIT_FILE)
    if not split.parts[part]:
        part, most = TRAINED_ON, most or MOST_TRAINED_ON
    known = {case.patient: case for case in find_cases(folder)}
    missing = [name for name in split.patients(part) if name not in known]
    if missing:
        raise InputError(f"{folder}: patients of the split are missing: {', '.join(missing)}")
    chosen = [known[name] for name in split.patients(part)]
    if most is not None and most < len(chosen):
        chosen = [chosen[index * len(chosen) // most] for index in range(most)]
    return f"{len(chosen)} {part} patients", _references(model, chosen)


def choose_slices(reference: Reference, count: int) -> Reference:
    """So many slices of a patient, from the one with the largest tumour to those with none."""
    areas = np.count_nonzero(reference.truth, axis=(1, 2))
    order = np.argsort(-areas, kind="stable")
    chosen = order[:: max(1, len(order) // count)][:count]
    return Reference(
        reference.patient,
        reference.slices[chosen],
        reference.probability[chosen],
        reference.truth[chosen],
    )


def _references(model: TrainedModel, chosen: list[CaseFiles]) -> Iterator[Reference]:
    for files in chosen:
        case = load_cases([files])
        used = {files.patient: tuple(range(len(files.slices)))}
        for p in predict_cases(model.network, case, used, model.intensity):
            yield Reference(p.patient, p.slices, p.probability, p.truth)


def _phantoms(model: TrainedModel, settings: PhantomSettings) -> Iterator[Reference]:
    with tempfile.TemporaryDirectory() as folder:
        write_phantoms(Path(folder), settings)
        yield from _references(model, find_cases(Path(folder)))
