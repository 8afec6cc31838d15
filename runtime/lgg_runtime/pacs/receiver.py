"""The storage SCP: who may send, what is taken, and what a peer is told."""

from __future__ import annotations

import functools
import logging
import sys
import threading
import time
from typing import Any

from pynetdicom import AE, evt
from pynetdicom.pdu_primitives import A_RELEASE

from lgg_runtime.errors import ResourceError, printable
from lgg_runtime.pacs.admission import TOO_MANY, Rejection, judge, reject
from lgg_runtime.pacs.arrival import (
    DUPLICATE_INSTANCE,
    MISMATCH,
    OUT_OF_RESOURCES,
    SUCCESS,
    TRANSFER_SYNTAXES,
    Refusal,
    begun_object,
    body_of,
    check_arrival,
    status_of,
    study_of,
)
from lgg_runtime.pacs.bounds import (
    BoundedServer,
    ObjectMeter,
    PduReader,
    address_of,
    close_for_good,
    is_midway,
)
from lgg_runtime.pacs.config import MIB, NodeConfig
from lgg_runtime.pacs.cut_off import abort_at_unreadable, hear_before_silence, why_cut_off
from lgg_runtime.pacs.intake import CONFLICT, ELSEWHERE, Intake
from lgg_runtime.pacs.log import LOG
from lgg_runtime.pacs.ports import unusable
from lgg_runtime.pacs.pynetdicom_setup import set_up_pynetdicom
from lgg_runtime.pacs.session import Session
from lgg_runtime.pacs.spool import Spool
from lgg_runtime.pacs.tally import Tally
from lgg_runtime.pacs.tls import make_server_tls
from lgg_runtime.readers.dicom_frames import SOP_CLASSES

VERIFICATION = "1.2.840.10008.1.1"
_OUTCOMES = {SUCCESS: "stored", DUPLICATE_INSTANCE: "conflict"}
# So much later does pynetdicom's wait for a request end by itself: it would stop that timer, and
# the transition that is logged here would not come.
_LATER_SECONDS = 1.0


