"""Replay a Dockerfile's build without a container engine.

    python runtime/containers/replay.py runtime/containers/Dockerfile.cpu FOLDER [COMMAND ...]

COPY, RUN, ENV, WORKDIR and ENTRYPOINT of the build stage and of what the last stage takes from it
happen under FOLDER, with no more of the environment than a container would have; the base image is
the running Python. What changes the image's system (useradd, pip of the base) is left out and
printed. Then the entry point runs COMMAND, from a folder that it may not write to.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

ROOTS = ("/opt/lgg", "/src")
SYSTEM = ("useradd", "install -d", "python -m pip uninstall")


@dataclass
class Stage:
    """One stage of a Dockerfile: its base, and its instructions as (word, rest)."""

    base: str
    steps: list[tuple[str, str]] = field(default_factory=list)

    def last(self, word: str) -> str | None:
        """The last instruction of that word, None where there is none."""
        return next((rest for name, rest in reversed(self.steps) if name == word), None)


def parse_dockerfile(text: str) -> list[Stage]:
    """The stages in order; comments and line continuations are resolved.

    Raises SystemExit where an instruction stands before the first FROM.
    """
    lines = (line for line in text.splitlines() if not line.lstrip().startswith("#"))
    stages: list[Stage] = []
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        if not line.strip():
            continue
        word, rest = (*line.split(maxsplit=1), "")[:2]
        if word == "FROM":
            stages.append(Stage(rest.strip()))
        elif stages:
            stages[-1].steps.append((word, rest.strip()))
        else:
            raise SystemExit(f"{line.strip()}: expected FROM before it")
    return stages


def replay_build(stage: Stage, context: Path, folder: Path) -> None:
    """COPY and RUN of a build stage under `folder`; CalledProcessError where a step fails."""
    defaults = dict(rest.split("=", 1) for word, rest in stage.steps if word == "ARG")
    work = folder
    for word, rest in stage.steps:
        if word == "WORKDIR":
            work = folder / rest.lstrip("/")
            work.mkdir(parents=True, exist_ok=True)
        elif word == "COPY":
            *sources, target = shlex.split(rest)
            for source in sources:
                _copy(context / source, work / target)
        elif word == "RUN":
            command = rest
            for root in ROOTS:
                command = command.replace(root, str(folder / root.lstrip("/")))
            environment = {"PATH": _path(), "HOME": str(folder), **defaults}
            subprocess.run(["/bin/sh", "-ec", command], cwd=work, env=environment, check=True)


def run_entry(stage: Stage, folder: Path, arguments: list[str]) -> int:
    """The exit code of the entry point, in the environment that ENV gives it."""
    entry = stage.last("ENTRYPOINT")
    if entry is None:
        raise SystemExit("the last stage has no line ENTRYPOINT")
    program = folder / "opt/lgg/bin" / entry.strip('[]"')
    environment = dict(pair.split("=", 1) for pair in shlex.split(stage.last("ENV") or ""))
    environment["PATH"] = f"{program.parent}:{_path()}"
    return subprocess.run([program, *arguments], env=environment, cwd="/", check=False).returncode


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    elif target.is_dir():
        shutil.copy(source, target / source.name)
    else:
        shutil.copy(source, target)


def _path() -> str:
    return f"{Path(sys.base_prefix) / 'bin'}:/usr/bin:/bin"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dockerfile", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("command", nargs=argparse.REMAINDER)
    given = parser.parse_args()
    stages = parse_dockerfile(given.dockerfile.read_text())
    if len(stages) != 2:
        raise SystemExit(f"{given.dockerfile}: expected two stages, found {len(stages)}")
    build, final = stages
    folder = given.folder.resolve()
    replay_build(build, Path.cwd(), folder)
    for word, rest in final.steps:
        if word == "RUN":
            left = [part.strip() for part in rest.split("&&")]
            if not all(part.startswith(SYSTEM) for part in left):
                raise SystemExit(f"RUN {rest}: expected no more than {', '.join(SYSTEM)}")
            print("left out:", "; ".join(left))  # noqa: T201
    return run_entry(final, folder, given.command or ["--help"])


if __name__ == "__main__":
    sys.exit(main())
