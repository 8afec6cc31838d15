"""What the runtime's lock brings with it: docs/licences.md, and a plain bill of materials.

`python requirements/licences.py` prints the page from the metadata of the installed packages;
`... requirements/licences.py BOM.json` prints a CycloneDX file without its links, which name
places and no facts.
"""

from __future__ import annotations

import json
import re
import sys
from importlib.metadata import metadata
from pathlib import Path
from typing import Any

LOCK = Path(__file__).with_name("runtime.lock")
_PINNED = re.compile(r"^(?P<name>[\w.-]+)==(?P<version>\S+)", re.M)
HEAD = """# Licences

lgg-edge is under the MIT licence ([LICENSE](../LICENSE)). The packages below are what
`requirements/runtime.lock` installs for pictures, DICOM, the DICOM node, NIfTI and signatures on a
CPU, with the licence that each states of itself. `make lock` writes this page.

Wheels hold libraries of other licences than their own: opencv-python-headless holds FFmpeg
(LGPL 2.1), which is not used here, and numpy holds OpenBLAS and the GCC runtime (GPL 3 with the
runtime library exception). Their texts lie in the wheels.

| package | version | licence |
| --- | --- | --- |
"""


def pinned_packages(lock: str) -> list[tuple[str, str]]:
    """Names and versions of a lock, in its order."""
    return [(found["name"], found["version"]) for found in _PINNED.finditer(lock)]


def licence_of(name: str) -> str:
    """What an installed package's metadata say, in this order of trust: the SPDX expression, its
    classifiers, the first line of its free text.
    """
    held = metadata(name)
    if expression := held.get("License-Expression"):
        return expression
    classifiers = held.get_all("Classifier") or []
    known = [c.split(" :: ")[-1] for c in classifiers if c.startswith("License :: OSI Approved ::")]
    text = (held.get("License") or "not stated").splitlines()[0]
    return ", ".join(known) or text


def write_page(lock: str) -> str:
    rows = [f"| {name} | {v} | {licence_of(name)} |" for name, v in pinned_packages(lock)]
    return HEAD + "\n".join(rows) + "\n"


def without_links(value: Any) -> Any:
    """JSON without the external references of its parts."""
    if isinstance(value, dict):
        return {k: without_links(v) for k, v in value.items() if k != "externalReferences"}
    return [without_links(part) for part in value] if isinstance(value, list) else value


def main() -> None:
    if len(sys.argv) > 1:
        held = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
        sys.stdout.write(json.dumps(without_links(held), indent=1) + "\n")
    else:
        sys.stdout.write(write_page(LOCK.read_text(encoding="utf-8")))


if __name__ == "__main__":
    main()
