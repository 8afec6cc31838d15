"""Inputs that cannot be read, or go away while a run is at work: named, and the rest done."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from stand_ins.damage import check_folder, read_outputs
from stand_ins.runs import LESION
from stand_ins.workload import KILLS, Workload


def test_inputs_that_are_removed_in_mid_run_are_named_and_the_others_done(
    work: Workload,
    undisturbed: dict[str, Any],
    dice: random.Random,
    record: Callable[[str, dict[str, Any]], None],
    tmp_path: Path,
) -> None:
    attempts, named = max(KILLS // 5, 4), 0
    every = {f"{patient}/{patient}_{n}.png" for patient in "abcde" for n in (1, 2, 3)}
    codes: set[int] = set()
    for attempt in range(attempts):
        source = shutil.copytree(work.source, tmp_path / f"in{attempt}")
        out, gone = tmp_path / f"out{attempt}", dice.choice("bcde")
        running = work.server.start(work.from_source(source).call(out))
        running.wait(dice.uniform(0, 0.05))
        shutil.rmtree(source / gone)
        code = running.wait()
        kept = check_folder(out, undisturbed)
        run = json.loads((out / "run.json").read_bytes())
        assert {entry["name"] for entry in run["inputs"]} == every
        failed = {entry["name"] for entry in run["inputs"] if entry["fate"] == "failed"}
        assert failed <= {f"{gone}/{gone}_{n}.png" for n in (1, 2, 3)}
        assert code == (3 if failed else 0), running.said
        assert set("abcde") - {gone} <= kept.studies
        named += bool(failed)
        codes.add(code)
    record("inputs_removed", {"runs": attempts, "noticed": named, "exit_codes": sorted(codes)})


def spoil(folder: Path, names: list[str]) -> None:
    """Ten ways in which a file cannot be read."""
    first = (folder / names[0]).read_bytes()
    contents = {
        0: b"",
        1: first[: len(first) // 2],
        2: first[:8],
        3: b"no picture at all",
        4: bytes(1000),
        5: first[:40] + bytes(len(first) - 40),
        6: b"II*\0" + b"\xff" * 60,
        7: b"\xff\xd8\xff\xe0" + bytes(20),
        8: first[:16] + b"\0\0\xea\x60" * 2 + first[24:],  # 60000 x 60000
    }
    for index, data in contents.items():
        (folder / names[index]).write_bytes(data)
    (folder / names[9]).unlink()
    os.mkfifo(folder / names[9])


def test_ten_unreadable_files_are_named_and_all_others_done(
    work: Workload,
    draw_slice: Callable[..., np.ndarray],
    write_picture: Callable[[Path, np.ndarray], Path],
    record: Callable[[str, dict[str, Any]], None],
    tmp_path: Path,
) -> None:
    count = 1000 if KILLS > 100 else 50
    source = tmp_path / "many"
    for index in range(count):
        write_picture(source / f"{index:04d}x.png", draw_slice(LESION))
    spoiled = [f"{index:04d}x.png" for index in range(0, count, count // 10)]
    spoil(source, spoiled)
    out = tmp_path / "out"
    done = work.server.run(work.from_source(source).call(out))
    assert done.code == 3, done.said
    named = [line.split(":")[0] for line in done.said.splitlines() if ".png: " in line]
    assert sorted(named) == spoiled
    assert len(read_outputs(out)) == 2 * (count - 10)
    record("unreadable_files", {"files": count, "unreadable": 10, "done": count - 10, "exit": 3})
