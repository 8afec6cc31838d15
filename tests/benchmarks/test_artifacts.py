"""What artifacts are called in a table."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from lgg_bench.artifacts import contract_differences, label_artifacts
from lgg_runtime.cleanup import CleanupSettings
from lgg_runtime.contract import Training
from lgg_runtime.errors import ModelError, UsageError
from lgg_runtime.intensity import IntensitySettings


@pytest.fixture
def files(tmp_path):
    paths = [tmp_path / name for name in ("a.onnx", "b.onnx", "other/a.onnx")]
    (tmp_path / "other").mkdir()
    for path in paths:
        path.write_bytes(path.name.encode())
    return paths


def test_the_name_is_enough_where_it_is_alone(files):
    a, b, other = files
    assert label_artifacts([b, a]) == {"b.onnx": b, "a.onnx": a}
    assert label_artifacts([a, b, other]) == {str(a): a, "b.onnx": b, str(other): other}


def test_refuses_a_file_given_twice(files):
    with pytest.raises(UsageError, match="twice"):
        label_artifacts([files[0], files[1], files[0]])


def test_names_a_file_that_is_not_there(files, tmp_path):
    with pytest.raises(ModelError, match=r"none\.onnx: no such model"):
        label_artifacts([files[0], tmp_path / "none.onnx"])


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({}, None),
        ({"threshold": 0.4}, "threshold"),
        ({"cleanup": CleanupSettings(1.0)}, "clean-up"),
        ({"intensity": IntensitySettings(centre=90)}, "intensity"),
        ({"training": Training("d" * 64, "6" * 64, "patient", {})}, "training data or split"),
    ],
)
def test_each_thing_that_a_contract_says_otherwise_than_the_run_is_named(
    make_contract, change, named
):
    contract = make_contract()
    decision = SimpleNamespace(threshold=contract.threshold, cleanup=contract.cleanup)
    model = SimpleNamespace(
        decision=decision, intensity=contract.intensity, training=contract.training
    )
    found = contract_differences(replace(contract, **change), model)
    assert found == ([] if named is None else [f"its contract's {named} is not the run's"])
