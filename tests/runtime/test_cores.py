"""Usable cores: affinity, the container's quota, the user's wish, whichever is least."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest

from lgg_runtime import cores as module
from lgg_runtime.cores import available_cores, cgroup_quota


@pytest.fixture(autouse=True)
def cgroup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where groups are mounted, of a process in none that may use eight cores."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(8)), raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(module, "CGROUP", tmp_path / "cgroup")
    monkeypatch.setattr(module, "OWN", tmp_path / "own")
    (tmp_path / "cgroup").mkdir()
    return tmp_path / "cgroup"


@pytest.mark.parametrize(
    ("text", "cores"),
    [
        ("200000 100000\n", 2),
        ("150000 100000", 2),  # one and a half: the half is used
        ("50000 100000", 1),
        ("1000 100000", 1),
        ("1600000 100000", 8),  # more than the affinity
        ("max 100000", 8),
        ("", 8),
        ("200000", 8),
        ("-1 100000", 8),
        ("100000 0", 8),
        ("many much", 8),
    ],
)
def test_the_quota_of_a_container_is_kept(cgroup: Path, text: str, cores: int) -> None:
    (cgroup / "cpu.max").write_text(text)
    assert available_cores() == cores


@pytest.mark.parametrize(("quota", "cores"), [("300000\n", 3), ("-1\n", 8)])
def test_the_quota_of_an_older_container_is_kept(cgroup: Path, quota: str, cores: int) -> None:
    (cgroup / "cpu").mkdir()
    (cgroup / "cpu" / "cpu.cfs_quota_us").write_text(quota)
    (cgroup / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert available_cores() == cores


def write_quota(folder: Path, cores: float, version: int = 2) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    quota = f"{round(cores * 100_000)}"
    if version == 2:
        (folder / "cpu.max").write_text(f"{quota} 100000\n")
    else:
        (folder / "cpu.cfs_quota_us").write_text(quota)
        (folder / "cpu.cfs_period_us").write_text("100000")


@pytest.mark.parametrize(
    ("own", "quota"),
    [
        ("0::/\n", None),
        ("0::/a.slice/job\n", 3),
        ("0::/a.slice/job/step\n", 3),  # without one of its own
        ("0::/a.slice/wide\n", 4),  # the group around it is narrower
        ("0::/elsewhere/than/here\n", None),
        ("0::/../a.slice/job\n", None),
        ("5:memory:/old\n3:cpu,cpuacct:/old\n0::/\n", 2.5),
        ("3:cpuset:/old\n0::/\n", None),
        ("no such line\n0::/\udce9\n0::/a.slice/job\n", 3),
    ],
)
def test_the_quota_of_the_process_s_own_group_is_kept(
    cgroup: Path, own: str, quota: float | None
) -> None:
    write_quota(cgroup / "a.slice", 4)
    write_quota(cgroup / "a.slice" / "job", 3)
    write_quota(cgroup / "a.slice" / "wide", 7)
    write_quota(cgroup / "cpu" / "old", 2.5, version=1)
    write_quota(cgroup.parent / "a.slice" / "job", 1)  # outside of it
    module.OWN.write_text(own, errors="surrogateescape")
    assert cgroup_quota() == quota
    assert available_cores() == (8 if quota is None else math.ceil(quota))


def test_without_a_quota_the_affinity_counts() -> None:
    assert cgroup_quota() is None
    assert available_cores() == 8


def test_without_affinity_the_processors_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 5)
    assert available_cores() == 5
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert available_cores() == 1


@pytest.mark.parametrize(
    ("wish", "cores"), [("3", 3), ("1", 1), ("99", 8), ("0", 8), ("-2", 8), ("4,2", 8), ("", 8)]
)
def test_omp_num_threads_lowers_the_number(
    monkeypatch: pytest.MonkeyPatch, wish: str, cores: int
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", wish)
    assert available_cores() == cores
