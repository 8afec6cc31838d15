"""What artifacts are called in a table."""

import pytest

from lgg_bench.artifacts import label_artifacts
from lgg_runtime.errors import ModelError, UsageError


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
