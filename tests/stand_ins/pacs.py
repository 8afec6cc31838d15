"""A node's surroundings: its settings, small studies, and a modality that sends them."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.dsutils import encode

from lgg_runtime.pacs.bounds import close_for_good
from lgg_runtime.pacs.transport import SEGMENTATION, STUDY_ROOT_FIND
from lgg_train.phantom import PhantomSettings
from lgg_train.phantom_files import write_scans
from lgg_train.phantom_scan import ScanSettings
from stand_ins.ports import free_port

_PDU_BYTES = 65536
MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"
CALLED = "LGG-NODE"
# What no log may hold of a phantom.
PATIENT = ("Drawn", "By Code", "LGGPH", "ACC0000", "19010203", "20010203", "2.25.")


def await_associations() -> None:
    """Wait until every association with a node of this process has ended. Fails after a while."""
    for thread in threading.enumerate():
        if "AcceptorThread" in thread.name:
            thread.join(20)
            assert not thread.is_alive()


def write_config(folder: Path, destination: str = "", **sections: dict[str, Any]) -> Path:
    """A file of settings for tests: free ports, a short quiet time, no floor of free disk.

    destination: the lines of [[destination]]; sections: settings that replace these.
    """
    values: dict[str, dict[str, Any]] = {
        "node": {"spool": str(folder / "spool")},
        "listen": {"port": 0},
        "limits": {"free_disk_mib": 0, "network_seconds": 60.0},
        "study": {"quiet_seconds": 0.3},
        "model": {"threads": 1},
        "retention": {},
        "http": {"port": 0},
    }
    lines = []
    for name, section in values.items():
        merged = section | sections.get(name, {})
        lines += [f"[{name}]", *(f"{key} = {_toml(value)}" for key, value in merged.items())]
    nowhere = 'name = "nowhere"\nkind = "c-store"\naddress = "127.0.0.1"\nport = 1\nae_title = "NO"'
    lines += ["[[destination]]", destination or nowhere]
    path = folder / "node.toml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_toml(one) for one in value)}]"
    return f'"{value}"' if isinstance(value, (str, Path)) else str(value)


def draw_studies(root: Path, patients: int = 1, slices: int = 6, seed: int = 4) -> list[Path]:
    """Phantom studies of 64 x 64: FLAIR, T1, T1 after contrast and a localizer, a folder each."""
    phantoms = PhantomSettings(patients=patients, slices=slices, size=64, seed=seed)
    return write_scans(root, "dicom", phantoms, ScanSettings())


def associate(port: int, calling: str = "SENDER", called: str = CALLED, **more: Any) -> Any:
    """An association that was asked for; look at is_established and is_rejected."""
    entity = AE(calling)
    entity.add_requested_context(MR_IMAGE, ExplicitVRLittleEndian)
    entity.add_requested_context("1.2.840.10008.1.1")
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 20
    handlers = [(evt.EVT_CONN_OPEN, _close_well)]
    made = entity.associate("127.0.0.1", port, ae_title=called, evt_handlers=handlers, **more)
    made._reactor_checkpoint = _Checkpoint(made)
    return made


class _Checkpoint(threading.Event):
    """Where pynetdicom's reactor pauses while a request waits for its answer.

    A request that follows another at once finds the reactor paused still, which then wakes up and
    takes the answer for itself: here it has gone on before the next request.
    """

    def __init__(self, association: Any):
        super().__init__()
        self._association = association
        super().set()

    def set(self) -> None:
        super().set()
        reactor = self._association
        if threading.current_thread() is not reactor:
            while reactor._is_paused and reactor.is_alive():
                reactor.join(0.001)


def _close_well(event: Any) -> None:
    connection = event.assoc.dul.socket
    connection._shutdown_socket = partial(close_for_good, connection)


def store(association: Any, files: Iterable[Path]) -> list[int]:
    """Send files; the status of each, -1 where there was no answer."""
    return [association.send_c_store(dcmread(path)).get("Status", -1) for path in files]


def send_study(port: int, folder: Path, abort_after: int | None = None) -> list[int]:
    """Send a folder over one association; abort_after: images, before it is aborted."""
    files: Sequence[Path] = sorted(folder.iterdir())
    association = associate(port)
    assert association.is_established
    statuses = store(association, files[:abort_after])
    if abort_after is None:
        association.release()
    else:
        association.abort()
    return statuses


def send_parts(association: Any, image: Any, without_last: bool = False) -> None:
    """Send an image in PDUs and wait for no answer; without_last: all but the last of them."""
    (context,) = (one for one in association.accepted_contexts if one.abstract_syntax == MR_IMAGE)
    request, message = C_STORE(), C_STORE_RQ()
    request.MessageID, request.Priority = 99, 2
    request.AffectedSOPClassUID = image.SOPClassUID
    request.AffectedSOPInstanceUID = image.SOPInstanceUID
    request.DataSet = BytesIO(encode(image, False, True) or b"")
    message.primitive_to_message(request)
    parts = list(message.encode_msg(context.context_id, _PDU_BYTES))
    for part in parts[: len(parts) - without_last]:
        association.dul.send_pdu(part)


class Archive:
    """A destination that keeps what it is sent, and answers what it holds."""

    def __init__(self, status: int = 0) -> None:
        self.port = free_port()
        self.status = status  # of its answer to an object
        self.received: list[Any] = []
        self._arrived = threading.Event()
        self._server: Any = None

    def start(self) -> None:
        entity = AE("ARCHIVE")
        for uid in (SEGMENTATION, STUDY_ROOT_FIND):
            entity.add_supported_context(uid, ExplicitVRLittleEndian)
        self._server = entity.start_server(
            ("127.0.0.1", self.port),
            block=False,
            evt_handlers=[(evt.EVT_C_STORE, self._keep), (evt.EVT_C_FIND, self._find)],
        )

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server = None

    @property
    def destination(self) -> str:
        """Its lines in the settings; waits between attempts are short."""
        return (
            f'name = "archive"\nkind = "c-store"\naddress = "127.0.0.1"\nport = {self.port}\n'
            'ae_title = "ARCHIVE"\nfirst_wait_seconds = 0.01\nlongest_wait_seconds = 0.01\n'
            "attempts = 3\ntimeout_seconds = 10.0"
        )

    def _keep(self, event: Any) -> int:
        if self.status == 0:
            self.received.append(event.dataset)
            self._arrived.set()
        return self.status

    def _find(self, event: Any) -> Iterator[tuple[int, Any]]:
        for held in self.received:
            if held.SOPInstanceUID == event.identifier.SOPInstanceUID:
                yield 0xFF00, event.identifier

    def wait(self, most_seconds: float) -> None:
        """Wait for an object. Fails after a long time."""
        assert self._arrived.wait(most_seconds), "nothing arrived"
