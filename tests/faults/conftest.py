"""What the tests of faults share: small patients, an undisturbed run, a server of forks."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stand_ins.damage import read_results
from stand_ins.forks import ForkServer
from stand_ins.runs import LESION
from stand_ins.workload import IMPORTED, RECORD, Workload


@pytest.fixture(scope="session")
def server() -> Iterator[ForkServer]:
    server = ForkServer(IMPORTED)
    yield server
    server.close()


@pytest.fixture(scope="session")
def patients(
    tmp_path_factory: pytest.TempPathFactory,
    draw_slice: Callable[..., np.ndarray],
    write_picture: Callable[[Path, np.ndarray], Path],
) -> Path:
    """Five patients of three slices, each with tumour in the second."""
    root = tmp_path_factory.mktemp("patients")
    for patient in "abcde":
        for number in (1, 2, 3):
            lesion = LESION if number == 2 else None
            write_picture(root / patient / f"{patient}_{number}.png", draw_slice(lesion))
    return root


@pytest.fixture
def work(patients: Path, artifact: Path, server: ForkServer, tmp_path: Path) -> Workload:
    return Workload(patients, artifact, server, tmp_path)


@pytest.fixture
def undisturbed(work: Workload, tmp_path: Path) -> dict[str, Any]:
    """Results of a run that nothing happens to."""
    done = work.server.run(work.call(tmp_path / "undisturbed"))
    assert done.code == 0, done.said
    return read_results(tmp_path / "undisturbed")


@pytest.fixture
def dice(request: pytest.FixtureRequest) -> random.Random:
    """The same moments for the same test, as far as the machine's speed allows."""
    return random.Random(request.node.name)


@pytest.fixture
def record() -> Callable[[str, dict[str, Any]], None]:
    """Adds figures to the file that LGG_FAULT_RECORD names, under the name of the check."""

    def add(name: str, figures: dict[str, Any]) -> None:
        if RECORD is not None:
            path = Path(RECORD)
            held = json.loads(path.read_text()) if path.exists() else {}
            path.write_text(json.dumps(held | {name: figures}, indent=1, sort_keys=True) + "\n")

    return add
