"""Rows about the run itself: disk, memory, signals, other runs, impossible options."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from catalogue.keepings import DONE, MASK, NOTHING_MADE, require_good
from catalogue.row import INFER, Keeping, Outcome, Row, Scene, Section, digests
from lgg_runtime.lock import LOCK_FILE, lock_output
from stand_ins.encodings import encode
from stand_ins.runs import draw_slice, read_png

Make = Callable[[Scene], object]
FULL = "the disk is full; free some space"
USAGE = "Usage: lgg-infer [OPTIONS] [INPUT]\nTry 'lgg-infer --help' for help.\n\nError: "
WAIT_S = 60
SECOND = "z/z_1.png"  # after the good one
SECOND_MASK = "z/z_1_mask.png"


def _refuse_writes(scene: Scene, name: str, number: int, before: Make = lambda _: None) -> None:
    """Flushing that file to disk fails."""
    before(scene)
    real = os.fsync

    def refuse(handle: int) -> None:
        if Path(f"/proc/self/fd/{handle}").readlink().name == f"{name}.part":
            raise OSError(number, os.strerror(number))
        real(handle)

    scene.patch.setattr(os, "fsync", refuse)


def failing(name: str, number: int = errno.ENOSPC) -> Make:
    def make(scene: Scene) -> None:
        scene.put_good(SECOND)
        _refuse_writes(scene, name, number)

    return make


def _older_result(scene: Scene) -> None:
    """A mask of an earlier run, whose replacement does not fit on the disk."""
    (scene.out / "good").mkdir(parents=True)
    (scene.out / MASK).write_bytes(b"of an earlier run")
    _refuse_writes(scene, "good_1_mask.png", errno.ENOSPC)


def _await_first(scene: Scene) -> threading.Event:
    """Set once the good slice's mask is on disk: writes lag behind."""
    from lgg_runtime.run import finishing

    real, done = finishing.write_atomically, threading.Event()

    def write(path: Path, data: bytes) -> None:
        real(path, data)
        if path.name == Path(MASK).name:
            done.set()

    scene.patch.setattr(finishing, "write_atomically", write)
    return done


def _exhaust_memory(scene: Scene) -> None:
    """Decoding the second picture asks for more memory than there is."""
    from lgg_runtime.readers import raster

    scene.put_good(SECOND)
    real, first = raster.read_header, _await_first(scene)

    def exhaust(data: bytes, limits: Any) -> Any:
        seen.append(data)
        if len(seen) == 2:
            assert first.wait(WAIT_S)
            raise MemoryError
        return real(data, limits)

    seen: list[bytes] = []
    scene.patch.setattr(raster, "read_header", exhaust)


def _signal_in_mid_run(number: int) -> Make:
    """The signal arrives while the second slice runs; the first is written."""

    def make(scene: Scene) -> None:
        from lgg_runtime.segmenter import Segmenter

        scene.put_good(SECOND)
        real, first = Segmenter.run, _await_first(scene)
        # Python is interrupted by default, but not where the shell told it to ignore it.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        scene.later.callback(signal.signal, signal.SIGINT, before)

        def interrupt(segmenter: Segmenter, prepared: Any, *more: Any) -> Any:
            runs.append(prepared)
            if len(runs) == 2:
                assert first.wait(WAIT_S)
                signal.raise_signal(number)
            return real(segmenter, prepared, *more)

        runs: list[Any] = []
        scene.patch.setattr(Segmenter, "run", interrupt)

    return make


def _hold(scene: Scene) -> None:
    """Another run holds the folder."""
    scene.out.mkdir()
    scene.later.enter_context(lock_output(scene.out))


