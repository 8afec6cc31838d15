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
from lgg_train.run import CONFIG_FILE, TrainedModel, read_json, read_split

# Where the dataset is not there: the part that was trained on has phantoms of its own.
PHANTOMS = PhantomSettings(patients=6, slices=24, seed=1000)
CALIBRATED_ON, COMPARED_ON = 12, 10  # patients of the training part


def open_references(
    run: Path, model: TrainedModel, data: Path | None, part: str = "validation"
) -> tuple[str, Iterator[Reference]]:
    """What to compare on, in words, and PyTorch's predictions for it, one patient at a time.

    The patients of that part of the run's split, from `data` or else from where the run was
    trained; phantoms, and the words say so, where that folder is not there any more. Where all
    patients trained, ten of those whom `open_calibration` does not take, spread evenly.
    """
    folder = _folder_of(run, data)
    if folder is None:
        return _phantoms(model, PHANTOMS)
    split = read_split(run, model)
    names = split.patients(part)
    if not names:
        trained = split.patients("train")
        others = set(trained) - set(_spread(trained, CALIBRATED_ON))
        names = _spread(sorted(others) or trained, COMPARED_ON)
        note = "" if others else ", int8's ranges are of them too"
        return _of_dataset(model, folder, names, f"train patients{note}")
    return _of_dataset(model, folder, names, f"{part} patients")


def open_calibration(
    run: Path, model: TrainedModel, data: Path | None
) -> tuple[str, Iterator[Reference]]:
    """The same of twelve patients who trained, spread evenly, or of other phantoms."""
    folder = _folder_of(run, data)
    if folder is None:
        return _phantoms(model, replace(PHANTOMS, seed=PHANTOMS.seed + 1))
    names = _spread(read_split(run, model).patients("train"), CALIBRATED_ON)
    return _of_dataset(model, folder, names, "train patients")


def choose_slices(reference: Reference, count: int) -> Reference:
    """So many slices of a patient, from the one with the largest tumour to those with none."""
    areas = np.count_nonzero(reference.truth, axis=(1, 2))
    order = np.argsort(-areas, kind="stable")
    chosen = order[np.linspace(0, len(order) - 1, min(count, len(order))).round().astype(int)]
    return Reference(
        reference.patient,
        reference.slices[chosen],
        reference.probability[chosen],
        reference.truth[chosen],
    )


def _folder_of(run: Path, data: Path | None) -> Path | None:
    """The dataset's folder, None where the one that the run was trained on is gone."""
    folder = data or Path(read_json(run / CONFIG_FILE)["data"])
    return None if data is None and not folder.is_dir() else folder


def _spread(names: list[str], most: int) -> list[str]:
    count = min(most, len(names))
    return [names[index * len(names) // count] for index in range(count)]


def _of_dataset(
    model: TrainedModel, folder: Path, names: list[str], what: str
) -> tuple[str, Iterator[Reference]]:
    known = {case.patient: case for case in find_cases(folder)}
    if missing := [name for name in names if name not in known]:
        raise InputError(f"{folder}: patients of the split are missing: {', '.join(missing)}")
    return f"{len(names)} {what}", _references(model, [known[name] for name in names])


def _references(model: TrainedModel, chosen: list[CaseFiles]) -> Iterator[Reference]:
    for files in chosen:
        case = load_cases([files])
        used = {files.patient: tuple(range(len(files.slices)))}
        for p in predict_cases(model.network, case, used, model.intensity):
            yield Reference(p.patient, p.slices, p.probability, p.truth)


def _phantoms(model: TrainedModel, settings: PhantomSettings) -> tuple[str, Iterator[Reference]]:
    words = f"{settings.patients} phantom patients, the dataset is not there"
    return words, _draw(model, settings)


def _draw(model: TrainedModel, settings: PhantomSettings) -> Iterator[Reference]:
    with tempfile.TemporaryDirectory() as folder:
        write_phantoms(Path(folder), settings)
        yield from _references(model, find_cases(Path(folder)))
