"""What rows share: studies and runs that take long to make, once a session."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def axial_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _draw(tmp_path_factory, "axial")


@pytest.fixture(scope="session")
def oblique_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _draw(tmp_path_factory, "oblique")


def _draw(tmp_path_factory: pytest.TempPathFactory, plane: str) -> Path:
    pytest.importorskip("pydicom")
    pytest.importorskip("SimpleITK")
    from catalogue.dicom_study import draw_study

    return draw_study(tmp_path_factory.mktemp("drawn") / "study", plane=plane)


@pytest.fixture(scope="session")
def brief_run(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of few steps, finished."""
    torch = pytest.importorskip("torch")
    from catalogue.training import BRIEF
    from lgg_train.cli import command

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("runs") / "brief"
    args = ["train", "--data", str(phantoms), "-o", str(out), *BRIEF]
    command.main(args, standalone_mode=False)
    torch.set_num_threads(before)
    return out
