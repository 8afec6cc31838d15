"""How slowly a request may go to a DICOMweb server, and its answer may come."""

from __future__ import annotations

import contextlib
import io
import itertools
import socket
from types import SimpleNamespace
from typing import Any

import pytest

from lgg_runtime.pacs import web_connection
from lgg_runtime.pacs.web_connection import patient_adapter


@pytest.mark.parametrize(("seconds", "byte_count", "is_read"), [(9, 9216, True), (9, 9000, False)])
def test_an_answer_that_is_slow_and_moves_is_read_to_its_end(
    monkeypatch: pytest.MonkeyPatch, seconds: int, byte_count: int, is_read: bool
) -> None:
    clock = itertools.count(0, seconds)  # looked at before each wait and after it
    monkeypatch.setattr(web_connection, "time", SimpleNamespace(monotonic=clock.__next__))

    class Slow(io.RawIOBase):
        left = 200

        def readable(self) -> bool:
            return True

        def readinto(self, into: Any) -> int:
            self.left -= 1
            into[: min(len(into), byte_count)] = bytes(min(len(into), byte_count))
            return min(len(into), byte_count) if self.left >= 0 else 0

    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(20)
        patience = web_connection._Patience(ours, Slow())
        patience.is_head = False
        with contextlib.nullcontext() if is_read else pytest.raises(TimeoutError):
            while patience.read(byte_count):
                pass
        assert ours.gettimeout() == 20


def test_an_upload_has_its_timeout_for_each_block_and_not_as_a_whole() -> None:
    adapter = patient_adapter(pytest.importorskip("requests").adapters.HTTPAdapter)
    for manager in (adapter.poolmanager, adapter.proxy_manager_for("http://proxy:3128")):
        options = manager.connection_pool_kw["socket_options"]
        assert dict(one[1:] for one in options)[socket.SO_SNDBUF] <= 1 << 17, "little is ahead"
        for pool in manager.pool_classes_by_scheme.values():
            connection, sent = pool.ConnectionCls("host"), list[bytes]()
            connection.sock = SimpleNamespace(sendall=sent.append, close=lambda: None)
            object_ = bytes(range(256)) * 1000
            connection.send(object_)
            assert max(map(len, sent)) <= 1 << 16
            assert b"".join(sent) == object_
