"""What the runtime's tests share: two patients, lgg-infer on the tiny artifact, a DICOM study."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile

from lgg_runtime.contract import Contract
from stand_ins.runs import LESION, Draw, Infer, Saved, Write

if TYPE_CHECKING:
    from stand_ins.reception import Reception
    from stand_ins.records import Records


@pytest.fixture
def source(tmp_path: Path, draw_slice: Draw, write_picture: Write) -> Path:
    """Patient a of three slices, tumour in the second; patient b of one slice without."""
    root = tmp_path / "in"
    for number in (1, 2, 3):
        pixels = draw_slice(LESION if number == 2 else None)
        write_picture(root / "a" / f"a_{number}.png", pixels)
    write_picture(root / "deep" / "b" / "b_1.png", draw_slice())
    return root


@pytest.fixture
def infer(call_infer: Infer, tmp_path: Path, artifact: Path) -> Infer:
    """Calls lgg-infer with the tiny artifact and the folder `out`."""

    def call(source: Path, *more: str | Path) -> SimpleNamespace:
        return call_infer(source, "-o", tmp_path / "out", "-m", artifact, "--threads", "2", *more)

    return call


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def saved(tmp_path: Path, save_artifact: Callable[..., Path]) -> Saved:
    """Writes an ONNX model, with a contract's text or without one, as m.onnx."""
    return lambda model, contract: save_artifact(model, tmp_path / "m.onnx", contract)


@pytest.fixture(scope="session")
def contract_text(make_contract: Callable[..., Contract]) -> str:
    return make_contract().dumps()


@pytest.fixture
def with_bad_files(source: Path, draw_slice: Draw) -> Path:
    """Three files that cannot be used beside the good ones."""
    whole = (source / "a" / "a_1.png").read_bytes()
    (source / "a" / "corrupt.png").write_bytes(whole[: len(whole) // 2])
    (source / "a" / "empty.tif").write_bytes(b"")
    tifffile.imwrite(source / "a" / "sixteen.tif", draw_slice().astype(np.uint16) * 256)
    return source


@pytest.fixture(scope="session")
def head() -> np.ndarray:
    """A drawn head's slices, (S, H, W, 3), which no test may change."""
    from lgg_train.phantom import PhantomSettings, make_phantom

    pixels, _ = make_phantom(1, PhantomSettings(patients=2, slices=5, size=128, seed=7))
    pixels.flags.writeable = False
    return pixels


@pytest.fixture(scope="session")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small DICOM study: FLAIR, T1 before and after contrast, a localizer."""
    from stand_ins.dicom_study import write_phantom

    return write_phantom(tmp_path_factory.mktemp("phantom") / "study")


@pytest.fixture
def study(phantom: Path, tmp_path: Path) -> Any:
    """A copy of it, to be spoilt."""
    from stand_ins.dicom_study import Study

    return Study(phantom, tmp_path / "study")


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Records]:
    """A node's parts as it opens them, over one folder; the quiet time is over at once."""
    from stand_ins.records import Records

    made = Records(tmp_path)
    yield made
    made.state.close()


@pytest.fixture
def receive(tmp_path: Path) -> Iterator[Callable[..., Reception]]:
    """Starts the receiving half of a node, with sections of its settings."""
    from stand_ins.reception import Reception

    made: list[Reception] = []

    def make(**sections: Any) -> Reception:
        made.append(Reception(tmp_path, **sections))
        return made[-1]

    yield make
    for one in made:
        one.stop()
