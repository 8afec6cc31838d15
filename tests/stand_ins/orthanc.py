"""A real Orthanc, Debian's package, as a process of its own on free ports."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stand_ins.ports import free_port

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
LOG = "orthanc.log"
_STARTED = "Orthanc has started"


def why_missing() -> str:
    """Why no Orthanc can be started here, empty where one can."""
    if shutil.which("Orthanc") is None:
        return "Orthanc is not installed (apt-get install orthanc)"
    if not PLUGIN.exists():
        return "Orthanc's DICOMweb is not installed (apt-get install orthanc-dicomweb)"
    return ""


@dataclass
class Orthanc:
    """folder: its database and log; users: names and passwords, none for everybody; more: further
    settings.

    `start` returns once it answers; it may be stopped and started again with what it holds.
    """

    folder: Path
    users: dict[str, str] = field(default_factory=dict)
    aet: str = "ORTHANC"
    host: str = "127.0.0.1"
    more: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.http_port, self.dicom_port = free_port(), free_port()
        self._process: subprocess.Popen[str] | None = None

    @property
    def dicomweb(self) -> str:
        return f"http://{self.host}:{self.http_port}/dicom-web"

    @property
    def destination(self) -> str:
        """Its lines in a node's settings, by C-STORE; waits between attempts are short."""
        return (
            f'name = "orthanc"\nkind = "c-store"\naddress = "{self.host}"\n'
            f'port = {self.dicom_port}\nae_title = "{self.aet}"\n'
            "first_wait_seconds = 0.2\nlongest_wait_seconds = 2.0\nattempts = 1000"
        )

    def find_segmentations(self) -> list[tuple[str, str, str]]:
        """By QIDO: UIDs of study, series and instance of each."""
        found = self._client().search_for_instances(search_filters={"Modality": "SEG"}, limit=10000)
        study, series, instance = "0020000D", "0020000E", "00080018"
        values = [{tag: one[tag]["Value"][0] for tag in (study, series, instance)} for one in found]
        return [(one[study], one[series], one[instance]) for one in values]

    def fetch(self, uids: tuple[str, str, str]) -> Any:
        """By WADO, as it is held."""
        as_held = (("application/dicom", "*"),)
        return self._client().retrieve_instance(*uids, media_types=as_held)

    def _client(self) -> Any:
        from dicomweb_client.api import DICOMwebClient

        return DICOMwebClient(self.dicomweb)

    def start(self) -> None:
        config = self.folder / "orthanc.json"
        config.write_text(json.dumps(self._settings()), encoding="utf-8")
        self._process = subprocess.Popen(
            ["Orthanc", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        started = threading.Event()
        self._reader = threading.Thread(target=self._read_log, args=(started,), daemon=True)
        self._reader.start()
        if not started.wait(timeout=60) or self._process.poll() is not None:
            raise RuntimeError(f"Orthanc does not start; see {self.folder / LOG}")

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=60)
            self._reader.join(timeout=60)
            self._process = None

    def call(self, path: str, body: bytes | None = None, method: str = "") -> Any:
        """What Orthanc's own REST interface answers, parsed."""
        request = urllib.request.Request(
            f"http://{self.host}:{self.http_port}{path}",
            data=body,
            method=method or ("GET" if body is None else "POST"),
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())

    def upload(self, folder: Path) -> int:
        """Store every DICOM file below a folder; the number of them."""
        found = (path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())
        images = [data for data in found if data[128:132] == b"DICM"]
        for data in images:
            self.call("/instances", data)
        return len(images)

    def clear(self) -> None:
        for patient in self.call("/patients"):
            self.call(f"/patients/{patient}", method="DELETE")

    def _read_log(self, started: threading.Event) -> None:
        """Its log to a file, without which a full pipe would stop it."""
        assert self._process is not None and self._process.stderr is not None
        with self._process.stderr as lines, (self.folder / LOG).open("a") as log:
            for line in lines:
                log.write(line)
                log.flush()
                if _STARTED in line:
                    started.set()
        started.set()  # it ended before its time

    def _settings(self) -> dict[str, Any]:
        return {
            "Name": "stand-in",
            "StorageDirectory": str(self.folder / "storage"),
            "IndexDirectory": str(self.folder / "storage"),
            "HttpPort": self.http_port,
            "DicomPort": self.dicom_port,
            "DicomAet": self.aet,
            "DicomAlwaysAllowStore": True,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": bool(self.users),
            "RegisteredUsers": self.users,
            "Plugins": [str(PLUGIN)],
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
            "StableAge": 1,
        } | self.more
