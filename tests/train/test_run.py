"""A run's folder: its JSON is written and read back, and what is none is refused."""

import json
import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from lgg_runtime.errors import InputError, ResourceError
from lgg_train.run import read_json, versions, write_json
from lgg_train.splits import Split


def test_json_is_read_as_it_was_written(tmp_path):
    value = {"a": [1, 2.5, None], "b": {"c": "é"}}
    write_json(tmp_path / "x.json", value)
    assert read_json(tmp_path / "x.json") == value
    assert json.loads((tmp_path / "x.json").read_bytes()) == value


def test_json_that_is_missing_or_none_is_refused_by_name(tmp_path):
    with pytest.raises(InputError, match=r"x\.json: no such file"):
        read_json(tmp_path / "x.json")
    for text in ("{", "[" * 100_000, '{"threshold": 0.1, "threshold": 0.9}', "\ud800"):
        (tmp_path / "x.json").write_bytes(text.encode("utf-8", "surrogatepass"))
        with pytest.raises(InputError, match=rf"^{re.escape(str(tmp_path))}/x\.json: not JSON \("):
            read_json(tmp_path / "x.json")
    with pytest.raises(ResourceError, match=r"y\.json"):
        write_json(tmp_path / "nowhere" / "y.json", 1)


def test_the_versions_of_what_decides_the_numbers_are_told():
    found = versions()
    assert found["torch"] == torch.__version__
    assert {"python", "lgg-edge", "albumentations", "numpy"} <= set(found)


def test_a_folder_in_the_place_of_json_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"cannot be read \(Is a directory\)"):
        read_json(tmp_path)


def test_a_device_and_a_pipe_that_nobody_writes_to_are_no_json_and_end(tmp_path):
    (tmp_path / "zero.json").symlink_to("/dev/zero")
    with pytest.raises(InputError, match=r"zero\.json: cannot be read \(a device; expected"):
        read_json(tmp_path / "zero.json")
    os.mkfifo(tmp_path / "pipe.json")
    with pytest.raises(InputError, match=r"pipe\.json: not JSON"):
        read_json(tmp_path / "pipe.json")
    with pytest.raises(InputError, match=r"pipe\.json: not a split file"):
        Split.read(tmp_path / "pipe.json")


def test_json_comes_through_a_pipe_as_a_shell_s_substitution_gives_it():
    reader, writer = os.pipe()
    with os.fdopen(reader), os.fdopen(writer, "w") as stream, ThreadPoolExecutor(1) as beside:
        read = beside.submit(read_json, Path(f"/dev/fd/{reader}"))
        stream.write('{"a": 1}')
        stream.close()
        assert read.result() == {"a": 1}


def test_json_of_more_than_a_record_holds_is_refused(tmp_path):
    with (tmp_path / "large.json").open("wb") as stream:
        stream.truncate(2**26 + 1)
    with pytest.raises(
        InputError, match=r"large\.json: cannot be read \(more than 67108864 bytes\)"
    ):
        read_json(tmp_path / "large.json")
