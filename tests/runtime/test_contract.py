"""The contract's JSON: a round trip, and one line for each thing that can be wrong with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lgg_runtime.cleanup import CleanupSettings
from lgg_runtime.contract import Contract, Golden, Training
from lgg_runtime.crop import CropSettings
from lgg_runtime.errors import ModelError
from lgg_runtime.intensity import IntensitySettings
from lgg_runtime.plausibility import PlausibilitySettings

OPTIONAL = {"metrics", "parity", "channels", "size_multiple", "licence", "intended_use", "schema"}
OPTIONAL |= {"pixel_mm"}
OPTIONAL |= {"crop", *(f"crop.{name}" for name in CropSettings.__dataclass_fields__)}
OPTIONAL |= {f"plausibility.{name}" for name in PlausibilitySettings.__dataclass_fields__}
OPTIONAL |= {"plausibility"}
OPTIONAL |= {f"intensity.{name}" for name in IntensitySettings.__dataclass_fields__}
OPTIONAL |= {f"cleanup.{name}" for name in CleanupSettings.__dataclass_fields__}
NESTED = {
    "intensity": IntensitySettings,
    "cleanup": CleanupSettings,
    "crop": CropSettings,
    "plausibility": PlausibilitySettings,
    "training": Training,
    "golden": Golden,
}
ROOMS = {"": Contract} | {f"{name}.": kind for name, kind in NESTED.items()}
TYPES = {  # what stands in the annotation of each field, by its dotted name
    room + name: str(field.type)
    for room, kind in ROOMS.items()
    for name, field in kind.__dataclass_fields__.items()
}
ANOTHER_TYPE: dict[str, list[Any]] = {
    "str": [None, True, 3, 1.5, ["text"], {}],
    "int": [None, True, "3", 1.5, [3], {}],
    "float": [None, True, "1.5", [1.5], {}],
    "tuple[str, ...]": [None, True, "FLAIR", 3, [3], [None], {"FLAIR": 1}],
    "tuple[int, ...]": [None, True, 3, ["3"], [1.5], [True], [[3]]],
    "tuple[float, ...]": [None, True, 1.5, ["1.5"], [True], [[1.5]]],
    "dict[str, Any]": [None, True, "text", 3, [], [["key", 1]]],
    "dict[str, int]": [None, 3, [], {"train": None}, {"train": 1.5}, {"train": True}],
} | {kind.__name__: [None, True, "text", 3, [], ["text"]] for kind in NESTED.values()}
MISTYPED = [(name, value) for name, kind in TYPES.items() for value in ANOTHER_TYPE[kind]]
Json = dict[str, Any]


@pytest.fixture(scope="module")
def valid(make_contract: Callable[..., Contract]) -> Contract:
    metrics = {"test": {"pooled": {"iou": 0.8}}}
    return make_contract(metrics=metrics, cleanup=CleanupSettings(0.1, 20))


def changed(contract: Contract, field: str, change: Callable[[Json, str], Any]) -> str:
    """The contract's text after `change(object, key)` at a dotted name."""
    value = json.loads(contract.dumps())
    *rooms, key = field.split(".")
    change(value[rooms[0]] if rooms else value, key)
    return json.dumps(value)


def replaced(contract: Contract, field: str, by: Any) -> str:
    return changed(contract, field, lambda held, key: held.update({key: by}))


def test_a_contract_reads_back_as_it_was_written(valid: Contract) -> None:
    assert Contract.loads(valid.dumps()) == valid


def test_a_whole_number_serves_where_a_fraction_is_meant(valid: Contract) -> None:
    read = Contract.loads(replaced(valid, "golden.samples", [0, 1]))
    assert read.golden.samples == (0.0, 1.0)
    assert all(type(sample) is float for sample in read.golden.samples)
    centre = Contract.loads(replaced(valid, "intensity.centre", 90)).intensity.centre
    assert (centre, type(centre)) == (90.0, float)


