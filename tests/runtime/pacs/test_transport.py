"""Bringing a result to a destination by C-STORE: what is proposed, what counts as stored, and why
a destination did not take it.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pynetdicom")

from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, evt

from lgg_runtime.errors import StoreError
from lgg_runtime.pacs import transport
from lgg_runtime.pacs.config import Destination, Listen
from lgg_runtime.pacs.tls import make_server_tls
from lgg_runtime.pacs.transport import SEGMENTATION, STUDY_ROOT_FIND, DeliveryError, make_transport
from lgg_runtime.pacs.web_client import WebServer
from stand_ins.orthanc import Orthanc, why_missing
from stand_ins.pacs import MR_IMAGE, await_associations

EXPLICIT, IMPLICIT = [ExplicitVRLittleEndian], [ImplicitVRLittleEndian]


@pytest.fixture
def result(tmp_path: Path) -> Path:
    data = Dataset()
    data.SOPClassUID, data.SOPInstanceUID = SEGMENTATION, "1.2.3.3"
    data.StudyInstanceUID, data.SeriesInstanceUID = "1.2.3.1", "1.2.3.2"
    data.SegmentSequence = [Dataset()]
    data.SegmentSequence[0].SegmentLabel = "FLAIR abnormality"
    data.PixelData = b"\x01\x02"
    data["PixelData"].VR = "OB"
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.save_as(tmp_path / "seg.dcm", enforce_file_format=True)
    return tmp_path / "seg.dcm"


class Peer:
    """A destination that takes the classes of `contexts`, and answers objects with `status`."""

    def __init__(
        self,
        contexts: dict[str, Sequence[str]],
        status: int = 0,
        holds: str = "",
        end: Callable[[Any], None] | None = None,
        tls: ssl.SSLContext | None = None,
        **settings: Any,
    ):
        """holds: the UID of the object that it lists, whatever it is asked for; end: what becomes
        of an association that is not for storage, where it is requested; settings: pynetdicom's.
        """
        self._status, self._holds, self._end = status, holds, end
        self.proposed: list[tuple[str, list[str]]] = []
        self.stored: list[tuple[str, Any]] = []  # syntax and data set
        entity = AE("PEER")
        for name, value in settings.items():
            setattr(entity, name, value)
        for uid, syntaxes in contexts.items():
            entity.add_supported_context(uid, list(syntaxes))
        handlers = [
            (evt.EVT_REQUESTED, self._look),
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_C_FIND, self._find),
        ]
        self._server: Any = entity.start_server(
            ("127.0.0.1", 0), block=False, evt_handlers=handlers, ssl_context=tls
        )

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def send(self, path: Path, ask_first: bool = False, **more: Any) -> None:
        where = {"address": "127.0.0.1", "port": self.port, "ae_title": "PEER"}
        to = Destination(name="peer", kind="c-store", **where, **more)
        make_transport(to, "LGG-NODE")(path, ask_first)

    def stop(self) -> None:
        self._server.shutdown()

    def _look(self, event: Any) -> None:
        for context in event.assoc.requestor.primitive.presentation_context_definition_list:
            self.proposed.append((context.abstract_syntax, context.transfer_syntax))
        if self._end and self.proposed[-1][0] != SEGMENTATION:
            self._end(event.assoc)

    def _store(self, event: Any) -> int:
        self.stored.append((event.context.transfer_syntax, event.dataset))
        return self._status

    def _find(self, event: Any) -> Iterator[tuple[int, Any]]:
        if self._holds:
            event.identifier.SOPInstanceUID = self._holds
            yield 0xFF00, event.identifier


@pytest.fixture
def start() -> Iterator[Callable[..., Peer]]:
    made: list[Peer] = []

    def make(*given: Any, **more: Any) -> Peer:
        made.append(Peer(*given, **more))
        return made[-1]

    yield make
    for one in made:
        one.stop()


Start = Callable[..., Peer]


def values_of(data: Any) -> dict[Any, Any]:
    """Without value representations: implicit VR has OW for all pixels (PS3.5, A.1)."""
    return {element.tag: element.value for element in data}


@pytest.mark.parametrize(
    ("taken", "used"),
    [(EXPLICIT, EXPLICIT), (IMPLICIT, IMPLICIT), (IMPLICIT + EXPLICIT, EXPLICIT)],
)
def test_a_result_goes_in_explicit_vr_where_it_is_taken_else_in_implicit(
    start: Start, result: Path, taken: list[str], used: list[str]
) -> None:
    peer = start({SEGMENTATION: taken})
    peer.send(result)
    ((syntax, got),) = peer.stored
    assert [syntax] == used
    assert values_of(got) == values_of(dcmread(result))
    assert peer.proposed == [(SEGMENTATION, EXPLICIT), (SEGMENTATION, IMPLICIT)]
    await_associations()  # it was released


@pytest.mark.parametrize("holds", ["1.2.3.3", "1.2.3.4", ""])
def test_a_peer_of_implicit_vr_alone_is_asked_what_it_holds(
    start: Start, result: Path, holds: str
) -> None:
    peer = start({SEGMENTATION: IMPLICIT, STUDY_ROOT_FIND: IMPLICIT}, holds=holds)
    peer.send(result, ask_first=True)
    assert peer.proposed[:2] == [(STUDY_ROOT_FIND, EXPLICIT), (STUDY_ROOT_FIND, IMPLICIT)]
    assert len(peer.stored) == (0 if holds == dcmread(result).SOPInstanceUID else 1)


def reject(association: Any) -> None:
    association.acse.send_reject(1, 1, 1)
    association.kill()


def abort(association: Any) -> None:
    association.abort()
    association.kill()


@pytest.mark.parametrize("end", [reject, abort])
def test_a_peer_that_takes_no_association_for_a_question_gets_the_object(
    start: Start, result: Path, end: Callable[[Any], None]
) -> None:
    peer = start({SEGMENTATION: EXPLICIT}, end=end)
    peer.send(result, ask_first=True)
    assert peer.proposed[0][0] == STUDY_ROOT_FIND
    assert len(peer.stored) == 1


@pytest.mark.parametrize(("is_passing", "count"), [(False, 1), (True, 0)])
def test_a_server_that_cannot_be_asked_gets_the_object_unless_it_may_be_asked_later(
    result: Path, monkeypatch: pytest.MonkeyPatch, is_passing: bool, count: int
) -> None:
    stored: list[Path] = []

    def refuse(server: WebServer, path: Path) -> bool:
        raise StoreError("host: answers with HTTP status", is_passing)

    monkeypatch.setattr(transport, "holds_result", refuse)

    def store(server: WebServer, path: Path, may_be_there: bool) -> None:
        assert may_be_there
        stored.append(path)

    monkeypatch.setattr(transport, "store_result", store)
    send = make_transport(Destination(name="web", kind="stow", url="http://host/web"), "LGG-NODE")
    with contextlib.suppress(DeliveryError):
        send(result, True)
    assert len(stored) == count


def test_a_server_whose_answer_is_not_understood_is_asked_before_the_next_attempt(
    result: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(server: WebServer, path: Path, may_be_there: bool) -> None:
        assert not may_be_there
        raise StoreError("host: its answer is no DICOMweb")

    monkeypatch.setattr(transport, "store_result", refuse)
    send = make_transport(Destination(name="web", kind="stow", url="http://host/web"), "LGG-NODE")
    with pytest.raises(DeliveryError, match="no DICOMweb") as error:
        send(result, False)
    assert error.value.is_unsure
    assert not error.value.is_passing


def test_a_peer_without_segmentation_is_told_as_such(start: Start, result: Path) -> None:
    peer = start({MR_IMAGE: EXPLICIT})
    with pytest.raises(DeliveryError, match="takes no Segmentation in explicit or impl") as error:
        peer.send(result)
    assert not error.value.is_passing
    assert not error.value.is_unsure


@pytest.mark.parametrize("status", [0x0000, 0x0001, 0x0107, 0x0116, 0xB000, 0xB007])
def test_a_warning_is_stored(start: Start, result: Path, status: int) -> None:
    peer = start({SEGMENTATION: EXPLICIT}, status=status)
    peer.send(result)
    assert len(peer.stored) == 1


@pytest.mark.parametrize("status", [0x0110, 0x0111, 0x0124, 0xA700, 0xA900, 0xC000, 0xFF00])
def test_a_failure_is_told_with_its_status(start: Start, result: Path, status: int) -> None:
    peer = start({SEGMENTATION: EXPLICIT}, status=status)
    with pytest.raises(DeliveryError, match=f"refuses the object with 0x{status:04X}") as error:
        peer.send(result)
    # An archive without room takes no other result either; one that knows the UID may hold it.
    told = (error.value.is_passing, error.value.is_unsure)
    assert told == (status == 0xA700, status == 0x0111)


def test_a_peer_that_breaks_off_after_the_object_may_have_taken_it(
    start: Start, result: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Peer, "_store", lambda _self, event: event.assoc.abort())
    peer = start({SEGMENTATION: EXPLICIT})
    with pytest.raises(DeliveryError, match="no answer to the object") as error:
        peer.send(result)
    assert (error.value.is_passing, error.value.is_unsure) == (True, True)


def test_a_duplicate_is_stored_where_an_earlier_attempt_may_have_arrived(
    start: Start, result: Path
) -> None:
    peer = start({SEGMENTATION: EXPLICIT}, status=0x0111)
    peer.send(result, ask_first=True)
    assert len(peer.stored) == 1


def test_a_host_whose_name_is_not_known_cannot_be_reached(
    result: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    to = Destination(name="x", kind="c-store", address="nosuch.host", port=104, ae_title="X")
    with pytest.raises(DeliveryError, match=r"cannot be reached \(Name or service not") as error:
        make_transport(to, "LGG-NODE")(result, False)
    assert error.value.is_passing
    assert not error.value.is_unsure


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"require_calling_aet": ["OTHER"]}, "it does not know the calling title LGG-NODE"),
        ({"require_called_aet": True, "ae_title": "OTHER"}, "it is not called PEER"),
        ({"maximum_associations": 1}, "source 3, reason 2"),
    ],
)
def test_a_destination_that_rejects_an_association_is_told_with_its_reason(
    start: Start, result: Path, settings: dict[str, Any], why: str
) -> None:
    peer = start({SEGMENTATION: EXPLICIT}, **settings)
    other = AE()
    other.add_requested_context(SEGMENTATION)
    other.associate("127.0.0.1", peer.port)
    with pytest.raises(DeliveryError, match=f"^rejects the association: {why}$"):
        peer.send(result)
    other.shutdown()


def test_every_wait_for_a_destination_is_bounded_by_its_setting(
    start: Start, result: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    associate, seen = AE.associate, []

    def look(self: AE, *given: Any, **more: Any) -> Any:
        seen.append((self.acse_timeout, self.network_timeout, self.connection_timeout))
        seen.append(self.dimse_timeout)
        return associate(self, *given, **more)

    monkeypatch.setattr(AE, "associate", look)
    peer = start({SEGMENTATION: EXPLICIT, STUDY_ROOT_FIND: EXPLICIT})
    peer.send(result, ask_first=True, timeout_seconds=21.0)
    assert seen == [(21, 21, 21), 10, (21, 21, 21), 21], "less for a question"


def test_a_destination_that_breaks_off_within_its_answer_is_not_waited_for(result: Path) -> None:
    told: list[DeliveryError] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        to = Destination(
            name="p", kind="c-store", address="127.0.0.1", port=server.getsockname()[1],
            ae_title="P", timeout_seconds=1.0,
        )  # fmt: skip

        def send() -> None:
            try:
                make_transport(to, "LGG-NODE")(result, False)
            except DeliveryError as error:
                told.append(error)

        sender = threading.Thread(target=send, daemon=True)
        sender.start()
        peer, _ = server.accept()
        with peer:
            peer.recv(65536)
            peer.sendall(b"\x02\x00\x00")  # the start of an answer
            sender.join(60)
            assert not sender.is_alive()
    assert told and told[0].is_passing
    assert str(told[0]) == "is reached, and answers no association"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_a_destination_whose_certificate_is_not_trusted_is_told_with_what_to_see_to(
    start: Start, result: Path, tmp_path: Path
) -> None:
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    for name, address in {"own": "127.0.0.1", "other": "127.0.0.1", "host": "127.0.0.2"}.items():
        files = ["-keyout", f"{tmp_path}/{name}.key", "-out", f"{tmp_path}/{name}.pem"]
        subject = ["-subj", "/CN=localhost", "-addext", f"subjectAltName=IP:{address}"]
        subprocess.run([*words, *files, *subject], check=True, capture_output=True)
    own, key = tmp_path / "own.pem", tmp_path / "own.key"
    context = make_server_tls(Listen(certificate=own, key=key, client_ca=own))
    assert context is not None
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    peer = start({SEGMENTATION: EXPLICIT}, tls=context)
    peer.send(result, ca=own, certificate=own, key=key)  # it wants to know who sends
    assert len(peer.stored) == 1
    why = r"^TLS fails: its certificate is not trusted \(self-signed certificate\); client_ca, of"
    with pytest.raises(DeliveryError, match=why):
        peer.send(result, ca=tmp_path / "other.pem", certificate=own, key=key)
    assert len(peer.stored) == 1
    of_host = Listen(certificate=tmp_path / "host.pem", key=tmp_path / "host.key")
    peer = start({SEGMENTATION: EXPLICIT}, tls=make_server_tls(of_host))
    with pytest.raises(DeliveryError, match="IP address mismatch"):
        peer.send(result, ca=tmp_path / "host.pem")  # of a known authority, and of another host
    assert peer.stored == []


def test_the_user_of_a_server_is_asked_for_by_the_settings_of_the_node(
    result: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    servers: list[WebServer] = []
    monkeypatch.setattr(transport, "store_result", lambda server, *_, **__: servers.append(server))
    secret = tmp_path / "password"
    secret.write_text("a word\n")
    to = Destination(
        name="web", kind="stow", url="http://host/web", user="node", password_file=secret,
        timeout_seconds=21.0,
    )  # fmt: skip
    make_transport(to, "LGG-NODE")(result, False)
    assert (servers[0].user_settings, servers[0].timeout_s) == ("user and password_file", 21.0)
    assert (servers[0].user, servers[0].password) == ("node", "a word")


@pytest.mark.skipif(bool(why_missing()), reason=why_missing())
def test_an_orthanc_that_cannot_write_has_not_stored_the_object(
    result: Path, tmp_path: Path
) -> None:
    pytest.importorskip("dicomweb_client")
    server = Orthanc(tmp_path)
    server.start()
    folders = [tmp_path / "storage" / f"{number:02x}" for number in range(256)]
    try:
        send = make_transport(Destination(name="pacs", kind="stow", url=server.dicomweb), "NODE")
        for folder in folders:
            folder.write_bytes(b"")  # where Orthanc would make a folder
        with pytest.raises(DeliveryError, match="does not confirm the object"):
            send(result, False)
        assert server.call("/instances") == []
        for folder in folders:
            folder.unlink()
        send(result, True)
        assert len(server.call("/instances")) == 1
    finally:
        server.stop()
