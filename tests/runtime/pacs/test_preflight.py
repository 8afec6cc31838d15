"""What a check of the settings finds that reading them does not."""

from __future__ import annotations

import contextlib
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pynetdicom")
pytest.importorskip("prometheus_client")

from lgg_runtime.errors import LggError, ModelError, OutputConflictError, ProviderError
from lgg_runtime.pacs import preflight
from lgg_runtime.pacs.config import MistakesError, load_config
from lgg_runtime.pacs.node import run_node
from lgg_runtime.pacs.preflight import check_settings, load_model
from lgg_runtime.pacs.spool import DATABASE
from lgg_runtime.pacs.state import State
from stand_ins.pacs import write_config
from stand_ins.records import Records


@pytest.mark.parametrize(
    ("model", "error"),
    [
        ({"name": "text.onnx"}, ModelError),
        ({"first_look": "text.onnx"}, ModelError),
        ({"provider": "tensorrt"}, ProviderError),
    ],
)
def test_a_model_that_no_start_would_take_is_refused(
    tmp_path: Path, artifact: Path, model: dict[str, Any], error: type[LggError],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("text.onnx").write_text("no model")
    path = write_config(tmp_path, model={"name": str(artifact)} | model)
    with pytest.raises(error):
        check_settings(path, load_config(path))
    assert not (tmp_path / "spool").exists()


def test_a_model_that_a_start_takes_passes(tmp_path: Path, artifact: Path) -> None:
    path = write_config(tmp_path, model={"name": str(artifact)})
    check_settings(path, load_config(path))
    assert not (tmp_path / "spool").exists()


def test_a_spool_of_another_layout_and_a_certificate_that_is_over_are_told(
    tmp_path: Path, artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "spool").mkdir()
    with contextlib.closing(State(tmp_path / "spool" / DATABASE)) as state:
        state.rows("PRAGMA user_version = 1")
    path = write_config(tmp_path, model={"name": str(artifact)})
    monkeypatch.setattr(preflight, "read_ends", lambda config: {"listen": time.time() - 90000})
    with pytest.raises(MistakesError) as found:
        check_settings(path, load_config(path))
    over, layout = found.value.mistakes
    assert over == "listen: its certificate ended 1 day ago; renew it, and restart the node"
    assert layout.startswith(f"node.spool: {DATABASE}: of version 1, expected ")


@pytest.mark.parametrize("lost", ["no key", "no database"])
def test_a_spool_that_a_start_refuses_for_what_it_lost_is_told(
    tmp_path: Path, artifact: Path, lost: str
) -> None:
    (tmp_path / "spool").mkdir()
    records = Records(tmp_path / "spool")
    records.finish(1)
    records.state.execute("DELETE FROM setting WHERE name = 'key'")
    records.state.close()
    if lost == "no database":
        (tmp_path / "spool" / DATABASE).unlink()
    path = write_config(tmp_path, model={"name": str(artifact)})
    with pytest.raises(MistakesError) as found:
        check_settings(path, load_config(path))
    with pytest.raises(OutputConflictError) as refused, run_node(load_config(path)):
        pytest.fail("it started")
    assert found.value.mistakes == [f"node.spool: {refused.value}"]


def test_a_certificate_that_is_soon_over_is_no_mistake(
    tmp_path: Path, artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_config(tmp_path, model={"name": str(artifact)})
    monkeypatch.setattr(preflight, "read_ends", lambda config: {"listen": time.time() + 90000})
    told = ["listen: its certificate ends in 1 day; renew it, and restart the node"]
    assert check_settings(path, load_config(path)) == told


def file_in_its_place(spool: Path) -> None:
    spool.write_text("no folder")


def link_to_a_disk_that_is_away(spool: Path) -> None:
    spool.symlink_to(spool.parent / "mount" / "spool")


def mount_read_only(spool: Path) -> None:
    spool.mkdir()
    subprocess.run(["mount", "-o", "remount,ro", str(spool.parent)], check=True)


def leave_as_it_is(spool: Path) -> None:
    """It is not there yet; there is too little room for it."""


@pytest.mark.parametrize(
    ("spoil", "free_mib", "why"),
    [
        (file_in_its_place, 0, "node.spool: {}/spool is no folder"),
        (link_to_a_disk_that_is_away, 0, "node.spool: {}/spool is no folder"),
        (mount_read_only, 0, "node.spool: {}/spool is on a disk that is mounted read-only"),
        (leave_as_it_is, 3, "node.spool: less than 3 MiB of disk is free at {}"),
    ],
)
def test_a_spool_that_would_take_nothing_is_told(
    small_disk: Callable[[int], Path],
    tmp_path: Path,
    artifact: Path,
    spoil: Callable[[Path], None],
    free_mib: int,
    why: str,
) -> None:
    disk = small_disk(2 << 20)
    path = write_config(
        tmp_path,
        node={"spool": str(disk / "spool")},
        limits={"free_disk_mib": free_mib},
        model={"name": str(artifact)},
    )
    spoil(disk / "spool")
    with pytest.raises(MistakesError, match=re.escape(why.format(disk))):
        check_settings(path, load_config(path))


@pytest.mark.parametrize(
    ("model", "held"), [({"threads": 0}, (None, None)), ({"threads": 1, "batch": 3}, (1, 3))]
)
def test_a_model_runs_with_the_threads_and_the_batch_that_are_set(
    tmp_path: Path, artifact: Path, model: dict[str, Any], held: tuple[int | None, ...]
) -> None:
    path = write_config(tmp_path, model={"name": str(artifact)} | model)
    settings = load_model(load_config(path).model).settings
    assert (settings.threads, settings.batch) == held
