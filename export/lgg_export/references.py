"""What artifacts are compared with: PyTorch's predictions for patients of a run's split."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from lgg_runtime.plural import count
from lgg_train.cases import find_cases, load_case
from lgg_train.evaluation import predict_cases
from lgg_train.phantom import PhantomSettings, write_phantoms
from lgg_train.prediction import Prediction
from lgg_train.run import SPLIT_FILE, check_cases, read_config
from lgg_train.splits import check_held
from lgg_train.trained import TrainedModel, read_split

# Where the dataset is not there: the part that was trained on has phantoms of its own.
PHANTOMS = PhantomSettings(patients=6, slices=24, seed=1000)
CALIBRATED_ON, COMPARED_ON = 12, 10  # patients of the training part


def find_dataset(run: Path, data: Path | None) -> Path | None:
    """The dataset's folder, None where the one that the run was trained on is gone; of one that one
    may not look for, `find_cases` says so.
    """
    folder = data or Path(read_config(run, "data")["data"])
    try:
        return None if data is None and not folder.is_dir() else folder
    except OSError:
        return folder


def open_references(
    run: Path,
    model: TrainedModel,
    data: Path | None,
    part: str = "validation",
    is_int8: bool = False,
) -> tuple[str, Iterator[Prediction]]:
    """What to compare on, in words, and PyTorch's predictions for it, one patient at a time.

    The patients of that part of the run's split, from `data` or else from where the run was
    trained; phantoms, and the words say so, where that folder is not there any more. Where all
    patients trained, ten of those whom `open_calibration` does not take, spread evenly; where it
    takes all, the words for an int8 artifact say so.
    """
    folder = find_dataset(run, data)
    if folder is None:
        return _phantoms(model, PHANTOMS)
    split = read_split(run, model)
    names, note = split.patients(part), ""
    if not names:
        trained = split.patients("train")
        others = set(trained) - set(_spread(trained, CALIBRATED_ON))
        names = _spread(sorted(others) or trained, COMPARED_ON)
        part = "train"
        if is_int8 and not others:
            note = ", int8's ranges are of them too"
    members = {name: split.parts[part][name] for name in names}
    stream = _of_dataset(run, model, folder, members)
    return count(len(members), f"{part} patient") + note, stream


def open_calibration(
    run: Path, model: TrainedModel, data: Path | None
) -> tuple[str, Iterator[Prediction]]:
    """The same of twelve patients who trained, spread evenly, or of other phantoms."""
    folder = find_dataset(run, data)
    if folder is None:
        return _phantoms(model, replace(PHANTOMS, seed=PHANTOMS.seed + 1))
    split = read_split(run, model)
    names = _spread(split.patients("train"), CALIBRATED_ON)
    members = {name: split.parts["train"][name] for name in names}
    stream = _of_dataset(run, model, folder, members)
    return count(len(members), "train patient"), stream


def choose_slices(reference: Prediction, most: int) -> Prediction:
    """So many slices of a patient, from the one with the largest tumour to those with none."""
    counted = np.array(reference.used)
    areas = np.count_nonzero(reference.truth[counted], axis=(1, 2))
    order = counted[np.argsort(-areas, kind="stable")]
    chosen = order[np.linspace(0, len(order) - 1, min(most, len(order))).round().astype(int)]
    return replace(
        reference,
        slices=reference.slices[chosen],
        probability=reference.probability[chosen],
        truth=reference.truth[chosen],
        used=tuple(range(len(chosen))),
        head=reference.head[chosen],
    )


def _spread(names: list[str], most: int) -> list[str]:
    number = min(most, len(names))
    return [names[index * len(names) // number] for index in range(number)]


def _of_dataset(
    run: Path, model: TrainedModel, folder: Path, members: dict[str, tuple[int, ...]]
) -> Iterator[Prediction]:
    """members: by patient the slices that count."""
    known = {case.patient: case for case in find_cases(folder)}
    check_held(members, known, run / SPLIT_FILE)

    def stream() -> Iterator[Prediction]:
        for name in members:
            case = load_case(known[name])
            check_cases(run, [case])
            yield from predict_cases(model.network, [case], members, model.intensity)

    return stream()


def _phantoms(model: TrainedModel, settings: PhantomSettings) -> tuple[str, Iterator[Prediction]]:
    words = f"{settings.patients} phantom patients, the dataset is not there"
    return words, _draw(model, settings)


def _draw(model: TrainedModel, settings: PhantomSettings) -> Iterator[Prediction]:
    with tempfile.TemporaryDirectory() as folder:
        write_phantoms(Path(folder), settings)
        for files in find_cases(Path(folder)):
            used = {files.patient: tuple(range(len(files.slices)))}
            yield from predict_cases(model.network, [load_case(files)], used, model.intensity)