def test_what_is_no_text_is_refused() -> None:
    text: Any
    for text in (None, 5, {}):
        with pytest.raises(ModelError, match=r"^contract: not JSON \(the JSON object must be str"):
            Contract.loads(text)


@pytest.mark.parametrize("field", list(TYPES))
def test_a_missing_field_is_named_unless_it_has_a_default(valid: Contract, field: str) -> None:
    text = changed(valid, field, lambda held, key: held.pop(key))
    if field in OPTIONAL:
        assert isinstance(Contract.loads(text), Contract)
    else:
        *_, name = field.split(".")
        with pytest.raises(ModelError, match=f"field '{name}' is missing"):
            Contract.loads(text)


@pytest.mark.parametrize("room", ["", *(f"{name}." for name in NESTED)])
def test_an_unknown_field_is_named(valid: Contract, room: str) -> None:
    with pytest.raises(ModelError, match=r"contract.*: unknown field 'surprise'") as refused:
        Contract.loads(replaced(valid, f"{room}surprise", 1))
    assert str(refused.value).startswith(f"contract.{room}"[:-1] if room else "contract:")


@pytest.mark.parametrize(("field", "value"), MISTYPED, ids=str)
def test_a_field_of_another_type_is_named(valid: Contract, field: str, value: Any) -> None:
    with pytest.raises(ModelError, match=f"contract.{field}: expected") as refused:
        Contract.loads(replaced(valid, field, value))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("schema", 0),
        ("schema", 2),
        ("threshold", 0),
        ("threshold", 1e-9),
        ("threshold", 1),
        ("threshold", -0.1),
        ("channels", ["FLAIR", "pre-contrast", "post-contrast"]),
        ("size_multiple", 0),
        ("size_multiple", 513),
        ("size_multiple", 10**30),
        ("golden.tolerance", -1e-9),
        ("golden.tolerance", 0.21),
        ("name", ""),
        ("name", "  "),
        ("name", "x" * 56),
        ("name", "a\nb"),
        ("name", "a\\b"),
        ("name", "\x1b[31m"),
        ("precision", "fp32\x1b[2J"),
        ("parity", {"subject": "\x1b[2J"}),
        ("metrics", {"a\nb": 1}),
        ("training.patients", {"\x07": 3}),
        ("how_decided", "one\ntwo"),
        ("training.split", "\x07"),
        ("golden.input_sha256", "\x85"),
        ("pixel_mm", 0),
        ("pixel_mm", -0.9375),
        ("pixel_mm", 1e6),
        ("intensity.bright_percentile", 100.5),
        ("intensity.smallest_spread", 0),
        ("intensity.scale", 0),
        ("intensity.centre", 256),
        ("intensity.head_fraction", -0.1),
        ("cleanup.smallest_fraction", 1.1),
        ("cleanup.smallest_voxels", -1),
        ("crop.line_fraction", 0.6),
        ("crop.margin", -1),
        ("crop.step", 0),
    ],
)
def test_a_value_that_cannot_be_is_named(valid: Contract, field: str, value: Any) -> None:
    with pytest.raises(ModelError, match=field):
        Contract.loads(replaced(valid, field, value))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("field", ["threshold", "pixel_mm", "intensity.scale", "metrics"])
def test_what_is_no_number_of_json_is_refused(valid: Contract, field: str, value: float) -> None:
    told = {"of": value} if field == "metrics" else value
    with pytest.raises(ModelError, match=r"^contract: not JSON \((NaN|-?Infinity) is no number"):
        Contract.loads(replaced(valid, field, told))


def test_a_number_that_floating_point_holds_as_infinity_is_refused(valid: Contract) -> None:
    written = replace(valid, metrics={"of": 0.125}).dumps()
    with pytest.raises(ModelError, match="1e999 is no number"):
        Contract.loads(written.replace("0.125", "1e999"))


@pytest.mark.parametrize("field", ["threshold", "pixel_mm"])
def test_nan_is_refused_by_the_contract_itself(valid: Contract, field: str) -> None:
    with pytest.raises(ModelError, match=field):
        replace(valid, **{field: float("nan")})


