"""Whole commands: how long they ran, what they held, and whose turn it was."""

import os
import signal
import sys
from dataclasses import asdict
from importlib.util import cache_from_source
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from lgg_bench import whole
from lgg_bench.eager import load_eager
from lgg_bench.rival import ENGINES, SUFFIXES, segment_folder
from lgg_bench.slices import phantom_slices
from lgg_bench.whole import OUTPUT, Ran, compare_runs, infer_command, run_in_turn, run_whole
from lgg_runtime import terminal
from lgg_runtime.errors import (
    InputError,
    ModelError,
    NoInputError,
    ProviderError,
    ResourceError,
    UsageError,
)
from lgg_runtime.readers import raster
from lgg_runtime.run import finishing
from stand_ins.signals import keeping_handlers

SLICES = phantom_slices(2, 48)


def test_a_command_gets_a_new_output_folder_and_its_threads():
    script = (
        "import os, pathlib, sys; pathlib.Path(sys.argv[1]).mkdir();"
        "(pathlib.Path(sys.argv[1]) / 'a').write_text(os.environ['OMP_NUM_THREADS'])"
    )
    command = [sys.executable, "-c", script, OUTPUT]
    for threads in (1, 3):
        ran = run_whole(command, threads, lambda output: (output / "a").read_text())
        assert ran.report == str(threads)
        assert ran.seconds > 0


def test_results_stay_where_they_shall(tmp_path):
    script = "import sys; print('x', file=open(sys.argv[1], 'w'))"
    run_whole([sys.executable, "-c", script, OUTPUT], None, keep_in=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_the_runtime_is_compiled_as_an_installed_one_is():
    compiled = Path(cache_from_source(finishing.__file__))
    compiled.unlink(missing_ok=True)
    infer_command("--version")
    assert compiled.is_file()


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core: nothing to hold to")
def test_a_command_is_held_to_as_many_cores_as_threads():
    script = (
        "import os, pathlib, sys; pathlib.Path(sys.argv[1]).mkdir();"
        "(pathlib.Path(sys.argv[1]) / 'a').write_text(str(len(os.sched_getaffinity(0))))"
    )
    command = [sys.executable, "-c", script, OUTPUT]
    total = len(os.sched_getaffinity(0))
    for threads, cores in ((1, 1), (2, 2), (None, total)):
        ran = run_whole(command, threads, lambda output: (output / "a").read_text())
        assert ran.report == str(cores)


@pytest.mark.parametrize("compiled", [False, True])
def test_pytorch_s_rivals_differ_by_the_compilation_alone(run, monkeypatch, compiled):
    import torch

    wrapped = []

    def stand_in(network):
        wrapped.append(network)
        return network

    monkeypatch.setattr(torch, "compile", stand_in)
    found = ENGINES["compiled" if compiled else "eager"](str(run))(SLICES)
    assert len(wrapped) == compiled
    np.testing.assert_allclose(found, load_eager(run, "NCHW", "cpu")(SLICES), atol=1e-6)


def test_a_rival_that_finds_no_slice_fails(tmp_path):
    cv2.imwrite(str(tmp_path / "a_mask.png"), np.zeros((16, 16), np.uint8))
    with pytest.raises(SystemExit, match="no slice in it"):
        segment_folder(lambda slices: slices, tmp_path, tmp_path / "out")


def test_a_rival_reads_every_file_that_lgg_infer_takes_for_a_slice(tmp_path):
    """Else it would be timed on fewer slices than it is told to have done."""
    assert set(SUFFIXES) == raster.SUFFIXES
    for number, suffix in enumerate((*SUFFIXES, ".TIF")):
        picture = np.full((16, 16, 3), 8 * number, np.uint8)
        cv2.imwrite(str(tmp_path / f"a_{number}{suffix}"), picture)
    segment_folder(lambda slices: slices[..., 0] / 16, tmp_path, tmp_path / "out")
    marked = {path.name: cv2.imread(str(path)).max() for path in (tmp_path / "out").iterdir()}
    assert marked == {f"a_{number}_mask.png": 255 * (number > 0) for number in range(6)}


def test_a_picture_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "a.tif").write_bytes(b"no picture")
    with pytest.raises(SystemExit, match=r"a\.tif: OpenCV cannot read it"):
        segment_folder(lambda slices: slices, tmp_path, tmp_path / "out")


@pytest.mark.parametrize(
    ("sides", "said"),
    [
        (
            ((32, 16), (32, 48)),
            r"b/b_1\.png: 48 x 32 pixels in a batch of 16 x 32; expected slices",
        ),
        (
            ((24, 16), (24, 16)),
            r"a/a_1\.png: 16 x 24 pixels in a batch of 16 x 24; .* of 16, which",
        ),
        (((16, 24), (16, 24)), r"a/a_1\.png: 24 x 16 pixels .* with `lgg-bench throughput`$"),
    ],
)
def test_slices_that_a_notebook_cannot_put_into_one_batch_are_named(tmp_path, sides, said):
    for name, side in zip("ab", sides, strict=True):
        (tmp_path / name).mkdir()
        cv2.imwrite(str(tmp_path / name / f"{name}_1.png"), np.zeros((*side, 3), np.uint8))
    with pytest.raises(SystemExit, match=said):
        segment_folder(lambda slices: slices[..., 0], tmp_path, tmp_path / "out")


