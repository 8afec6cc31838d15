"""Limits that pynetdicom does not set by itself: of a PDU, of a peer's time, of an object."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections import deque
from typing import Any

from pynetdicom.transport import AssociationServer

from lgg_runtime.pacs.log import LOG
from lgg_runtime.pacs.ports import take_connection
from lgg_runtime.pacs.tally import Tally
from lgg_runtime.pacs.tls import why_peer_fails

_HEADER_BYTES = 6
_P_DATA, _KNOWN_TYPES = 0x04, range(0x01, 0x08)
# Of a PDU without data. A request with 128 contexts of every syntax stays below it.
MOST_NEGOTIATION_BYTES = 1 << 20
_UNKNOWN_PDU = b"\xff\x00\x00\x00\x00\x00"
# Of a command: what it says takes some hundred.
_MOST_COMMAND_BYTES = 1 << 16
# At most one by the standard (PS3.7, D.3.3.3), where nothing else was agreed on.
_MOST_UNANSWERED = 1000
_BLOCK_BYTES = 65536
_REQUEST = 0x01
_TITLES = (slice(4, 20), slice(20, 36))  # of the request: PS3.8, 9.3.2
_COMMAND, _LAST = 0x01, 0x02  # bits of a message control header: PS3.8, annex E.2


def close_for_good(connection: Any) -> None:
    """Close an AssociationSocket's own socket. pynetdicom leaves it open where the peer has gone,
    because shutdown fails then.
    """
    open_socket: socket.socket | None = connection.socket
    if open_socket is not None:
        with contextlib.suppress(OSError):
            open_socket.shutdown(socket.SHUT_RDWR)
        open_socket.close()


def address_of(association: Any) -> str:
    """The network address of a peer, for the log."""
    peer = association.acceptor if association.is_requestor else association.requestor
    return str(peer.address_info.address)


def is_midway(association: Any) -> bool:
    """Whether a peer has begun a message that is not whole, or sent one that was not looked at."""
    dimse = association.dimse
    return dimse.message is not None or not dimse.msg_queue.empty()


class PduReader:
    """Reads from a connection in place of pynetdicom's own function, PDU by PDU.

    A PDU has to come whole within `most_seconds`, however slowly its bytes drip. One that
    announces too many bytes is handed on as of an unknown type, before any of them is read:
    pynetdicom answers that with an A-ABORT. What follows is no PDU, and is dropped.
    connection: pynetdicom's AssociationSocket.
    """

    def __init__(self, connection: Any, pdu_bytes: int, most_seconds: float, tally: Tally):
        self._connection, self._address = connection, address_of(connection.assoc)
        self._pdu_bytes, self._seconds, self._tally = pdu_bytes, most_seconds, tally
        self._body_bytes: int | None = None
        self._is_request = False
        self.is_cut_off = False

    def read(self, count: int) -> bytearray:
        """What DULServiceProvider asks for: first the header of a PDU, then its body."""
        if self.is_cut_off:
            is_more = self._connection.socket.recv(_BLOCK_BYTES)
            return bytearray(_UNKNOWN_PDU if is_more else b"")
        if self._body_bytes == count:
            self._body_bytes = None
            body = self._read(count)
            # Some pad titles with NUL. pynetdicom takes none; others end a title there.
            for title in _TITLES if self._is_request else ():
                body[title] = body[title].split(b"\0")[0].ljust(len(body[title]))
            return body
        header = self._read(_HEADER_BYTES)
        if len(header) < _HEADER_BYTES:
            return header
        length = int.from_bytes(header[2:], "big")
        if why := self._judge(header[0], length):
            self._tally.add("cut_off", why[0])
            LOG.warning("%s %s; cut off", self._address, why[1])
            self.is_cut_off = True
            return bytearray(_UNKNOWN_PDU)
        self._body_bytes, self._is_request = length, header[0] == _REQUEST
        return header

    def _judge(self, kind: int, length: int) -> tuple[str, str] | None:
        """Why a PDU is not read: for the tally, and for the log."""
        if kind not in _KNOWN_TYPES:
            return "no PDU", "sent what is no PDU"
        most = self._pdu_bytes if kind == _P_DATA else MOST_NEGOTIATION_BYTES
        if length > most:
            return "pdu length", f"announced a PDU of {length} bytes, above {most}"
        if self._connection.assoc.dimse.msg_queue.qsize() > _MOST_UNANSWERED:
            return "unanswered", f"sent more than {_MOST_UNANSWERED} messages without an answer"
        return None

    def _read(self, count: int) -> bytearray:
        """Fewer bytes where the peer closed. Raises TimeoutError for a peer that stalls, SSLError
        for one whose TLS fails: it shakes hands with its first bytes.
        """
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
            self.is_cut_off = True  # what still comes is the rest of that PDU
            self._tally.add("cut_off", "stalled")
            LOG.warning("%s stalled in the middle of a PDU; cut off", self._address)
            raise
        except ssl.SSLError as error:
            self._tally.add("cut_off", "TLS")
            why = why_peer_fails(error)
            LOG.warning("TLS with %s failed: %s; cut off", self._address, why)
            raise
        finally:
            open_socket.settimeout(self._seconds)
        return data


class ObjectMeter:
    """Counts the bytes of the objects that an association sent and that were not handled yet.

    What is too much is dropped, and the peer let finish, so that it hears a status; the memory
    stays bounded even where a peer sends on without waiting for answers. A command that is too
    long has no end: its message never comes.
    """

    def __init__(self, most_bytes: int):
        self._most, self._lock = most_bytes, threading.Lock()
        self._bytes, self._exceeded = 0, False  # of the object that is arriving
        self._command_bytes = 0  # of the command that is arriving
        self._arrived: deque[tuple[int, bool]] = deque()

    def take(self, pdu: Any) -> None:
        """Look at a PDU before pynetdicom adds it to the object."""
        with self._lock:
            for item in getattr(pdu, "presentation_data_value_items", ()):
                data = item.presentation_data_value
                if not data:
                    continue
                if data[0] & _COMMAND:
                    self._command_bytes += len(data) - 1
                    if self._command_bytes > _MOST_COMMAND_BYTES:
                        item.presentation_data_value = bytes([_COMMAND])
                    elif data[0] & _LAST:
                        self._command_bytes = 0
                    continue
                waiting = sum(size for size, _ in self._arrived)
                if self._exceeded or waiting + self._bytes + len(data) - 1 > self._most:
                    self._exceeded = True
                    item.presentation_data_value = data[:1]
                else:
                    self._bytes += len(data) - 1
                if data[0] & _LAST:
                    self._arrived.append((self._bytes, self._exceeded))
                    self._bytes, self._exceeded = 0, False

    def end_object(self) -> bool:
        """The oldest object is being handled: whether it was too large."""
        with self._lock:
            return self._arrived.popleft()[1] if self._arrived else False


class BoundedServer(AssociationServer):
    """Takes connections without waiting for any of them. The association of each has begun, in its
    own threads, before the next is looked at: those that run are all there are.

    most_connections: at a time, also those that have not asked for an association yet; any more
    are closed at once. Both are set before it serves.
    """

    most_connections: int
    tally: Tally

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        """The TLS handshake is left to the connection's own thread: a peer may stall in it."""
        assert self.socket is not None
        client, address = take_connection(self.socket)
        if self.ssl_context:
            client = self.ssl_context.wrap_socket(
                client, server_side=True, do_handshake_on_connect=False
            )
        return client, address

    def verify_request(self, request: Any, client_address: Any) -> bool:
        if len(self.active_associations) < self.most_connections:
            return True
        self.tally.add("cut_off", "too many connections")
        told = "more than %d connections; that of %s was closed"
        LOG.warning(told, self.most_connections, client_address[0])
        return False

    def handle_error(self, request: Any, client_address: Any) -> None:
        LOG.warning("the connection of %s failed before it asked for anything", client_address[0])
