"""What make does before and around the tools, which stand-ins here only write down."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

MAKEFILE = Path(__file__).parents[1] / "Makefile"
TOOLS = ("lgg-bench", "lgg-export", "lgg-train")
STAND_IN = '#!/bin/sh\n{ basename "$0"; printf "%s\\n" "$@"; } >> "$CALLS"\n'


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., tuple[int, str, list[str]]]:
    """Runs make in an empty checkout: its exit code, what it printed, the tools and their words."""
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    root, calls = tmp_path / "checkout", tmp_path / "calls"
    (root / ".venv" / "bin").mkdir(parents=True)
    shutil.copy(MAKEFILE, root)
    made = [".venv/bin/pip", ".venv/.runtime", ".venv/.train", ".venv/.dev"]  # each newer
    for name in ["pyproject.toml", "constraints.txt", *made]:
        (root / name).touch()
    for name in TOOLS:
        (root / ".venv" / "bin" / name).write_text(STAND_IN)
        (root / ".venv" / "bin" / name).chmod(0o755)

    def run(*words: str) -> tuple[int, str, list[str]]:
        command = ["make", "-C", root, *words]
        done = subprocess.run(
            command, env={"PATH": "/usr/bin:/bin", "CALLS": str(calls)},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        said = calls.read_text().splitlines() if calls.exists() else []
        return done.returncode, done.stdout + done.stderr, said

    return run


@pytest.mark.parametrize("target", ["train", "bench"])
def test_without_data_nothing_is_run_and_the_remedy_is_said(
    make: Callable[..., tuple[int, str, list[str]]], target: str
) -> None:
    code, printed, calls = make(target)
    assert (code, calls) == (2, [])
    assert "No data: 'make data' fetches the public dataset, DATA=FOLDER uses yours" in printed


@pytest.mark.parametrize("words", [("train",), ("bench",), ("bench", "DATA=phantom")])
def test_without_data_nothing_is_installed(
    make: Callable[..., tuple[int, str, list[str]]], tmp_path: Path, words: tuple[str, ...]
) -> None:
    installer, stamp = tmp_path / "checkout/.venv/bin/pip", tmp_path / "checkout/.venv/.runtime"
    installer.write_text(STAND_IN)
    installer.chmod(0o755)
    stamp.unlink()
    code, printed, calls = make(*words)
    assert (code, calls) == (2, []), printed


def test_phantoms_are_refused_where_the_shipped_runs_are_measured(
    make: Callable[..., tuple[int, str, list[str]]],
) -> None:
    code, printed, calls = make("bench", "DATA=phantom")
    assert (code, calls) == (2, [])
    assert "DATA=phantom: the shipped runs were trained on the public dataset" in printed


@pytest.mark.parametrize("target", ["train", "bench"])
@pytest.mark.parametrize("name", ["my data", "my phantom", "phantom data"])
def test_a_folder_with_a_space_in_its_name_reaches_the_tools_whole(
    make: Callable[..., tuple[int, str, list[str]]], tmp_path: Path, target: str, name: str
) -> None:
    folder = tmp_path / name
    folder.mkdir()
    code, printed, calls = make(target, f"DATA={folder}")
    assert code == 0, printed
    assert str(folder) in calls
    assert not {"data", "phantom", "data/phantom", "runs/phantom"} & set(calls)


def test_a_run_with_a_space_in_its_name_reaches_the_tools_whole(
    make: Callable[..., tuple[int, str, list[str]]], tmp_path: Path
) -> None:
    run = tmp_path / "my run"
    code, printed, calls = make("train", "export", f"DATA={tmp_path}", f"RUN={run}")
    assert code == 0, printed
    assert {str(run), f"{run}/model.onnx", f"{run}/model-fp16.onnx"} <= set(calls)
    assert not {"run", str(tmp_path / "my")} & set(calls)


@pytest.mark.parametrize(
    ("data", "recipe"),
    [("phantom", ["lite", "--augmentation", "mild"]), ("folder", ["standard"])],
)
def test_phantoms_train_a_quick_network_with_all_sequences(
    make: Callable[..., tuple[int, str, list[str]]], tmp_path: Path, data: str, recipe: list[str]
) -> None:
    for name in ("data/phantom", "folder"):
        (tmp_path / "checkout" / name).mkdir(parents=True)
    code, printed, calls = make("train", f"DATA={data}")
    assert code == 0, printed
    options = calls[calls.index("--recipe") + 1 :]
    assert options[: options.index("lgg-train")] == recipe
    _, shown, _ = make("help", f"DATA={data}")
    assert f"TRAIN_OPTIONS='--recipe {' '.join(recipe)}'" in shown


@pytest.mark.parametrize("options", ["", "--prompt here "])
def test_an_environment_that_leads_to_another_checkout_is_not_used(
    make: Callable[..., tuple[int, str, list[str]]], tmp_path: Path, options: str
) -> None:
    """As in a checkout that was copied, whose environment would run the other one's code."""
    settings, other = tmp_path / "checkout/.venv/pyvenv.cfg", tmp_path / "the other's/.venv"
    command = f"command = /usr/bin/python3 -m venv {options}"
    settings.write_text(f"version = 3.11.7\n{command}{other}\n")
    for has_other in (False, True):  # moved, or copied
        if has_other:
            other.mkdir(parents=True)
        code, printed, calls = make("train", f"DATA={tmp_path}")
        assert code != 0 and calls == []
        assert f".venv was made as {other} and leads there: 'rm -rf .venv'," in printed
    settings.write_text(f"{command}{settings.parent}\n")
    code, printed, calls = make("train", f"DATA={tmp_path}")
    assert code == 0 and calls, printed