def test_the_peak_is_of_the_command_alone(tmp_path, monkeypatch):
    held, peak = bytearray(2**28), whole._PEAK
    # The command ends once it was seen to hold what it is to hold: the second look began after it.
    script = (
        "import sys, time, pathlib\nx = bytearray(int(sys.argv[1]))\n"
        "holds, seen = map(pathlib.Path, sys.argv[2:])\nholds.touch()\n"
        "while not seen.exists(): time.sleep(0.01)"
    )

    def run(size):
        holds, seen, looks = tmp_path / f"holds {size}", tmp_path / f"seen {size}", []

        def search(text):
            looks.extend([text] if holds.exists() else [])
            if len(looks) == 2:
                seen.touch()
            return peak.search(text)

        monkeypatch.setattr(whole, "_PEAK", SimpleNamespace(search=search))
        words = [sys.executable, "-c", script, str(size), str(holds), str(seen)]
        return run_whole(words, None).peak_mib

    small, large = run(0), run(2**26)
    assert len(held) / 2**20 > large
    assert large - small == pytest.approx(64, abs=4)


def test_the_peak_is_the_system_s_and_in_mib(tmp_path):
    peak, looks = whole._Peak(os.getpid()), iter((False, True))
    peak._status = tmp_path / "status"
    peak._status.write_text("VmPeak:\t 8192 kB\nVmHWM:\t 2048 kB\nVmRSS:\t 1024 kB\n")
    peak._ended = SimpleNamespace(wait=lambda _: next(looks))
    peak._watch()
    assert peak.mib == 2


def test_a_signal_ends_the_command_that_is_measured_too(tmp_path, monkeypatch):
    """SIGTERM goes to lgg-bench alone, unlike Ctrl-C."""
    pid, waited_for = tmp_path / "pid", tmp_path / "waited for"

    class Peak(whole._Peak):
        def __enter__(self):
            waited_for.touch()
            return super().__enter__()

    monkeypatch.setattr(whole, "_Peak", Peak)
    script = (
        f"echo $$ > '{pid}'; until [ -e '{waited_for}' ]; do sleep 0.01; done; "
        "kill -TERM $PPID; exec sleep 20"
    )
    with keeping_handlers(), pytest.raises(terminal.Terminated):
        signal.signal(signal.SIGTERM, terminal._stop)
        run_whole(["/bin/sh", "-c", script], None)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def test_the_time_is_that_from_the_start_of_the_command_to_its_end(monkeypatch):
    clock = SimpleNamespace(perf_counter=iter((10.0, 12.5)).__next__)
    monkeypatch.setattr(whole, "time", clock)
    assert run_whole([sys.executable, "-c", "pass"], None).seconds == 2.5


@pytest.mark.parametrize(
    ("end", "error", "said"),
    [
        ("sys.exit(1)", InputError, "exit 1: why$"),
        ("sys.exit(2)", UsageError, "exit 2: why$"),
        ("sys.exit(3)", InputError, "exit 3: why$"),
        ("sys.exit(4)", NoInputError, "exit 4: why$"),
        ("sys.exit(5)", ModelError, "exit 5: why$"),
        ("sys.exit(6)", ProviderError, "exit 6: why$"),
        ("sys.exit(7)", ResourceError, "exit 7: why$"),
        ("os.kill(os.getpid(), 6)", InputError, "exit -6: why$"),
        ("os.kill(os.getpid(), 9)", ResourceError, "killed; the memory may not suffice: free "),
    ],
)
def test_a_command_that_fails_is_an_error_with_its_last_line_or_what_may_have_killed_it(
    end, error, said
):
    script = f"import os, sys; print('and\\nwhy', file=sys.stderr, flush=True); {end}"
    with pytest.raises(error, match=said) as raised:
        run_whole([sys.executable, "-c", script], None)
    assert raised.type is error


def test_every_round_begins_with_another_command_and_results_stay_to_the_end():
    order, kept = [], []

    def command(name):
        def call(keep_in):
            order.append(name)
            (keep_in / "result").touch(exist_ok=False)
            kept.append(keep_in)
            assert all((folder / "result").is_file() for folder in kept)
            return Ran(1.0, 1.0)

        return call

    found = run_in_turn({name: command(name) for name in "abc"}, 3, lambda: None)
    assert "".join(order) == "abcbcacab"
    assert not any(folder.exists() for folder in kept)
    assert {name: len(runs) for name, runs in found.items()} == {"a": 3, "b": 3, "c": 3}


def test_how_many_times_faster_is_by_round():
    reference = [Ran(s, 0) for s in (8.0, 6.0, 4.0)]
    runs = [Ran(s, 0) for s in (2.0, 2.0, 2.0)]
    assert asdict(compare_runs(reference, runs)) == {"low": 2.5, "median": 3.0, "high": 3.5}


def test_fewer_threads_than_cores_need_taskset(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    monkeypatch.setattr("shutil.which", lambda _: None)
    with pytest.raises(UsageError, match="threads 1: needs taskset, of util-linux; install it"):
        run_whole(["true"], 1)
    run_whole(["true"], 2)
