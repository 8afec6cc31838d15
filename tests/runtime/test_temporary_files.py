"""The folder for temporary files is named where it refuses one, and for nothing else."""

import errno
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from lgg_runtime.errors import OutOfMemoryError, ResourceError
from lgg_runtime.writers.atomic import write_atomically
from lgg_runtime.writers.temporary_files import telling_temporary_files


@pytest.mark.parametrize(
    ("write", "name"), [(Path.write_bytes, ""), (write_atomically, "model.onnx: ")]
)
def test_a_full_folder_of_temporary_files_is_named(
    small_disk: Callable[[int], Path],
    monkeypatch: pytest.MonkeyPatch,
    write: Callable[[Path, bytes], object],
    name: str,
) -> None:
    full = small_disk(4096)
    monkeypatch.setattr(tempfile, "tempdir", str(full))
    with pytest.raises(ResourceError) as told, telling_temporary_files():
        write(full / "model.onnx", bytes(8192))
    assert str(told.value) == f"{full} (TMPDIR): {name}the disk is full; free some space"


def test_a_disk_that_does_not_give_a_temporary_file_s_folder_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(ResourceError) as told, telling_temporary_files():
        tempfile.mkdtemp(suffix="n" * 300)
    assert str(told.value) == f"{tmp_path} (TMPDIR): cannot be written: File name too long"


@pytest.mark.parametrize(
    "error", [OutOfMemoryError("no memory"), ResourceError("no thread"), OSError(errno.EIO, "")]
)
def test_what_is_not_the_disk_s_does_not_name_the_folder_of_temporary_files(
    error: Exception,
) -> None:
    with pytest.raises(type(error)) as told, telling_temporary_files():
        raise error
    assert told.value is error
