"""A connection to a DICOMweb server: how slowly a request may go and its answer may come."""

from __future__ import annotations

import http.client
import io
import socket
import time
from typing import Any

_SLOWEST_BYTES = 1024  # a second
_BLOCK_BYTES = 65536
# As urllib3 sets it; and little that the system takes before it is on its way, because the wait for
# an answer begins then.
_SOCKET_OPTIONS = [
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * _BLOCK_BYTES),
]


def patient_adapter(kind: type[Any]) -> Any:
    """An adapter of requests whose connections send in blocks, and read their answers as
    `PatientResponse`.
    """

    def with_patience(manager: Any) -> Any:
        pools = manager.pool_classes_by_scheme
        manager.pool_classes_by_scheme = {scheme: _patient(pools[scheme]) for scheme in pools}
        return manager

    class Adapter(kind):  # type: ignore[misc]
        def init_poolmanager(self, *args: Any, **options: Any) -> None:
            super().init_poolmanager(*args, socket_options=_SOCKET_OPTIONS, **options)
            with_patience(self.poolmanager)

        def proxy_manager_for(self, *args: Any, **options: Any) -> Any:
            options["socket_options"] = _SOCKET_OPTIONS
            return with_patience(super().proxy_manager_for(*args, **options))

    return Adapter()


def _patient(pool: Any) -> Any:
    if pool.ConnectionCls.response_class is PatientResponse:
        return pool
    send = pool.ConnectionCls.send

    def send_in_blocks(self: Any, data: Any) -> None:
        """Each within the timeout, which would else be that of a whole upload."""
        blocks = range(0, len(data), _BLOCK_BYTES) if isinstance(data, bytes) else ()
        for begin in blocks:
            send(self, data[begin : begin + _BLOCK_BYTES])
        if not blocks:
            send(self, data)

    own = {"response_class": PatientResponse, "send": send_in_blocks}
    connection = type("Connection", (pool.ConnectionCls,), own)
    return type("Pool", (pool,), {"ConnectionCls": connection})


class _Patience(io.RawIOBase):
    """What a server sends, for whose bytes is waited as long as the socket's timeout. Each wait
    takes of that, and what comes gives a second back for each `_SLOWEST_BYTES`, but nothing within
    an answer's head: else a server could hold its caller with a byte within each timeout.
    """

    def __init__(self, connection: socket.socket, raw: io.RawIOBase):
        self._socket, self._raw = connection, raw
        self._most_s = self._left_s = connection.gettimeout() or 0.0
        self.is_head = True

    def readable(self) -> bool:
        return True

    def readinto(self, into: Any) -> int | None:
        if self._left_s <= 0:
            raise TimeoutError
        begun = time.monotonic()
        self._socket.settimeout(self._left_s)
        try:
            count: int | None = self._raw.readinto(into)
        finally:
            self._socket.settimeout(self._most_s)
        back_s = 0.0 if self.is_head else (count or 0) / _SLOWEST_BYTES
        self._left_s = min(self._left_s - (time.monotonic() - begun) + back_s, self._most_s)
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class PatientResponse(http.client.HTTPResponse):
    """In place of urllib3's own: reads with `_Patience`."""

    def __init__(self, sock: socket.socket, *args: Any, **options: Any):
        super().__init__(sock, *args, **options)
        self._patience = _Patience(sock, self.fp.detach())
        self.fp = io.BufferedReader(self._patience)

    def begin(self) -> None:
        super().begin()
        self._patience.is_head = False
