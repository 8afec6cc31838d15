"""lgg-infer killed at any moment: nothing torn, nothing finished lost, the same in the end."""

from __future__ import annotations

import itertools
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stand_ins.damage import Kept, check_folder, left_parts, read_results
from stand_ins.workload import KILLS, Workload

NOTHING = Kept(frozenset(), frozenset())
SIGNAL_CODES = {signal.SIGTERM: 143, signal.SIGINT: 130}


def check_progress(out: Path, undisturbed: dict[str, Any], before: Kept) -> Kept:
    """What was finished before is still finished."""
    kept = check_folder(out, undisturbed)
    assert before.outputs <= kept.outputs
    assert before.studies <= kept.studies
    return kept


def finish(work: Workload, out: Path, undisturbed: dict[str, Any]) -> None:
    """The run is resumed without a disturbance, and nothing shows what happened before."""
    done = work.server.run(work.call(out, "--resume"))
    assert done.code == 0, done.said
    assert read_results(out) == undisturbed
    assert left_parts(out) == []


def measure(work: Workload) -> float:
    """Seconds that an undisturbed run takes from its first file."""
    running = work.server.start(work.call(work.folder / "measured"))
    begun = time.perf_counter()
    assert running.wait() == 0
    return time.perf_counter() - begun


def test_kills_at_random_moments(
    work: Workload,
    undisturbed: dict[str, Any],
    dice: random.Random,
    record: Callable[[str, dict[str, Any]], None],
    tmp_path: Path,
) -> None:
    longest = measure(work)
    kills = torn_parts = runs = 0
    halfway: set[int] = set()
    while kills < KILLS:
        out, kept = tmp_path / f"out{runs}", NOTHING
        runs += 1
        while kills < KILLS:
            running = work.server.start(work.call(out, "--resume"))
            if not running.kill_after(dice.uniform(0, longest)):
                break
            kills += 1
            kept = check_progress(out, undisturbed, kept)
            torn_parts += len(left_parts(out))
            halfway.add(len(kept.studies))
        finish(work, out, undisturbed)
    figures = {"kills": kills, "folders": runs, "writes_cut_short": torn_parts}
    record("kills_of_lgg_infer", figures | {"studies_finished_at_a_kill": sorted(halfway)})


def test_a_kill_before_each_call_to_the_file_system(
    work: Workload, undisturbed: dict[str, Any], tmp_path: Path
) -> None:
    step = 1 if KILLS > 100 else 17
    for number in itertools.count(1, step):
        out = tmp_path / f"out{number}"
        done = work.server.run(work.call(out, "--resume", kill_at=number))
        if done.code == 0:
            break
        assert done.code == -signal.SIGKILL, done.said
        check_folder(out, undisturbed)
        finish(work, out, undisturbed)
    assert number > 60  # thirty outputs, each opened and renamed


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda n: n.name)
def test_a_polite_signal_ends_the_run_with_its_code_and_a_whole_journal(
    work: Workload,
    undisturbed: dict[str, Any],
    dice: random.Random,
    tmp_path: Path,
    number: signal.Signals,
) -> None:
    longest = measure(work)
    ended = 0
    for attempt in range(max(KILLS // 10, 3)):
        out = tmp_path / f"out{attempt}"
        # The first signal comes within the run however late this process is told of its beginning.
        plan = {} if attempt else {"kill_at": 2, "kill_with": number}
        running = work.server.start(work.call(out, **plan))
        if attempt and running.wait(dice.uniform(0, longest)) is None:
            running.send(number)
        code = running.wait()
        assert code in (0, SIGNAL_CODES[number]), running.said
        assert "Traceback" not in running.said
        check_folder(out, undisturbed)
        assert left_parts(out) == []
        ended += code != 0
        finish(work, out, undisturbed)
    assert ended
