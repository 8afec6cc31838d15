"""The rooms and the arrows between them, as the code's imports draw them."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = {
    "lgg_runtime": ROOT / "runtime" / "lgg_runtime",
    "lgg_train": ROOT / "train" / "lgg_train",
    "lgg_export": ROOT / "export" / "lgg_export",
    "lgg_bench": ROOT / "benchmarks" / "lgg_bench",
}
MAY_IMPORT = {
    "lgg_runtime": set(),
    "lgg_train": {"lgg_runtime"},
    "lgg_export": {"lgg_runtime", "lgg_train"},
    "lgg_bench": {"lgg_runtime", "lgg_train", "lgg_export"},
}
MODULES = [path for package in PACKAGES.values() for path in sorted(package.rglob("*.py"))]
NAMES = [path.relative_to(ROOT).as_posix() for path in MODULES]
VAGUE = {"utils", "util", "common", "helpers", "helper", "manager", "misc"}
MOST_LINES = 275


def imported(source: str) -> Iterator[str]:
    """First names of all that is imported anywhere in a module, in functions too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module.split(".")[0]


def imports_of(package: str) -> set[str]:
    found: set[str] = set()
    for path in PACKAGES[package].rglob("*.py"):
        found |= set(imported(path.read_text(encoding="utf-8")))
    return found


def test_imports_are_found_wherever_they_stand() -> None:
    source = "import a.b, c as d\nfrom e.f import g\nfrom . import h\ndef i():\n    import j\n"
    assert set(imported(source)) == {"a", "c", "e", "j"}


@pytest.mark.parametrize("package", PACKAGES)
def test_arrows_point_down(package: str) -> None:
    rooms = imports_of(package) & PACKAGES.keys() - {package}
    assert rooms <= MAY_IMPORT[package]


def test_train_and_export_stand_on_the_runtime() -> None:
    assert "lgg_runtime" in imports_of("lgg_train")
    assert {"lgg_runtime", "lgg_train"} <= imports_of("lgg_export")


def test_the_runtime_names_no_library_of_training() -> None:
    assert not imports_of("lgg_runtime") & {"torch", "torchvision", "albumentations", "onnx"}


def test_the_network_stays_in_its_room() -> None:
    """Whoever reads files needs no DICOM network, and loads none."""
    network = {"pynetdicom", "prometheus_client", "sqlite3", "socket", "http"}
    for path in PACKAGES["lgg_runtime"].rglob("*.py"):
        if path.parent.name != "pacs":
            assert not network & set(imported(path.read_text(encoding="utf-8"))), path


def test_what_segments_knows_of_no_run() -> None:
    """Whoever has the arrays at hand needs no folders; the commands alone begin runs."""
    root = PACKAGES["lgg_runtime"]
    users = {
        path.relative_to(root).as_posix()
        for path in root.rglob("*.py")
        if "lgg_runtime.run" in path.read_text(encoding="utf-8") and path.parent.name != "run"
    }
    assert users == {"cli.py", "pacs/pull.py"}
    for package in ("lgg_train", "lgg_export"):
        sources = (path.read_text(encoding="utf-8") for path in PACKAGES[package].rglob("*.py"))
        assert not any("lgg_runtime.run" in source for source in sources)


def test_the_runtime_loads_no_torch() -> None:
    names = ", ".join(
        f"lgg_runtime{n}" for n in ("", ".segmenter", ".run.pipeline", ".cli", ".run.report")
    )
    code = f"import sys, {names}; print('torch' in sys.modules, 'cv2' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


def test_the_tables_of_all_benchmarks_need_no_extra() -> None:
    """Every measurement ends in them, on a machine with no more than what it measures."""
    code = "import sys, lgg_bench.tables; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "onnx", "pydicom", "pynetdicom"} & set(done.stdout.split())


@pytest.mark.parametrize("path", MODULES, ids=NAMES)
def test_a_module_stays_small_and_its_name_says_something(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_LINES
    assert not VAGUE & set(path.stem.split("_"))


def test_every_package_is_in_the_distribution() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    targets = project["tool"]["hatch"]["build"]["targets"]
    roots = {root.relative_to(ROOT).as_posix() for root in PACKAGES.values()}
    assert {*targets["wheel"]["packages"]} == {*targets["sdist"]["only-include"]} == roots
