"""A run's network in int8: calibrated, and as much of it in float as its Dice needs."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import onnx

from lgg_export.limits import limits_of
from lgg_export.parity import Parity
from lgg_export.quantise import Quantiser, Target, float_layers
from lgg_export.references import choose_slices
from lgg_export.sensitivity import keep_sensitive
from lgg_runtime.plural import count
from lgg_train.prediction import Prediction

SLICES = 16  # of each patient

Judge = Callable[[str, Sequence[Prediction], onnx.ModelProto], Parity]


def quantise_run(
    graph: onnx.ModelProto,
    target: Target,
    references: tuple[str, Sequence[Prediction]],
    judge: Judge,
    progress: bool = False,
) -> tuple[onnx.ModelProto, dict[str, Any]]:
    """The int8 graph of a float one, and how it was made, for its contract.

    references: patients of the training part, in words and with PyTorch's predictions, whose
    slices give the ranges, and on whom layers are found that have to stay in float; judge:
    compares a graph on references; progress: show a bar where standard error is a terminal.
    Raises ParityError where no int8 graph loses little enough.
    """
    subject, patients = references
    few = [choose_slices(patient, SLICES) for patient in patients]
    with tempfile.TemporaryDirectory() as folder:
        quantiser = Quantiser(graph, [part.slices for part in few], target, Path(folder), progress)
        made = keep_sensitive(
            quantiser,
            partial(judge, subject, patients),
            partial(judge, f"slices of {subject}", few),
            limits_of(target.precision),
        )
    slices = sum(len(part.slices) for part in few)
    return made, {
        "calibrated_on": f"{count(slices, 'slice')} of {subject}",
        "float_layers": float_layers(made),
    }
