"""The way of a result to a destination: C-STORE, or STOW-RS."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from lgg_runtime.errors import LggError, StoreError, UsageError
from lgg_runtime.pacs.admission import why_rejected
from lgg_runtime.pacs.arrival import DUPLICATE_INSTANCE, has_no_room
from lgg_runtime.pacs.bounds import MOST_NEGOTIATION_BYTES, PduReader, close_for_good
from lgg_runtime.pacs.config import Destination
from lgg_runtime.pacs.dicomweb import holds_result, store_result
from lgg_runtime.pacs.log import LOG
from lgg_runtime.pacs.pynetdicom_setup import set_up_pynetdicom
from lgg_runtime.pacs.tally import Tally
from lgg_runtime.pacs.tls import make_client_tls, telling, why_peer_fails
from lgg_runtime.pacs.web_client import WebServer
from lgg_runtime.readers.dicom_encoding import IMPLICIT
from lgg_runtime.readers.dicom_files import DAMAGE, load_pydicom

SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
_PENDING = (0xFF00, 0xFF01)
_ANSWER = (0x8001, 1)  # C-STORE-RSP (PS3.7, E.1) to the number that pynetdicom gives a message
_LONGEST_QUESTION_SECONDS = 10.0
# Of all that a destination says over one association: some list a whole series when asked.
_MOST_ANSWERED_BYTES = 16 << 20
_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")


class DeliveryError(LggError):
    """A destination did not take a result; the message says why, without patient data.

    is_passing: the destination is in a state that may pass, and would not take another result
    now either. is_unsure: it may have taken this one, although no answer said so.
    """

    def __init__(self, message: str, is_passing: bool = False, is_unsure: bool = False):
        super().__init__(message)
        self.is_passing, self.is_unsure = is_passing, is_unsure


# Sends the file at a path; with True, only if the destination does not hold it yet.
Transport = Callable[[Path, bool], None]


def make_transport(destination: Destination, calling_ae_title: str) -> Transport:
    """A function that brings files to a destination, or raises DeliveryError.

    Raises UsageError for TLS files or a password file of no use.
    """
    if destination.kind == "stow":
        return _make_stow(destination)
    return partial(_send_c_store, destination, calling_ae_title, make_client_tls(destination))


def _make_stow(destination: Destination) -> Transport:
    password = ""
    if destination.password_file:
        try:
            password = destination.password_file.read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as error:
            raise UsageError(f"destination {destination.name}: password_file: {error}") from error
    try:
        server = WebServer(
            destination.url,
            destination.user,
            password,
            timeout_s=destination.timeout_seconds,
            user_settings="user and password_file",
        )
    except UsageError as error:
        raise UsageError(f"destination {destination.name}: {error}") from error

    def send(path: Path, ask_first: bool) -> None:
        try:
            if not (ask_first and _web_holds(server, path)):
                store_result(server, path, may_be_there=ask_first)
        except StoreError as error:
            # Also after an answer that is not understood: the next attempt asks.
            raise DeliveryError(str(error), error.is_passing, is_unsure=True) from None

    return send


def _web_holds(server: WebServer, path: Path) -> bool:
    """Whether the server lists the object; False where it cannot be asked, so that it is stored."""
    try:
        return holds_result(server, path)
    except StoreError as error:
        if error.is_passing:
            raise
        return False


def _send_c_store(
    to: Destination, calling: str, tls: ssl.SSLContext | None, path: Path, ask_first: bool
) -> None:
    set_up_pynetdicom()
    if ask_first:
        # Over an association of its own, because some peers leave a query without an answer, and
        # some reject or abort an association that is not for storage.
        try:
            with _associate(to, calling, tls, STUDY_ROOT_FIND) as association:
                if _holds(association, path):
                    return
        except (DeliveryError, RuntimeError) as error:  # the latter of one that ended since
            LOG.debug("%s cannot be asked what it holds: %s", to.name, error)
    with _associate(to, calling, tls, SEGMENTATION) as association:
        _store(association, path, may_be_there=ask_first)


class _AnswerReader(PduReader):
    """Bounds what comes over an association as a whole, and keeps why its TLS failed."""

    def __init__(self, connection: Any, most_seconds: float, failures: list[str]):
        super().__init__(connection, MOST_NEGOTIATION_BYTES, most_seconds, Tally())
        self._failures, self._bytes = failures, 0

    def read(self, count: int) -> bytearray:
        try:
            return super().read(count)
        except ssl.SSLError as error:
            self._failures.append(f"TLS fails: {why_peer_fails(error)}")
            raise

    def _judge(self, kind: int, length: int) -> tuple[str, str] | None:
        self._bytes += length
        if self._bytes > _MOST_ANSWERED_BYTES:
            return "answer length", f"answered with more than {_MOST_ANSWERED_BYTES} bytes"
        return super()._judge(kind, length)


@contextmanager
def _associate(
    to: Destination, calling: str, tls: ssl.SSLContext | None, what: str
) -> Iterator[Any]:
    """An association for one SOP class. Its accepted contexts are none where the peer does not
    take the class: pynetdicom has aborted it then.
    """
    from pynetdicom import AE, evt

    reached: list[Any] = []
    failures: list[str] = []

    def bound(event: Any) -> None:
        reached.append(event.address)
        # pynetdicom lets a connection wait for ever for a peer that stops reading, or that breaks
        # off within a PDU, and an abort waits with it; and it holds whatever a peer sends.
        connection = event.assoc.dul.socket
        connection.socket.settimeout(to.timeout_seconds)
        connection.reader = _AnswerReader(connection, to.timeout_seconds, failures)
        connection.recv = connection.reader.read

    entity = AE(calling)
    # Implicit has to be offered (PS3.5, 10.1); contexts of their own let a peer accept both.
    for syntax in (EXPLICIT_LITTLE_ENDIAN, IMPLICIT):
        entity.add_requested_context(what, syntax)
    entity.acse_timeout = entity.network_timeout = entity.connection_timeout = to.timeout_seconds
    entity.dimse_timeout = to.timeout_seconds
    if what == STUDY_ROOT_FIND:
        entity.dimse_timeout = min(to.timeout_seconds, _LONGEST_QUESTION_SECONDS)
    try:
        association = entity.associate(
            to.address,
            to.port,
            ae_title=to.ae_title,
            tls_args=(telling(tls, failures), to.address) if tls else None,
            evt_handlers=[(evt.EVT_CONN_OPEN, bound)],
        )
    except OSError as error:  # a name that is not known
        raise DeliveryError(f"cannot be reached ({error.strerror})", is_passing=True) from error
    try:
        is_declined = association.rejected_contexts and not association.accepted_contexts
        if association.is_established or is_declined:
            yield association
        elif association.is_rejected:
            raise DeliveryError(why_rejected(association), is_passing=True)
        else:
            failures.append(
                "is reached, and answers no association" if reached else "cannot be reached"
            )
            raise DeliveryError(failures[0], is_passing=True)
    finally:
        association.release()
        if association.dul.is_alive():
            association.dul.join(to.timeout_seconds)
        close_for_good(association.dul.socket)  # which pynetdicom leaves open after an error


def _store(association: Any, path: Path, may_be_there: bool) -> None:
    from pynetdicom import evt
    from pynetdicom.status import STATUS_SUCCESS, STATUS_WARNING, code_to_category

    syntaxes = {context.transfer_syntax[0] for context in association.accepted_contexts}
    if not syntaxes:
        raise DeliveryError("takes no Segmentation in explicit or implicit VR little endian")
    is_fit = EXPLICIT_LITTLE_ENDIAN in syntaxes  # the file as it is; else it is encoded anew
    heard: list[Any] = []
    association.bind(evt.EVT_DIMSE_RECV, lambda event: heard.append(event.message.command_set))
    try:
        answer = association.send_c_store(path if is_fit else load_pydicom().dcmread(path))
    except (RuntimeError, *DAMAGE) as error:
        raise DeliveryError(type(error).__name__, is_unsure=True) from error
    if "Status" not in answer:
        raise DeliveryError("no answer to the object", is_passing=True, is_unsure=True)
    # pynetdicom takes whatever comes first for the answer.
    if tuple(map(heard[0].get, ("CommandField", "MessageIDBeingRespondedTo"))) != _ANSWER:
        raise DeliveryError("answers another message", is_passing=True, is_unsure=True)
    # A UID stands for one content here, so a duplicate is the object of an earlier attempt, or of a
    # record that was forgotten or is lost: the next attempt asks for it.
    is_known = answer.Status == DUPLICATE_INSTANCE
    if may_be_there and is_known:
        return
    if code_to_category(answer.Status) not in (STATUS_SUCCESS, STATUS_WARNING):
        why = f"refuses the object with 0x{answer.Status:04X}"
        raise DeliveryError(why, is_passing=has_no_room(answer.Status), is_unsure=is_known)


def _holds(association: Any, path: Path) -> bool:
    """Whether the peer lists the object; False where it cannot be asked, so that it is sent."""
    if not association.accepted_contexts:
        return False
    from pydicom import Dataset

    header = load_pydicom().dcmread(path, specific_tags=list(_UIDS))
    query = Dataset()
    query.QueryRetrieveLevel = "IMAGE"
    for keyword in _UIDS:
        setattr(query, keyword, header[keyword].value)
    found, until = False, time.monotonic() + _LONGEST_QUESTION_SECONDS
    for status, item in association.send_c_find(query, STUDY_ROOT_FIND):
        if status.get("Status") in _PENDING and item is not None:
            found = found or item.get("SOPInstanceUID") == header.SOPInstanceUID
        if time.monotonic() > until:  # one that lists without end
            association.abort()
            break
    return found
