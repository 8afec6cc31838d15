"""Every row of the catalogue, through the real commands in this process."""

from __future__ import annotations

import importlib
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from catalogue import SECTIONS
from catalogue.row import Outcome, Row, Scene, digests
from stand_ins.signals import keeping_handlers

ROWS = [(section.title, row) for section in SECTIONS for row in section.rows]
MAINS = {
    "lgg-infer": "lgg_runtime.cli",
    "lgg-train": "lgg_train.cli",
    "lgg-export": "lgg_export.cli",
}
PATIENT = ("Drawn", "By Code", "LGGPH", "ACC0000", "19010203", "20010203", "2.25.")

Call = Callable[[tuple[str, ...]], tuple[int, str, str]]


@pytest.fixture
def scene(
    tmp_path: Path,
    artifact: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> Iterator[Scene]:
    with ExitStack() as later:
        made = Scene(tmp_path, monkeypatch, later, request.getfixturevalue)
        shutil.copy(artifact, made.model)
        made.put_good()
        monkeypatch.chdir(tmp_path)
        yield made


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Call:
    """Calls a command as the shell does: returns its exit code, standard output and error."""

    def call(command: tuple[str, ...]) -> tuple[int, str, str]:
        main = importlib.import_module(MAINS[command[0]]).main
        monkeypatch.setattr("sys.argv", [*command, *_for_tests(command)])
        capfd.readouterr()
        with keeping_handlers(), pytest.raises(SystemExit) as ended:
            main()
        return int(str(ended.value.code)), *capfd.readouterr()

    return call


def _for_tests(command: tuple[str, ...]) -> list[str]:
    """Options that no row is about: the tiny artifact, two threads, errors alone."""
    if command[0] != "lgg-infer":
        return []
    model = [] if "-m" in command else ["-m", "model.onnx"]
    quiet = [] if "--no-progress" in command else ["--quiet"]
    return [*model, "--threads", "2", *quiet]


def _pattern(says: str) -> str:
    """The words in braces stand for anything within a line."""
    return ".+".join(re.escape(part) for part in re.split(r"\{[^}]*\}", says))


@pytest.mark.parametrize("row", [row for _, row in ROWS], ids=[f"{t}: {r.name}" for t, r in ROWS])
def test_a_row_ends_as_it_says_and_preserves_what_it_promises(
    row: Row, scene: Scene, call: Call
) -> None:
    row.make(scene)
    before = digests(scene.root)
    code, out, err = call(row.command)
    if not (code == row.code and re.fullmatch(_pattern(row.says), err.rstrip("\n"))):
        assert (code, err.rstrip("\n")) == (row.code, row.says)
    outcome = Outcome(scene, code, out, err, before)
    row.keeps.check(outcome, row)
    assert "Traceback" not in err
    assert not [value for value in PATIENT if value in err + out]
    assert not [name for name in outcome.changed if name.startswith("in/")]
    assert not list(scene.root.rglob("*.part"))


def test_no_two_rows_share_a_name() -> None:
    names = [(title, row.name) for title, row in ROWS]
    assert len(set(names)) == len(names)
