"""What artifacts are called in a table."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from lgg_bench.artifacts import contract_differences, digest_run, label_artifacts
from lgg_runtime.cleanup import CleanupSettings
from lgg_runtime.contract import Training
from lgg_runtime.errors import InputError, ModelError, UsageError
from lgg_runtime.intensity import IntensitySettings

LONG = "n" * 300


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
    with pytest.raises(ModelError, match=r"n: cannot be opened: File name too long$"):
        label_artifacts([files[0], tmp_path / LONG])


def test_a_run_whose_weights_are_not_there_or_cannot_be_read_is_named(files, tmp_path):
    assert digest_run(None) is None
    for run in (tmp_path / "gone", files[0], tmp_path / "other"):
        with pytest.raises(InputError, match=rf"{run}: no model\.pt in it$"):
            digest_run(run)
    with pytest.raises(InputError, match=r"n: cannot be read \(File name too long\)$"):
        digest_run(tmp_path / LONG)


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
