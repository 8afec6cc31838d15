"""One run at a time in a folder; a lock never outlives its holder."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lgg_runtime.errors import OutputConflictError, ResourceError
from lgg_runtime.lock import LOCK_FILE, lock_output

HOLD = """
import sys
from pathlib import Path
from lgg_runtime.lock import lock_output
with lock_output(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_run_is_told_to_wait(tmp_path: Path) -> None:
    with (
        lock_output(tmp_path),
        pytest.raises(OutputConflictError, match="another run is writing there"),
        lock_output(tmp_path),
    ):
        pytest.fail("the second run got in")


def test_the_folder_is_free_after_the_run_and_after_its_failure(tmp_path: Path) -> None:
    with lock_output(tmp_path):
        pass
    with pytest.raises(KeyError), lock_output(tmp_path):
        raise KeyError
    with lock_output(tmp_path):
        assert (tmp_path / LOCK_FILE).exists()


def test_other_folders_are_free(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with lock_output(tmp_path), lock_output(tmp_path / "other"):
        assert (tmp_path / "other" / LOCK_FILE).exists()


def test_the_lock_of_a_process_that_died_is_free(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(OutputConflictError), lock_output(tmp_path):
            pytest.fail("got in beside another process")
        holder.kill()
        holder.wait()
    with lock_output(tmp_path):
        assert (tmp_path / LOCK_FILE).exists()


@pytest.mark.parametrize("name", ["missing", "file"])
def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match="cannot be written"), lock_output(tmp_path / name):
        pytest.fail("locked nothing")


_HELD = (OutputConflictError, "another run is writing there")
_NO_LOCKS = (ResourceError, "cannot be locked: {}; choose a folder on another disk")


@pytest.mark.parametrize(
    ("number", "refused"),
    [
        (errno.EWOULDBLOCK, _HELD),
        (errno.EACCES, _HELD),  # as an SMB share says it
        (errno.ENOLCK, _NO_LOCKS),
        (errno.EOPNOTSUPP, _NO_LOCKS),
    ],
)
def test_a_lock_that_is_held_and_a_disk_without_locks_are_told_apart(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    refused: tuple[type[Exception], str],
) -> None:
    def refuse(_handle: int, _operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    kind, told = refused
    with pytest.raises(kind, match=told.format(os.strerror(number))), lock_output(tmp_path):
        pytest.fail("went on without a lock")
    assert (tmp_path / LOCK_FILE).read_bytes() == b""


def test_a_disk_that_is_gone_as_the_lock_is_looked_at_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_handle: int) -> None:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    monkeypatch.setattr(os, "fstat", refuse)
    told = f"{LOCK_FILE}: cannot be written: Stale file handle"
    with pytest.raises(ResourceError, match=told), lock_output(tmp_path):
        pytest.fail("went on")
    monkeypatch.undo()  # pytest asks it too


def test_a_disk_that_is_gone_at_the_end_of_a_run_hides_no_error_of_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_handle: int, _size: int) -> None:
        raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))

    close = os.close

    def close_and_refuse(handle: int) -> None:
        close(handle)
        refuse(handle, 0)

    with pytest.raises(ResourceError, match="told"), lock_output(tmp_path):
        monkeypatch.setattr(os, "ftruncate", refuse)
        monkeypatch.setattr(os, "close", close_and_refuse)
        raise ResourceError("told")
    monkeypatch.undo()
    with lock_output(tmp_path) as died:
        assert died, "what is taken over is not looked at, though the mark stayed"
