"""Files known by their SHA-256."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lgg_runtime.digests import digest_file, find_digest, require_digest
from lgg_runtime.errors import ModelError

# FIPS 180-2, B.1: the digest of "abc".
ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_the_digest_is_that_of_the_bytes(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"abc")
    assert digest_file(path) == ABC


def test_what_cannot_be_read_has_no_digest(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        digest_file(tmp_path / "gone.onnx")
    assert find_digest(tmp_path / "gone.onnx") is None


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert find_digest(tmp_path / "pipe") is None


def test_a_digest_in_capitals_and_none_at_all_are_met() -> None:
    require_digest("m.onnx", ABC, ABC.upper())
    require_digest("m.onnx", ABC, None)


def test_another_digest_is_refused_with_the_file_and_both() -> None:
    told = r"^m\.onnx: its SHA-256 is ba7816bf8f01\.\.\., expected 000000000000\.\.\.$"
    with pytest.raises(ModelError, match=told):
        require_digest("m.onnx", ABC, "0" * 64)