@pytest.mark.parametrize(
    ("text", "twice"),
    [('"threshold": ', '"threshold": 0.9, "threshold": '), ('"shape": ', '"shape": [], "shape": ')],
)
def test_a_field_that_stands_twice_is_refused(valid: Contract, text: str, twice: str) -> None:
    written = valid.dumps()
    assert written.count(text) == 1
    with pytest.raises(ModelError, match=r"^contract: not JSON \(a field stands twice\)"):
        Contract.loads(written.replace(text, twice))


@pytest.mark.parametrize("threshold", [1e-6, 0.5, 1 - 1e-9])
def test_every_threshold_between_the_bounds_is_taken(valid: Contract, threshold: float) -> None:
    assert Contract.loads(replaced(valid, "threshold", threshold)).threshold == threshold


@pytest.mark.parametrize("field", ["threshold", "intensity.centre", "golden.tolerance"])
def test_a_number_beyond_floating_point_is_refused(valid: Contract, field: str) -> None:
    with pytest.raises(ModelError, match=f"contract.{field}: the number is too large"):
        Contract.loads(replaced(valid, field, 10**400))


def test_a_list_of_numbers_beyond_floating_point_is_refused(valid: Contract) -> None:
    with pytest.raises(ModelError, match=r"contract.golden.samples: the number is too large"):
        Contract.loads(replaced(valid, "golden.samples", [0.5, 10**400]))


@pytest.mark.parametrize(
    "text", ["", "{", "contract", "[" * 100_000, "9" * 5000, "\ud800", "{'threshold': 0.5}"]
)
def test_what_is_not_json_is_refused(text: str) -> None:
    with pytest.raises(ModelError, match="contract: not JSON"):
        Contract.loads(text)


@pytest.mark.parametrize("text", ["null", "[]", "1", '"contract"', "true"])
def test_json_that_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(ModelError, match="contract: expected an object, found"):
        Contract.loads(text)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)


def read_or_refused(text: str) -> None:
    try:
        contract = Contract.loads(text)
    except ModelError as error:
        assert "contract" in str(error)
    else:
        assert Contract.loads(contract.dumps()) == contract


@settings(deadline=None)
@given(st.text() | json_values.map(json.dumps))
def test_any_text_is_a_contract_or_refused(text: str) -> None:
    read_or_refused(text)


finite_values = json_values.filter(lambda value: "NaN" not in json.dumps(value))


@settings(deadline=None, max_examples=300)
@given(field=st.sampled_from(list(TYPES)), value=finite_values)
def test_any_value_in_any_field_is_taken_or_refused(
    valid: Contract, field: str, value: Any
) -> None:
    read_or_refused(replaced(valid, field, value))


@pytest.mark.parametrize("bounds", [(0.0,), (0.0, 1.0, 2.0), (1.0, 0.0), (0.0, 2.0, 1.0, 3.0)])
def test_bounds_that_do_not_rise_or_are_no_pairs_are_refused(
    valid: Contract, bounds: tuple[float, ...]
) -> None:
    changed = valid.to_json()
    changed["plausibility"]["rim"] = list(bounds)
    with pytest.raises(ModelError, match=r"plausibility\.rim: expected 2 or 4 bounds that rise"):
        Contract.loads(json.dumps(changed))


@pytest.mark.parametrize(("levels", "taken"), [(64, True), (65, False), (900, False)])
def test_levels_that_no_printer_descends_are_refused(
    valid: Contract, levels: int, taken: bool
) -> None:
    # The contract itself is one level, the innermost number another.
    deep = '{"a": ' * (levels - 2) + "1" + "}" * (levels - 2)
    text = json.dumps(valid.to_json() | {"metrics": {}}).replace(
        '"metrics": {}', f'"metrics": {deep}'
    )
    if taken:
        assert '"a": 1' in Contract.loads(text).dumps()
        return
    with pytest.raises(ModelError, match=r"^contract: JSON of more than 64 levels; refused$"):
        Contract.loads(text)
