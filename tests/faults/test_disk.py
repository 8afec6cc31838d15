"""A disk that is full, and writes that fail: exit 7, nothing torn, the rest done later."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stand_ins.damage import check_folder, left_parts, read_results
from stand_ins.workload import KILLS, Workload

MEBIBYTE = 1 << 20
HEATMAPS = ("--save-heatmap", "--save-probabilities")


def fill_and_go_on(work: Workload, disk: Callable[[int], Path], size: int) -> dict[str, Any]:
    """A run that finds no room goes on once there is some; returns its figures."""
    whole = work.folder / "whole"
    assert work.server.run(work.call(whole, *HEATMAPS)).code == 0
    expected = read_results(whole)
    needed = sum(map(len, expected.values()))
    assert needed > 1.1 * size
    out = disk(size) / "out"
    full = work.server.run(work.call(out, *HEATMAPS))
    assert full.code == 7
    assert "the disk is full; free some space" in full.said
    assert full.said.count("\n") == 1
    kept = check_folder(out, expected)
    assert kept.outputs and not left_parts(out)
    disk(4 * needed)
    done = work.server.run(work.call(out, *HEATMAPS, "--resume"))
    assert done.code == 0, done.said
    assert read_results(out) == expected
    return {
        "size_mib": size / MEBIBYTE,
        "needed_mib": round(needed / MEBIBYTE, 1),
        "outputs": len(expected),
        "finished_before_it_was_full": len(kept.outputs),
    }


def test_a_full_disk_ends_the_run_and_leaves_what_is_whole(
    work: Workload, small_disk: Callable[[int], Path]
) -> None:
    fill_and_go_on(work, small_disk, 64 * 1024)


@pytest.mark.skipif(KILLS <= 100, reason="make test-faults fills 64 MB")
def test_64_megabytes_filled_in_mid_run(
    work: Workload,
    small_disk: Callable[[int], Path],
    write_picture: Callable[[Path, np.ndarray], Path],
    record: Callable[[str, dict[str, Any]], None],
) -> None:
    noise = np.random.default_rng(0)
    source = work.folder / "large"
    for patient, number in itertools.product(range(40), range(6)):
        pixels = noise.integers(0, 256, (256, 256, 3), np.uint8)
        write_picture(source / f"p{patient}" / f"p{patient}_{number}.png", pixels)
    large = Workload(source, work.artifact, work.server, work.folder)
    record("full_disk", fill_and_go_on(large, small_disk, 64 * MEBIBYTE))


def test_a_write_that_fails_at_any_moment_ends_the_run(
    work: Workload,
    undisturbed: dict[str, Any],
    record: Callable[[str, dict[str, Any]], None],
    tmp_path: Path,
) -> None:
    step, failed, unharmed = 1 if KILLS > 100 else 3, 0, 0
    for number in itertools.count(1, step):
        out = tmp_path / f"out{number}"
        ended = work.server.run(work.call(out, fail_at=number))
        if ended.code == 0:  # nothing was to be removed, or the run makes no such call any more
            assert read_results(out) == undisturbed
            unharmed += 1
            if unharmed == 15:
                break
            continue
        assert ended.code == 7
        assert ended.said.startswith("lgg-infer: ") and ended.said.count("\n") == 1
        failed, unharmed = failed + 1, 0
        check_folder(out, undisturbed)
        done = work.server.run(work.call(out, "--resume"))
        assert done.code == 0, done.said
        assert read_results(out) == undisturbed
    assert failed > 60 / step
    record("writes_that_fail", {"moments": failed, "exit_code": 7})


def test_a_file_that_may_not_grow_is_not_left_half_written(
    work: Workload, undisturbed: dict[str, Any], tmp_path: Path
) -> None:
    sizes = sorted(len(data) for name, data in undisturbed.items() if name.endswith(".png"))
    out = tmp_path / "out"
    stopped = work.server.run(work.call(out, limits={"RLIMIT_FSIZE": sizes[-1] - 1}))
    assert stopped.code == 7
    assert "File too large" in stopped.said
    check_folder(out, undisturbed)
    assert work.server.run(work.call(out, "--resume")).code == 0
    with contextlib.suppress(FileNotFoundError):
        assert left_parts(out) == []
    assert read_results(out) == undisturbed
