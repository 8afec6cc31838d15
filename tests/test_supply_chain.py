"""What is installed is what was tested: the lock, the constraints, the bill of materials agree."""

from __future__ import annotations

import importlib.util
import json
import re
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
LOCK = (ROOT / "requirements" / "runtime.lock").read_text(encoding="utf-8")
EXTRAS = ("cpu", "dicom", "dicomweb", "node", "nifti", "signing")


def plain(name: str) -> str:
    """Names of packages are compared as in PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.fixture(scope="module")
def licences() -> ModuleType:
    spec = importlib.util.spec_from_file_location("licences", ROOT / "requirements/licences.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def pinned(licences: ModuleType) -> dict[str, str]:
    return {plain(name): version for name, version in licences.pinned_packages(LOCK)}


def test_every_package_has_hashes_and_nothing_names_a_place() -> None:
    entries = re.split(r"\n(?=\S)", LOCK.strip())
    for entry in entries:
        first, *hashes = re.split(r"\s*\\\n\s*", entry)
        assert re.fullmatch(r"[\w.-]+==\S+( ; .+)?", first), first
        assert hashes and all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", h) for h in hashes)
    assert "://" not in LOCK


def test_the_lock_is_of_the_versions_that_are_tested(pinned: dict[str, str]) -> None:
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    tested = dict(re.findall(r"^([\w.-]+)==(\S+)", text, re.M))
    tested = {plain(name): version for name, version in tested.items()}
    assert {name: tested.get(name) for name in pinned} == pinned


def test_all_that_the_runtime_asks_for_is_in_the_lock(pinned: dict[str, str]) -> None:
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    asked = [*project["dependencies"], *(line for e in EXTRAS for line in extras[e])]
    names = {plain(re.split(r"[^\w.-]", line)[0]) for line in asked}
    names.remove("lgg-edge")  # an extra that names another
    assert names <= pinned.keys()
    assert "torch" not in pinned


def test_the_bill_of_materials_lists_the_lock(pinned: dict[str, str]) -> None:
    held = json.loads((ROOT / "requirements" / "runtime.cdx.json").read_text())
    assert held["bomFormat"] == "CycloneDX"
    assert {plain(c["name"]): c["version"] for c in held["components"]} == pinned
    assert "externalReferences" not in json.dumps(held)


def test_every_licence_is_listed(licences: ModuleType, pinned: dict[str, str]) -> None:
    held = {plain(name) for names in packages_distributions().values() for name in names}
    if missing := pinned.keys() - held:
        pytest.skip(f"not installed, since this Python does not need it: {', '.join(missing)}")
    page = (ROOT / "docs" / "licences.md").read_text(encoding="utf-8")
    assert page == licences.write_page(LOCK)
    assert "not stated" not in page


def test_links_are_left_out(licences: ModuleType) -> None:
    held = {"a": [{"externalReferences": [1], "b": 2}], "externalReferences": []}
    assert licences.without_links(held) == {"a": [{"b": 2}]}
