"""Connections to the node's two ports."""

from __future__ import annotations

import errno
from types import SimpleNamespace
from typing import Any, cast

import pytest

pytest.importorskip("pynetdicom")
pytest.importorskip("prometheus_client")

from lgg_runtime.pacs import ports
from lgg_runtime.pacs.bounds import BoundedServer
from lgg_runtime.pacs.health import _Server
from lgg_runtime.pacs.log import LOG


@pytest.mark.parametrize("kind", [BoundedServer, _Server])
def test_a_connection_that_cannot_be_taken_is_told_and_the_next_try_waits(
    kind: type[BoundedServer] | type[_Server],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def accept() -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    waits: list[float] = []
    monkeypatch.setattr(ports, "time", SimpleNamespace(sleep=waits.append))
    # A node that another test started in this process leaves its own, and no propagation, for which
    # caplog listens to the logger itself.
    monkeypatch.setattr(LOG, "handlers", [])
    monkeypatch.setattr(LOG, "propagate", True)
    server = kind.__new__(kind)
    server.socket = cast(Any, SimpleNamespace(accept=accept))
    with pytest.raises(OSError, match="Too many open files"):
        server.get_request()
    assert (caplog.messages, waits) == (
        ["a connection cannot be taken: Too many open files"], [1.0]
    )  # fmt: skip
