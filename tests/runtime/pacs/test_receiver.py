"""How the node lets go of a peer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pynetdicom")
pytest.importorskip("highdicom")

from stand_ins.pacs import associate, draw_studies, store
from stand_ins.reception import Reception


@pytest.fixture
def receive(tmp_path: Path) -> Iterator[Callable[..., Reception]]:
    made: list[Reception] = []

    def make(**sections: Any) -> Reception:
        made.append(Reception(tmp_path, **sections))
        return made[-1]

    yield make
    for one in made:
        one.stop()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return sorted(draw_studies(tmp_path_factory.mktemp("drawn"), slices=2)[0].iterdir())


def test_a_release_that_cannot_be_recorded_is_answered_with_an_abort(
    receive: Callable[..., Reception], files: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    node = receive()
    association = associate(node.port)
    assert set(store(association, files)) == {0}
    node.state.rows("PRAGMA query_only = 1")
    association.release()
    association.join(20)
    assert association.is_aborted
    assert not association.is_released
    node.state.rows("PRAGMA query_only = 0")
    assert node.settle() == ["held"]
    assert node.count("confirmed") == 0
    assert "a release could not be recorded, so the association is aborted" in caplog.text
