"""A part's scores, read back from a run's folder: what evaluation wrote, or nothing."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from lgg_runtime.errors import InputError
from lgg_runtime.metrics import Counts, join_scores
from lgg_train.decision import Decision
from lgg_train.run import MODEL_FILE, read_json
from lgg_train.trained import digest_model

_RESCORE = "`lgg-train evaluate` scores anew"


def read_scores(path: Path, remedy: str = _RESCORE) -> dict[str, Any]:
    """Raises InputError, with the remedy, for a file that holds no scores of a part, or numbers
    that cannot be of one evaluation.
    """
    record: dict[str, Any] = read_json(path)
    try:
        _require_scores(record)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise InputError(f"{path}: holds no scores; {remedy}") from error
    except InputError as error:
        raise InputError(f"{path}: {error}; {remedy}") from error
    return record


def read_own_scores(path: Path, remedy: str = _RESCORE) -> dict[str, Any]:
    """The scores of the network in `model.pt` beside them. Those written before they told whose
    they are count as its own.

    Raises InputError as `read_scores` does, and for scores of another network.
    """
    record = read_scores(path, remedy)
    if "model" in record and record["model"] != digest_model(path.parent):
        raise InputError(f"{path}: scores of another network than {MODEL_FILE} beside it; {remedy}")
    return record


def count_pixels(pooled: dict[str, Any]) -> Counts:
    """The pixel counts behind a record's ratios, which determine them."""
    tumour, background = pooled["support"]["tumour"], pooled["support"]["background"]
    tp = round(pooled["recall"] * tumour) if tumour else 0
    fn = tumour - tp
    fp = round((1 - pooled["accuracy"]) * (tumour + background)) - fn
    return Counts(tp, fp, fn, background - fp)


def _require_scores(record: dict[str, Any]) -> None:
    """Raises one of many errors where an entry is missing or no number, ValueError or InputError
    for numbers that do not go together.
    """
    dice = record["per_patient_dice"]["by_patient"]
    error = record["assessment"]["calibration"]["expected_error"]
    if not dice or not all(_is_fraction(value) for value in (*dice.values(), error)):
        raise ValueError("no fractions")
    _require_same(join_scores(count_pixels(record["pooled"]), dice), record)
    Decision.from_json(record["decision"])


def _is_fraction(value: object) -> bool:
    """True and false are none."""
    return type(value) in (int, float) and 0 <= value <= 1  # type: ignore[operator]


def _require_same(computed: dict[str, Any], recorded: dict[str, Any]) -> None:
    """Raises ValueError where a number that follows from others is another one."""
    for name, value in computed.items():
        if isinstance(value, dict):
            _require_same(value, recorded[name])
        elif not math.isclose(value, recorded[name], rel_tol=1e-9, abs_tol=1e-9):
            raise ValueError(f"{name}: {recorded[name]}, expected {value}")
