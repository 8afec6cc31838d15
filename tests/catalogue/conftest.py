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
def drawn_patients(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with kaggle_3m: twelve patients of six slices of 64 x 64."""
    from lgg_train.phantom import PhantomSettings, write_phantoms

    root = tmp_path_factory.mktemp("patients")
    write_phantoms(root, PhantomSettings(patients=12, slices=6, size=64, seed=5))
    return root


@pytest.fixture(scope="session")
def brief_run(drawn_patients: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of few steps, finished."""
    torch = pytest.importorskip("torch")
    from catalogue.training import BRIEF
    from lgg_train.cli import command

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("runs") / "brief"
    args = ["train", "--data", str(drawn_patients), "-o", str(out), *BRIEF]
    command.main(args, standalone_mode=False)
    torch.set_num_threads(before)
    return out