def _no_locks(scene: Scene) -> None:
    """As on some disks over a network."""

    def refuse(_handle: int, _operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    scene.patch.setattr(fcntl, "flock", refuse)


def _leave_lock(scene: Scene) -> None:
    """What a run leaves that was killed: its mark in the lock file."""
    scene.put_good("odd/odd_1.png")
    scene.out.mkdir()
    (scene.out / LOCK_FILE).write_bytes(b"at work\n")


def _begin_run(scene: Scene) -> None:
    """A finished run over the good slice and a second one; links show which mask is replaced."""
    from lgg_runtime.cli import command

    scene.put_good(SECOND)
    words = [*INFER[1:], "-m", "model.onnx", "--threads", "2", "--quiet"]
    command.main(words, standalone_mode=False)
    for mask in (MASK, SECOND_MASK):
        os.link(scene.out / mask, scene.root / Path(mask).name)


def _change_input(scene: Scene) -> None:
    _begin_run(scene)
    scene.put(SECOND, encode(".png", draw_slice()))


def _tear_journal(scene: Scene) -> None:
    """As a power failure may leave it."""
    _begin_run(scene)
    path = scene.out / "journal.jsonl"
    path.write_bytes(path.read_bytes()[:-20])


def _take_names(scene: Scene) -> None:
    """A folder where a mask is to be written."""
    (scene.out / MASK).mkdir(parents=True)


def _first_kept(outcome: Outcome, row: Row) -> None:
    """What was finished is whole and recorded; nothing else is there."""
    require_good(outcome)
    written = {name for entry in outcome.fates("done") for name in entry["outputs"]}
    assert written == set(outcome.results)
    assert {"run.json", "summary.csv"} <= set(outcome.files)


def _stopped(outcome: Outcome, row: Row) -> None:
    _first_kept(outcome, row)
    assert outcome.run["state"] == "stopped: " + row.says.removeprefix("lgg-infer: ")


def _interrupted(outcome: Outcome, row: Row) -> None:
    _first_kept(outcome, row)
    assert outcome.run["state"] == "interrupted"


def _older_stays(outcome: Outcome, row: Row) -> None:
    assert (outcome.scene.out / MASK).read_bytes() == b"of an earlier run"
    assert outcome.fates("done") == []


def _none_done(outcome: Outcome, row: Row) -> None:
    assert outcome.fates("done") == []
    assert outcome.results == []


def _held_results(outcome: Outcome, _row: Row) -> None:
    assert not [name for name in outcome.changed if name.endswith("_mask.png")]
    assert len(outcome.results) == 2


def _one_done_again(outcome: Outcome, _row: Row) -> None:
    require_good(outcome)
    root, out = outcome.scene.root, outcome.scene.out
    kept = [(root / Path(m).name).samefile(out / m) for m in (MASK, SECOND_MASK)]
    assert kept == [True, False]
    assert outcome.run["counts"]["done"] == 2
    assert outcome.run["state"] == "complete"


def _changed_done_again(outcome: Outcome, row: Row) -> None:
    _one_done_again(outcome, row)
    assert not read_png(outcome.scene.out / SECOND_MASK).any()


def _none_begun(outcome: Outcome, _row: Row) -> None:
    assert outcome.results == []
    assert "run.json" not in outcome.files


def _held(outcome: Outcome, _row: Row) -> None:
    assert list(digests(outcome.scene.out)) == [LOCK_FILE]


STOPPED = Keeping("Finished masks stay and are in `run.json`; no torn file.", _stopped)
INTERRUPTED = Keeping("Finished masks stay, `run.json` says interrupted; no torn file.",
                      _interrupted)  # fmt: skip


def usage(name: str, what: str, says: str, *options: str) -> Row:
    return Row(name, what, lambda scene: None, 2, says, NOTHING_MADE, command=(*INFER, *options))


DISK = (
    Row("disk full", "A disk that fills up in mid-run.", failing("z_1_mask.png"), 7,
        f"lgg-infer: z_1_mask.png: {FULL}", STOPPED),
    Row("quota", "A quota that is used up.", failing("z_1_mask.png", errno.EDQUOT), 7,
        f"lgg-infer: z_1_mask.png: {FULL}", STOPPED),
    Row("disk error", "A disk that fails in mid-write.", failing("z_1_mask.png", errno.EIO), 7,
        "lgg-infer: z_1_mask.png: cannot be written: Input/output error", STOPPED),
    Row("read-only in mid-run", "A file system that becomes read-only in mid-run.",
        failing("z_1_mask.png", errno.EROFS), 7,
        "lgg-infer: z_1_mask.png: cannot be written: Read-only file system", STOPPED),
    Row("full at the journal", "A disk that is full when the run is recorded.",
        lambda scene: _refuse_writes(scene, "summary.csv", errno.ENOSPC), 7,
        f"lgg-infer: summary.csv: {FULL}",
        Keeping("Nothing was begun.", _none_begun)),
    Row("older result", "A full disk where a mask of an earlier run lies.", _older_result, 7,
        f"lgg-infer: good_1_mask.png: {FULL}",
        Keeping("The earlier mask stays as it was.", _older_stays)),
    Row("folder in the way", "A folder where a mask is to be written.", _take_names, 7,
        "lgg-infer: good_1_mask.png: cannot be written: Is a directory",
        Keeping("The folder stays; nothing is recorded as done.", _none_done)),
)  # fmt: skip

MEMORY_AND_SIGNALS = (
    Row("memory", "Memory that is exhausted while a picture is decoded.", _exhaust_memory, 7,
        "lgg-infer: memory exhausted; give fewer or smaller slices", STOPPED),
    Row("SIGTERM", "SIGTERM in mid-run.", _signal_in_mid_run(signal.SIGTERM), 143,
        "lgg-infer: terminated", INTERRUPTED),
    Row("Ctrl-C", "Ctrl-C in mid-run.", _signal_in_mid_run(signal.SIGINT), 130,
        "\nlgg-infer: interrupted", INTERRUPTED),
    Row("two runs", "A second run into one folder.", _hold, 8,
        "lgg-infer: out: another run is writing there; wait for its end or take another folder",
        Keeping("The first run's files are left alone.", _held)),
    Row("no locks", "An output on a disk without locks.", _no_locks, 7,
        "lgg-infer: out: cannot be locked: No locks available; choose a folder on another disk",
        Keeping("Nothing was begun.", _none_begun)),
    Row("dead run", "The lock of a run that was killed.", _leave_lock, 0,
        "the lock of a run that died is taken over", DONE, command=(*INFER, "--no-progress")),
    Row("resume another", "--resume with other options than the earlier run's.", _begin_run, 8,
        "lgg-infer: --resume: journal.jsonl: threshold was 0.5, now it is 0.4; repeat that run's "
        "options or choose another output folder",
        Keeping("The earlier run's results stay.", _held_results),
        command=(*INFER, "--resume", "--threshold", "0.4")),
    Row("resume changed", "--resume where an input was changed since.", _change_input, 0, "",
        Keeping("What changed is done again; what did not is taken over.", _changed_done_again),
        command=(*INFER, "--resume")),
    Row("resume torn", "--resume after a torn line in the journal.", _tear_journal, 0, "",
        Keeping("What the whole lines prove is taken over, the rest is done again.",
                _one_done_again),
        command=(*INFER, "--resume")),
)  # fmt: skip

OPTIONS = (
    usage("threshold", "A threshold of 1.",
          f"{USAGE}Invalid value for '--threshold': 1.0 is not in the range 1e-06<=x<1.",
          "--threshold", "1"),
    usage("threshold 0", "A threshold that is 0 among float32 probabilities.",
          f"{USAGE}Invalid value for '--threshold': 1e-300 is not in the range 1e-06<=x<1.",
          "--threshold", "1e-300"),
    usage("threshold nan", "A threshold that is no number.",
          "lgg-infer: threshold nan: expected from 0.000001 to below 1", "--threshold", "nan"),
    usage("batch", "A batch of no slice.",
          f"{USAGE}Invalid value for '--batch': 0 is not in the range 1<=x<=1024.", "--batch", "0"),
    usage("large batch", "A batch above every use; so are threads.",
          f"{USAGE}Invalid value for '--batch': 100000 is not in the range 1<=x<=1024.",
          "--batch", "100000"),
    usage("provider", "A provider that is not known.",
          f"{USAGE}Invalid value for '--provider' / '--device': 'tpu' is not one of "
          "{the providers}.", "--provider", "tpu"),
    usage("option", "An option that is not known.", f"{USAGE}No such option '--nonsense'.",
          "--nonsense"),
    usage("two inputs", "Several inputs, as a shell makes of `folder/*.tif` or of a space.",
          "lgg-infer: 3 inputs, expected one; give the folder that holds them, and a name with "
          "spaces in quotes", "more", "again"),
    usage("no truth", "--evaluate without reference masks.",
          "lgg-infer: --evaluate: no *_mask file beside the slices of in; put the reference of "
          "NAME.png into its folder as NAME_mask.png", "--evaluate"),
)  # fmt: skip

SECTION = Section(
    "The run",
    "Files appear whole or not at all. `run.json` names as done what is on disk, whatever ended "
    "the run; the operating system frees the lock of a run that died.",
    (*DISK, *MEMORY_AND_SIGNALS, *OPTIONS),
)
