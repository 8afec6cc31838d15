"""The tree of errors: each has the exit code that its page and the command's help promise."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from lgg_runtime import Segmenter, Volume, cli, errors
from lgg_runtime.readers.folder import list_studies

CODES = {
    "LggError": 1,
    "UsageError": 2,
    "InputError": 3,
    "NoInputError": 4,
    "FetchError": 4,
    "ModelError": 5,
    "ProviderError": 6,
    "MissingExtraError": 6,
    "ResourceError": 7,
    "OutOfMemoryError": 7,
    "StoreError": 7,
    "OutputConflictError": 8,
    "ParityError": 9,
}


def test_every_error_has_its_exit_code() -> None:
    own = {n: v for n, v in vars(errors).items() if getattr(v, "__module__", "") == errors.__name__}
    classes = {n: v for n, v in own.items() if isinstance(v, type)}
    assert {name: kind.exit_code for name, kind in classes.items()} == CODES
    assert all(issubclass(kind, errors.LggError) for kind in classes.values())


def test_a_name_is_put_before_the_reason_of_an_error_of_its_kind_alone() -> None:
    with pytest.raises(errors.InputError, match=r"^1\.png: cut short$"), errors.naming("1.png"):
        raise errors.InputError("cut short")
    with pytest.raises(errors.ModelError, match=r"^no contract$"), errors.naming("1.png"):
        raise errors.ModelError("no contract")


def test_the_drawn_tree_is_the_tree() -> None:
    drawn = re.findall(r"^([ │├└─]*)(\w+Error) +(\d)", errors.__doc__ or "", re.MULTILINE)
    assert {name: int(code) for _, name, code in drawn} == CODES
    bases, above = {}, ["Exception"]
    for branch, name, _ in drawn:
        del above[len(branch) // 4 + 1 :]  # four columns a level
        bases[name] = above[-1]
        above.append(name)
    assert {name: getattr(errors, name).__base__.__name__ for name in CODES} == bases


def test_the_help_of_the_command_tells_the_exit_codes() -> None:
    told = {int(code) for code in re.findall(r"\b(\d+) ", cli.EXIT_CODES)}
    assert {2, 3, 4, 5, 6, 7, 8, 130, 143} <= told


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("café 1.png", "café 1.png"),
        ("a\nb", r"a\nb"),
        ("a\x1b[31m", r"a\x1b[31m"),
        ("caf\udce9", r"caf\udce9"),
        ("", ""),
    ],
)
def test_a_name_in_a_message_stays_on_its_line(name: str, shown: str) -> None:
    assert errors.printable(name) == shown


@pytest.mark.parametrize("name", sorted(CODES))
def test_the_text_of_an_error_is_one_line(name: str) -> None:
    assert str(getattr(errors, name)("a\nb\x1b[31m.onnx: café")) == r"a\nb\x1b[31m.onnx: caf\xe9"
    assert str(getattr(errors, name)("a\\b.onnx: café")) == "a\\b.onnx: café"


def test_so_is_that_of_a_name_or_a_value_which_is_not(tmp_path: Path) -> None:
    pixels = np.zeros((1, 16, 16, 3), np.uint8)
    with pytest.raises(errors.ModelError, match=r"^no\\nsuch: no such model; .*$"):
        Segmenter.load("no\nsuch")
    with pytest.raises(errors.NoInputError, match=r"/no\\nsuch: no such file or folder$"):
        list_studies(tmp_path / "no\nsuch")
    with pytest.raises(errors.InputError, match=r"in mm, found \[\[1\. 0\.\]\\n \[0\. 1\.\]\]$"):
        Volume(pixels, spacing_mm=np.eye(2))  # type: ignore[arg-type]


def test_of_a_megabyte_that_a_file_held_a_message_keeps_both_ends() -> None:
    text = str(errors.ModelError("a.onnx: found " + 10**6 * "x" + "; export it again"))
    assert text.startswith("a.onnx: found xx")
    assert text.endswith("xx; export it again")
    assert len(text) < 5000
