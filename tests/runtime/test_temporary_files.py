"""The folder for temporary files is named where it refuses one, and for nothing else."""

import errno

import pytest

from lgg_runtime.errors import OutOfMemoryError, ResourceError
from lgg_runtime.writers.temporary_files import telling_temporary_files


@pytest.mark.parametrize(
    "error", [OutOfMemoryError("no memory"), ResourceError("no thread"), OSError(errno.EIO, "")]
)
def test_what_is_not_the_disk_s_does_not_name_the_folder_of_temporary_files(
    error: Exception,
) -> None:
    with pytest.raises(type(error)) as told, telling_temporary_files():
        raise error
    assert told.value is error
