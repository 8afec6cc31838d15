"""Usable cores: affinity, the container's quota, the user's wish, whichever is least."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest

from lgg_runtime.cores import available_cores, cgroup_quota


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(8)), raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)


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
def test_the_quota_of_a_container_is_kept(tmp_path: Path, text: str, cores: int) -> None:
    (tmp_path / "cpu.max").write_text(text)
    assert available_cores(tmp_path) == cores


@pytest.mark.parametrize(("quota", "cores"), [("300000\n", 3), ("-1\n", 8)])
def test_the_quota_of_an_older_container_is_kept(tmp_path: Path, quota: str, cores: int) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text(quota)
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert available_cores(tmp_path) == cores


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
    tmp_path: Path, own: str, quota: float | None
) -> None:
    root = tmp_path / "cgroup"
    write_quota(root / "a.slice", 4)
    write_quota(root / "a.slice" / "job", 3)
    write_quota(root / "a.slice" / "wide", 7)
    write_quota(root / "cpu" / "old", 2.5, version=1)
    write_quota(tmp_path / "a.slice" / "job", 1)  # outside of it
    listed = tmp_path / "own"
    listed.write_text(own, errors="surrogateescape")
    assert cgroup_quota(root, listed) == quota
    assert available_cores(root, listed) == (8 if quota is None else math.ceil(quota))


def test_without_a_quota_the_affinity_counts(tmp_path: Path) -> None:
    assert cgroup_quota(tmp_path) is None
    assert available_cores(tmp_path) == 8


def test_without_affinity_the_processors_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 5)
    assert available_cores(tmp_path) == 5
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert available_cores(tmp_path) == 1


@pytest.mark.parametrize(
    ("wish", "cores"), [("3", 3), ("1", 1), ("99", 8), ("0", 8), ("-2", 8), ("4,2", 8), ("", 8)]
)
def test_omp_num_threads_lowers_the_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wish: str, cores: int
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", wish)
    assert available_cores(tmp_path) == cores
