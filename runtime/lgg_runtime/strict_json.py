"""JSON that all readers take for the same: no field twice, no NaN or infinity."""

from __future__ import annotations

import json
import math
from typing import Any

from lgg_runtime.errors import ModelError


def loads(text: str) -> Any:
    """The value of a text. Raises ModelError, the reason alone, for what is no such JSON."""
    try:
        return json.loads(
            text,
            object_pairs_hook=_given_once,
            parse_constant=_refuse_constant,
            parse_float=_read_float,
        )
    except (ValueError, RecursionError) as error:
        raise ModelError(f"not JSON ({error})") from error


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
