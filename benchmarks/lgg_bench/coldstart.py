"""Cold start: what the shortest commands take, and where the time of one slice goes."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from lgg_bench.artifacts import describe_artifact
from lgg_bench.machine import describe_machine, note_load
from lgg_bench.record import Record
from lgg_bench.table import Table
from lgg_bench.timing import Spread, describe_spread
from lgg_bench.whole import OUTPUT, infer_command, read_stages, run_in_turn, run_whole
from lgg_runtime.backends import BackendSettings
from lgg_runtime.digests import digest_file
from lgg_runtime.plural import count
from lgg_train.phantom import PhantomSettings, write_phantoms

PYTHON, CLICK, VERSION = "python -c pass", "python -c 'import click'", "lgg-infer --version"
_PASS = [sys.executable, "-c", "pass"]
_PACKAGES = {"numpy", "cv2", "onnxruntime", "openvino", "lgg_runtime", "click"}
_REST = "model, session and the rest"
_REMAINS = (
    "The last row is what remains of the whole command; a watched import and reading beside the "
    "load make it smaller than it is."
)
_NOTHING_REMAINS = (
    "A watched import takes longer, and reading runs beside the load: the parts add up to more "
    "than the whole command."
)
_IMPORT = re.compile(r"import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)")


@dataclass(frozen=True)
class ColdstartSettings:
    """providers: of the run on one slice; threads; rounds: turns of each command."""

    providers: tuple[str, ...] = ("cpu",)
    threads: int = 2
    rounds: int = 9


def measure_coldstart(artifact: Path, settings: ColdstartSettings) -> Record:
    """Results: `rows`, seconds of each command; `breakdown`, by provider: milliseconds of
    importing by package, of Python's own start, of the stages, and of the rest.

    Raises ModelError or ProviderError for an artifact that a provider cannot run.
    """
    machine = describe_machine()
    for provider in settings.providers:
        describe_artifact(artifact, BackendSettings(provider, 1))
    with tempfile.TemporaryDirectory() as folder:
        (patient,) = write_phantoms(Path(folder), PhantomSettings(1, 3, 256))
        slice_ = patient / f"{patient.name}_2.tif"
        commands = {
            PYTHON: partial(run_whole, _PASS, None),
            CLICK: partial(run_whole, [sys.executable, "-c", "import click"], None),
            VERSION: partial(run_whole, infer_command("--version"), None),
            "lgg-infer --help": partial(run_whole, infer_command("--help"), None),
        }
        whole = {
            provider: infer_command(
                slice_, "-o", OUTPUT, "-m", artifact, "--provider", provider, "-q"
            )
            for provider in settings.providers
        }
        for provider, command in whole.items():
            commands[f"lgg-infer, one slice on {provider}"] = partial(
                run_whole, command, settings.threads, read_stages
            )
        ran = run_in_turn(commands, settings.rounds, lambda: None)
        seconds = {name: Spread.of([run.seconds for run in runs]) for name, runs in ran.items()}
        breakdown = {}
        for provider, command in whole.items():
            name = f"lgg-infer, one slice on {provider}"
            total, start = seconds[name].median, seconds[PYTHON].median
            breakdown[provider] = _break_down(command, total, start, ran[name][-1].report)
    results = {
        "artifact": artifact.name,
        "sha256": digest_file(artifact),
        "rows": [{"command": name, "seconds": asdict(s)} for name, s in seconds.items()],
        "breakdown": breakdown,
    }
    return Record("coldstart", asdict(settings), machine, results)


def _break_down(
    command: list[str], total: float, start: float, stages: dict[str, float]
) -> dict[str, float]:
    """Milliseconds of one run; importing is of a run that was watched, which slows it a little."""
    with tempfile.TemporaryDirectory() as folder:
        filled = [str(Path(folder) / "out") if part == OUTPUT else part for part in command]
        imports = add_imports(_watch(filled), _watch(_PASS))
    parts = {"Python itself": 1e3 * start}
    parts |= {f"import {name}": value for name, value in imports.items() if value >= 1}
    parts |= {f"{name} the slice": 1e3 * stages[name] for name in ("read", "run", "finish")}
    parts[_REST] = 1e3 * total - sum(parts.values())
    return parts


def _watch(command: list[str]) -> str:
    """What Python tells of the imports of a command that starts with the interpreter."""
    watched = [command[0], "-X", "importtime", *command[1:]]
    return subprocess.run(watched, capture_output=True, text=True, check=True).stderr


def add_imports(told: str, of_python: str) -> dict[str, float]:
    """Milliseconds of importing by package, from what `-X importtime` tells of a command.

    of_python: the same of a command that imports nothing, whose modules are of Python's own start.
    """
    started = {name for _, name in _IMPORT.findall(of_python)}
    by_package: dict[str, float] = defaultdict(float)
    for micro, name in _IMPORT.findall(told):
        package = name.split(".")[0]
        if name not in started:
            by_package[package if package in _PACKAGES else "other modules"] += int(micro) / 1e3
    return dict(by_package)


def tabulate(record: Record) -> list[Table]:
    results, settings = record.results, record.settings
    by_name = {row["command"]: row["seconds"] for row in results["rows"]}
    click = by_name[CLICK]["median"]
    rows = [
        [
            name,
            describe_spread({quartile: 1e3 * value for quartile, value in s.items()}, ".0f"),
            f"{s['median'] / click:.1f}",
        ]
        for name, s in by_name.items()
    ]
    notes = [
        f"Whole processes, median (quartiles) of {count(settings['rounds'], 'round')} in turn; "
        "files in the system's cache.",
        *note_load(record.machine, "every command"),
    ]
    tables = [Table("Cold start", ["", "milliseconds", "x import click"], rows, notes)]
    for provider, parts in results["breakdown"].items():
        remains = parts[_REST] >= 0
        told = {name: value for name, value in parts.items() if name != _REST or remains}
        cells = [[name, f"{value:.0f}"] for name, value in told.items()]
        note = _REMAINS if remains else _NOTHING_REMAINS
        note += " Reading, running and finishing are of the last round."
        title = f"Where the time of one slice goes, {results['artifact']} on {provider}"
        tables.append(Table(title, ["", "milliseconds"], cells, [note]))
    return tables
