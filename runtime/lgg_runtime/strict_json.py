"""JSON that all readers take for the same: no field twice, no NaN or infinity, few levels."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any

from lgg_runtime.errors import ModelError

MOST_LEVELS = 64  # what walks a value calls itself once a level, and Python ends that near 1,000


def loads(text: str) -> Any:
    """The value of a text. Raises ModelError, the reason alone, for what is no such JSON."""
    try:
        value = json.loads(
            text,
            object_pairs_hook=_given_once,
            parse_constant=_refuse_constant,
            parse_float=_read_float,
        )
    except (TypeError, ValueError, RecursionError) as error:  # a value of Python that is no text
        raise ModelError(f"not JSON ({error})") from error
    level = [value]
    for _ in range(MOST_LEVELS):
        level = [inner for entry in level for inner in _held(entry)]
        if not level:
            return value
    raise ModelError(f"JSON of more than {MOST_LEVELS} levels; refused")


def _held(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _given_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ModelError("not JSON (a field stands twice)")
    return value


def _read_float(digits: str) -> float:
    value = float(digits)
    return value if math.isfinite(value) else _refuse_constant(digits)


def _refuse_constant(name: str) -> float:
    raise ModelError(f"not JSON ({name} is no number of it)")