class Receiver:
    """Listens from `start` to `stop`; each association runs in threads of its own."""

    def __init__(self, config: NodeConfig, intake: Intake, spool: Spool, tally: Tally):
        self._config, self._intake, self._spool, self._tally = config, intake, spool, tally
        self._peers: dict[Any, tuple[Session, ObjectMeter]] = {}
        self._admitting = threading.Lock()
        self._server: BoundedServer | None = None

    @property
    def port(self) -> int:
        """The port in use; it differs from the setting where that is 0."""
        assert self._server is not None
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Listen in a thread. Raises UsageError for a certificate of no use, and as `unusable` does
        for an address.
        """
        set_up_pynetdicom()
        listen, limits = self._config.listen, self._config.limits
        entity = AE(self._config.node.ae_title)
        # Not pynetdicom's own limit: it counts every connection, also one that asks for nothing.
        entity.maximum_associations = sys.maxsize
        entity.maximum_pdu_size = limits.pdu_bytes
        entity.dimse_timeout = entity.network_timeout = limits.network_seconds
        entity.acse_timeout = limits.network_seconds + _LATER_SECONDS
        for uid in (VERIFICATION, *sorted(SOP_CLASSES)):
            entity.add_supported_context(uid, list(TRANSFER_SYNTAXES))
        try:
            server: Any = entity.make_server(
                (listen.address, listen.port),
                evt_handlers=self._handlers(),
                ssl_context=make_server_tls(listen),
                server_class=BoundedServer,
            )
        except (OSError, UnicodeError) as error:
            where = f"listen: {listen.address}:{listen.port}"
            raise unusable(where, listen.address, error) from error
        server.most_connections = 2 * limits.associations + 8
        server.tally = self._tally
        entity._servers.append(server)
        self._server = server
        threading.Thread(target=server.serve_forever, name="receiver", daemon=True).start()

    def stop(self, grace_seconds: float) -> None:
        """Take no more connections, let the open associations end, then abort them."""
        if self._server is None:
            return
        server, self._server = self._server, None
        running = server.active_associations
        server.shutdown()
        until = time.monotonic() + grace_seconds
        for association in running:
            if association.requestor.primitive is None:
                close_for_good(association.dul.socket)  # no association yet, so none to abort
                continue
            left = max(until - time.monotonic(), 0.0)
            association.join(left if association.is_established else 0.0)
            if association.is_alive():
                association.abort()

    def _handlers(self) -> list[Any]:
        return [
            (evt.EVT_CONN_OPEN, self._on_connection),
            (evt.EVT_REQUESTED, self._on_request),
            (evt.EVT_PDU_RECV, self._on_pdu),
            (evt.EVT_C_ECHO, lambda event: SUCCESS),
            (evt.EVT_C_STORE, self._on_store),
            (evt.EVT_ACSE_RECV, self._on_release),
            (evt.EVT_FSM_TRANSITION, self._on_transition),
            (evt.EVT_ABORTED, self._on_end),
            (evt.EVT_CONN_CLOSE, self._on_end),
        ]

    def _on_connection(self, event: Any) -> None:
        limits, connection = self._config.limits, event.assoc.dul.socket
        event.assoc.dul.artim_timer.timeout = limits.network_seconds
        abort_at_unreadable(event.assoc)
        hear_before_silence(event.assoc)
        reader = PduReader(connection, limits.pdu_bytes, limits.network_seconds, self._tally)
        connection.reader, connection.recv = reader, reader.read
        connection._shutdown_socket = functools.partial(close_for_good, connection)

    def _on_request(self, event: Any) -> None:
        if rejection := judge(event.assoc, self._config) or self._admit(event.assoc):
            reject(event.assoc, rejection, self._tally)

    def _admit(self, association: Any) -> Rejection | None:
        """Count an association as one of the peers, unless there is no room for it."""
        with self._admitting:
            for ended in [peer for peer in list(self._peers) if not peer.is_alive()]:
                self._peers.pop(ended, None)  # of a thread that died without an event
            if len(self._peers) >= self._config.limits.associations:
                return TOO_MANY
            meter = ObjectMeter(self._config.limits.object_mib * MIB)
            self._peers[association] = (self._intake.open_session(association.is_alive), meter)
        return None

    def _on_pdu(self, event: Any) -> None:
        if event.assoc in self._peers:
            self._peers[event.assoc][1].take(event.pdu)

    def _on_store(self, event: Any) -> int:
        session, meter = self._peers[event.assoc]
        try:
            status = self._store(event, session, meter)
        except Exception as error:  # noqa: BLE001  whatever it is, the peer has to hear a status
            status, why = status_of(error)
            session.has_refusals = True
            study_uid = study_of(body_of(event.request), str(event.context.transfer_syntax))
            it = self._miss(event.assoc, study_uid, str(event.request.AffectedSOPInstanceUID))
            level = logging.WARNING if isinstance(error, Refusal) else logging.ERROR
            LOG.log(level, "%s was refused with 0x%04X: %s", it, status, why)
        self._tally.add("objects", _OUTCOMES.get(status, f"0x{status:04X}"))
        # What the node itself took is no silence of the peer, which has been waiting for this.
        event.assoc.dul._idle_timer.restart()
        return status

    def _store(self, event: Any, session: Session, meter: ObjectMeter) -> int:
        request, limits = event.request, self._config.limits
        if meter.end_object():
            raise Refusal(OUT_OF_RESOURCES, f"it is larger than {limits.object_mib} MiB")
        body = body_of(request)
        if self._spool.free_bytes() - len(body) < limits.free_disk_mib * MIB:
            raise Refusal(OUT_OF_RESOURCES, f"less than {limits.free_disk_mib} MiB of disk is free")
        if request.AffectedSOPClassUID != event.context.abstract_syntax:
            raise Refusal(MISMATCH, "its SOP Class UID is not that of its presentation context")
        arrival = check_arrival(
            str(request.AffectedSOPInstanceUID),
            str(request.AffectedSOPClassUID),
            str(event.context.transfer_syntax),
            event.encoded_dataset(),
            body,
        )
        outcome = self._intake.keep(session, arrival)
        if outcome == CONFLICT:
            LOG.warning("an object came again with other content; the first is kept")
            return DUPLICATE_INSTANCE
        if outcome == ELSEWHERE:
            LOG.warning("an object is known in another study; it is kept there alone")
            return DUPLICATE_INSTANCE
        return SUCCESS

    def _on_release(self, event: Any) -> None:
        """Runs before the release is answered: what a peer has been told is in the database."""
        is_request = isinstance(event.primitive, A_RELEASE) and event.primitive.result is None
        if not is_request or event.assoc not in self._peers:
            return
        session, _ = self._peers.pop(event.assoc)
        if is_midway(event.assoc):
            session.has_refusals = True
            told = "%s released before all that it sent was whole and answered"
            LOG.warning(told, address_of(event.assoc))
            self._miss_begun(event.assoc)
        session.has_refusals |= session.ends_in_conflict
        if session.has_refusals and session.instances:
            count = len(session.instances)
            LOG.warning("of %d images that came with a refused object, none is confirmed", count)
        try:
            self._intake.release(session)
        except ResourceError as error:
            LOG.error("a release could not be recorded, so the association is aborted: %s", error)
            self._intake.close_session(session)
            event.assoc.abort(block=True)  # to its end: else pynetdicom answers the release as well

    def _miss(self, association: Any, study_uid: str | None, instance_uid: str) -> str:
        """Hold the study of an object that was not kept; returns which object, for the log."""
        of = self._intake.refuse(study_uid, instance_uid)
        title = printable(association.requestor.primitive.calling_ae_title)
        return f"an object {of}from {title} at {address_of(association)}"

    def _miss_begun(self, association: Any) -> None:
        if begun := begun_object(association):
            it = self._miss(association, begun.study_uid, begun.instance_uid)
            LOG.warning("%s %s", it, begun.end)

    def _on_transition(self, event: Any) -> None:
        if why := why_cut_off(event):
            self._tally.add("cut_off", why[0])
            LOG.warning("%s %s; cut off", address_of(event.assoc), why[1])

    def _on_end(self, event: Any) -> None:
        """An association was aborted or closed; a released one is no longer among the peers."""
        if event.assoc.requestor.primitive is None:
            # Its thread would go on waiting for a request from a peer that has gone.
            event.assoc.dul.to_user_queue.put(None)
        session, _ = self._peers.pop(event.assoc, (None, None))
        if session is not None:
            told = "an association from %s that brought %d images ended without a release"
            LOG.warning(told, address_of(event.assoc), len(session.instances))
            self._intake.close_session(session)
            self._miss_begun(event.assoc)
