"""Memory that does not suffice: exit 7 and no hang, what is done stays whole, the rest later."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lgg_train.phantom import PhantomSettings, write_phantoms
from stand_ins.damage import check_folder, read_results
from stand_ins.forks import Call, ForkServer
from stand_ins.workload import KILLS

MEBIBYTE = 1 << 20
LIMITS = (600, 400, 440, 480, 520, 700) if KILLS > 100 else (600, 400)


@pytest.fixture
def call(patients: Path, tmp_path: Path) -> Callable[..., Call]:
    """lgg-infer with the shipped model, small patients first and one of full size after them."""
    source = shutil.copytree(patients, tmp_path / "in")
    write_phantoms(source / "large", PhantomSettings(patients=1, slices=8, size=256, seed=1))

    def make(out: str, limit: int | None, *more: str) -> Call:
        arguments = (str(source), "-o", str(tmp_path / out), "--threads", "1", *more)
        limits = {} if limit is None else {"RLIMIT_AS": limit * MEBIBYTE}
        log = tmp_path / f"{out}.log"
        return Call("lgg_runtime.cli:main", arguments, log, tmp_path / out, limits=limits)

    return make


def test_a_memory_limit_is_kept_to_or_ends_the_run_and_keeps_what_is_done(
    server: ForkServer,
    call: Callable[..., Call],
    record: Callable[[str, dict[str, Any]], None],
    tmp_path: Path,
) -> None:
    assert server.run(call("whole", None)).code == 0
    expected = read_results(tmp_path / "whole")
    codes: dict[str, int | None] = {}
    finished: dict[str, int] = {}
    for limit in LIMITS:
        out = tmp_path / f"out{limit}"
        stopped = server.run(call(out.name, limit))
        # Smaller batches may be enough; then the run is whole.
        assert stopped.code in (0, 7), stopped.said
        assert "Traceback" not in stopped.said
        assert stopped.code == 0 or "memory" in stopped.said
        kept = check_folder(out, expected)
        codes[f"{limit} MB"] = stopped.code
        finished[f"{limit} MB"] = len(kept.studies)
        if stopped.code == 0:
            assert len(kept.studies) == 6
        resumed = server.run(call(out.name, None, "--resume"))
        assert resumed.code == 0, resumed.said
        found = read_results(out)
        assert {name: found[name] for name in expected if name != "run.json"} == {
            name: expected[name] for name in expected if name != "run.json"
        }
    assert 7 in codes.values(), "a limit that ends the run"
    assert finished["600 MB"] >= 1
    record("memory_limit", {"exit_codes": codes, "patients_finished_of_6": finished})
