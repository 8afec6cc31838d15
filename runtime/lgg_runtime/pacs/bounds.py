"""Limits that pynetdicom does not set by itself: of a PDU, of a peer's time, of an object."""

from __future__ import annotations

import socket
import time
from typing import Any

from pynetdicom.transport import ThreadedAssociationServer

from lgg_runtime.pacs.log import LOG
from lgg_runtime.pacs.tally import Tally

_HEADER_BYTES = 6
_P_DATA, _KNOWN_TYPES = 0x04, range(0x01, 0x08)
# Of a PDU without data. A request with 128 contexts of every syntax stays below it.
MOST_NEGOTIATION_BYTES = 1 << 20
_UNKNOWN_PDU = bytearray(b"\xff\x00\x00\x00\x00\x00")
_BLOCK_BYTES = 65536


class PduReader:
    """Reads from a connection in place of pynetdicom's own function, PDU by PDU.

    A PDU has to come whole within `most_seconds`, however slowly its bytes drip. One that
    announces too many bytes is handed on as of an unknown type, before any of them is read:
    pynetdicom answers that with an A-ABORT.
    """

    def __init__(self, connection: Any, pdu_bytes: int, most_seconds: float, tally: Tally):
        self._connection = connection  # pynetdicom's AssociationSocket
        self._pdu_bytes, self._seconds, self._tally = pdu_bytes, most_seconds, tally
        self._body_bytes: int | None = None

    def read(self, count: int) -> bytearray:
        """What DULServiceProvider asks for: first the header of a PDU, then its body."""
        if self._body_bytes == count:
            self._body_bytes = None
            return self._read(count)
        header = self._read(_HEADER_BYTES)
        if len(header) < _HEADER_BYTES or header[0] not in _KNOWN_TYPES:
            return header
        length = int.from_bytes(header[2:], "big")
        most = self._pdu_bytes if header[0] == _P_DATA else MOST_NEGOTIATION_BYTES
        if length > most:
            self._tally.add("cut_off", "pdu length")
            LOG.warning("a peer announced a PDU of %d bytes, above %d; cut off", length, most)
            return bytearray(_UNKNOWN_PDU)
        self._body_bytes = length
        return header

    def _read(self, count: int) -> bytearray:
        """Fewer bytes where the peer closed. Raises TimeoutError for a peer that stalls."""
        open_socket: socket.socket = self._connection.socket
        until = time.monotonic() + self._seconds
        data = bytearray()
        try:
            while len(data) < count:
                left = until - time.monotonic()
                if left <= 0:
                    raise TimeoutError
                open_socket.settimeout(left)
                block = open_socket.recv(min(_BLOCK_BYTES, count - len(data)))
                if not block:
                    break
                data += block
        except TimeoutError:
            self._tally.add("cut_off", "stalled")
            LOG.warning("a peer stalled in the middle of a PDU; cut off")
            raise
        finally:
            open_socket.settimeout(self._seconds)
        return data


class ObjectMeter:
    """Counts the bytes of the object that an association is sending, and drops those too many.

    The peer is let finish, so that it hears a status; the memory for it stays bounded.
    """

    def __init__(self, most_bytes: int):
        self._most, self._bytes = most_bytes, 0
        self.was_exceeded = False

    def take(self, pdu: Any) -> None:
        """Look at a PDU before pynetdicom adds it to the object."""
        for item in getattr(pdu, "presentation_data_value_items", ()):
            data = item.presentation_data_value
            is_command = bool(data) and data[0] & 1
            if is_command or not data:
                continue
            self._bytes += len(data) - 1
            if self._bytes > self._most:
                self.was_exceeded = True
                item.presentation_data_value = data[:1]

    def end_object(self) -> bool:
        """Whether the object that just ended was too large; the next begins at 0."""
        exceeded, self._bytes, self.was_exceeded = self.was_exceeded, 0, False
        return exceeded


class BoundedServer(ThreadedAssociationServer):
    """Takes connections without waiting for any of them.

    most_connections: with those that have not asked for an association yet; more are closed.
    """

    most_connections = 64
    most_seconds = 30.0

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        """The TLS handshake is left to the connection's own thread: a peer may stall in it."""
        assert self.socket is not None
        client, address = self.socket.accept()
        client.settimeout(self.most_seconds)
        if self.ssl_context:
            client = self.ssl_context.wrap_socket(
                client, server_side=True, do_handshake_on_connect=False
            )
        return client, address

    def verify_request(self, request: Any, client_address: Any) -> bool:
        if len(self.active_associations) < self.most_connections:
            return True
        LOG.warning("more than %d connections; one was closed", self.most_connections)
        return False

    def handle_error(self, request: Any, client_address: Any) -> None:
        LOG.warning("a connection failed before it asked for anything")
