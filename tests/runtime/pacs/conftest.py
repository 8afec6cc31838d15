"""What the tests of DICOM's network share: a real Orthanc."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from stand_ins.orthanc import Orthanc, why_missing


@pytest.fixture(scope="session")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """Running and shared by all tests of the session: whoever needs it empty calls `clear`."""
    if reason := why_missing():
        pytest.skip(reason)
    server = Orthanc(tmp_path_factory.mktemp("orthanc"))
    server.start()
    yield server
    server.stop()
