"""Dataclasses from the values of parsed JSON, by the annotations of their fields."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cache
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from lgg_runtime.errors import ModelError

T = TypeVar("T")
_WORDS: dict[type, str] = {dict: "an object", list: "a list"}


def build(kind: Callable[..., T], value: Any, where: str, whole: bool = False) -> T:
    """A dataclass with every field's presence and type checked. Lists become tuples; a whole number
    serves where a fraction is meant.

    where: the value's name in messages; whole: a field with a default may not be missing either.
    Raises ModelError, which names the field.
    """
    _require(value, where, dict)
    fields = _fields_of(kind)
    for name in value:
        if name not in fields:
            raise ModelError(f"{where}: unknown field {name!r}")
    given: dict[str, Any] = {}
    for name, (annotation, has_default) in fields.items():
        if name in value:
            given[name] = _convert(annotation, value[name], f"{where}.{name}", whole)
        elif whole or not has_default:
            raise ModelError(f"{where}: field {name!r} is missing")
    return kind(**given)


@cache
def _fields_of(kind: Any) -> dict[str, tuple[Any, bool]]:
    """By name the annotation, and whether there is a default."""
    annotations, none = get_type_hints(kind), dataclasses.MISSING
    return {
        field.name: (annotations[field.name], {field.default, field.default_factory} != {none})
        for field in dataclasses.fields(kind)
    }


def _convert(annotation: Any, value: Any, where: str, whole: bool) -> Any:
    if annotation is Any or type(value) is annotation:  # true and false are no numbers
        return value
    if isinstance(annotation, type) and dataclasses.is_dataclass(annotation):
        return build(annotation, value, where, whole)
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is UnionType:  # of something and None
        return None if value is None else _convert(parts[0], value, where, whole)
    if origin is tuple:
        _require(value, where, list)
        if parts[-1] is not ... and len(value) != len(parts):
            raise ModelError(f"{where}: expected {len(parts)} entries, found {len(value)}")
        return tuple(_convert(parts[0], entry, where, whole) for entry in value)
    if origin is dict:
        _require(value, where, dict)
        return {name: _convert(parts[1], entry, where, whole) for name, entry in value.items()}
    if annotation is not float or type(value) is not int:
        raise _refusal(value, where, annotation)
    try:
        return float(value)
    except OverflowError as error:
        raise ModelError(f"{where}: the number is too large") from error


def _require(value: Any, where: str, kind: type) -> None:
    if not isinstance(value, kind):
        raise _refusal(value, where, kind)


def _refusal(value: Any, where: str, kind: type) -> ModelError:
    expected = _WORDS.get(kind, kind.__name__)
    return ModelError(f"{where}: expected {expected}, found {type(value).__name__}")
