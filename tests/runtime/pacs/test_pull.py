"""lgg-infer --from dicomweb: a study of a real Orthanc as if it lay in a folder, and back."""

from __future__ import annotations

import io
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.request import Request, urlopen

import pytest

from lgg_runtime.errors import FetchError, ResourceError, StoreError, UsageError
from lgg_train.phantom import PhantomSettings
from lgg_train.phantom_files import write_scans
from lgg_train.phantom_scan import ScanSettings
from stand_ins.orthanc import Orthanc

pytest.importorskip("dicomweb_client")
pytest.importorskip("highdicom")
pytest.importorskip("SimpleITK")

import pydicom

from lgg_runtime.pacs import pull as module
from lgg_runtime.pacs.dicomweb import count_series, fetch_series, find_series
from lgg_runtime.pacs.pull import Pull, fetched, server_of
from lgg_runtime.pacs.web_client import WebServer

Call = Callable[..., SimpleNamespace]
UNKNOWN = "1.2.826.0.1.3680043.8.498.1"


@dataclass(frozen=True)
class Stored:
    """A phantom study in a folder and, the same, in Orthanc."""

    folder: Path
    uid: str
    series: dict[str, str]  # SeriesInstanceUID by description
    server: WebServer

    @property
    def files(self) -> list[Path]:
        return [path for path in self.folder.iterdir() if path.name.startswith("IM")]


@pytest.fixture
def stored(tmp_path: Path, orthanc: Orthanc) -> Stored:
    phantoms = PhantomSettings(patients=1, slices=6, size=64, seed=6)
    (folder,) = write_scans(tmp_path / "scans", "dicom", phantoms, ScanSettings())
    orthanc.clear()
    orthanc.upload(folder)
    headers = [pydicom.dcmread(path) for path in folder.iterdir() if path.name.startswith("IM")]
    series = {str(h.SeriesDescription): str(h.SeriesInstanceUID) for h in headers}
    uid = str(headers[0].StudyInstanceUID)
    return Stored(folder, uid, series, WebServer(orthanc.dicomweb))


def pull(stored: Stored, *more: str) -> list[Any]:
    return ["--from", "dicomweb", stored.server.url, "--study", stored.uid, *more]


@pytest.fixture
def private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders are made."""
    folder = tmp_path / "private"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_a_pulled_study_gives_what_its_folder_gives_and_is_stored_back(
    tmp_path: Path, private: Path, stored: Stored, artifact: Path, call_infer: Call
) -> None:
    wanted = ["-m", artifact, "-ot", "dicom-seg", "-ot", "dicom-sr", "-ot", "nifti"]
    assert call_infer(stored.folder, "-o", tmp_path / "local", *wanted).code == 0
    for _ in range(2):  # the second stores nothing new
        done = call_infer(*pull(stored, "--store-back"), "-o", tmp_path / "out", *wanted)
        assert done.code == 0
        assert f"2 objects stored on {stored.server.name}" in done.err
    assert list(private.iterdir()) == []
    local = {path.name.split("_")[-1]: path for path in (tmp_path / "local").rglob("*.dcm")}
    pulled = {path.name.split("_")[-1]: path for path in (tmp_path / "out").rglob("*.dcm")}
    assert sorted(local) == sorted(pulled) == ["seg.dcm", "sr.dcm"]
    for name, path in local.items():
        assert pulled[name].read_bytes() == path.read_bytes()
    found = {one.modality: one for one in find_series(stored.server, stored.uid)}
    assert [found[kind].instances for kind in ("SEG", "SR")] == [1, 1]
    fetch_series(stored.server, stored.uid, found["SEG"], private, 1 << 30)
    (seg,) = private.iterdir()
    assert seg.read_bytes() == local["seg.dcm"].read_bytes()


def test_nothing_that_is_written_or_said_holds_an_identifier(
    tmp_path: Path, stored: Stored, artifact: Path, call_infer: Call
) -> None:
    chosen = [word for uid in stored.series.values() for word in ("--series-uid", uid)]
    done = call_infer(*pull(stored, "--json", *chosen), "-o", tmp_path / "out", "-m", artifact)
    (name,) = (entry["name"] for entry in json.loads(done.out)["inputs"])
    assert name.startswith("uid-")
    assert json.loads(done.out)["settings"]["input"] == f"{name} from {stored.server.url}"
    texts = [done.out, done.err, *map(str, (tmp_path / "out").rglob("*"))]
    texts += [path.read_text() for path in (tmp_path / "out").iterdir() if path.is_file()]
    header = pydicom.dcmread(stored.files[0])
    told = [stored.uid, *stored.series.values(), str(header.PatientName), str(header.PatientID)]
    assert not [one for one in told if any(one in text for text in texts)]


def test_a_uid_in_the_address_of_a_server_is_not_recorded() -> None:
    server = WebServer("http://127.0.0.1/studies/1.2.826.0.1.3680043.8.498.1")
    assert "1.2.826" not in Pull(server, "1.2.826.0.1.3680043.8.498.2").described


def test_the_folder_is_private_and_goes_whatever_happens(private: Path, stored: Stored) -> None:
    with pytest.raises(KeyError), fetched(Pull(stored.server, stored.uid)) as folder:
        assert folder.parent.parent == private
        assert [path.stat().st_mode & 0o077 for path in (folder.parent, folder)] == [0, 0]
        assert len(list(folder.iterdir())) == len(stored.files)
        raise KeyError
    assert list(private.iterdir()) == []


def test_a_study_above_the_cap_is_refused_and_leaves_nothing(private: Path, stored: Stored) -> None:
    size = sum(path.stat().st_size for path in stored.files)
    with (
        pytest.raises(FetchError, match="sends more than"),
        fetched(Pull(stored.server, stored.uid), size // 2),
    ):
        pass
    assert list(private.iterdir()) == []


def test_a_disk_that_does_not_hold_the_study_is_told_with_its_place_and_reason(
    tmp_path: Path, private: Path, stored: Stored
) -> None:
    most = min(path.stat().st_size for path in stored.files) - 1

    def bound_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

    words = [sys.executable, "-m", "lgg_runtime.cli", *pull(stored), "-o", str(tmp_path / "out")]
    env = os.environ | {"TMPDIR": str(private)}
    done = subprocess.run(
        words, check=False, preexec_fn=bound_files, env=env, capture_output=True, text=True
    )
    assert done.returncode == 7
    told = rf"lgg-infer: {private} \(TMPDIR\): [0-9a-f]+\.dcm: cannot be written: File too large\n"
    assert re.fullmatch(told, done.stderr)
    assert list(private.iterdir()) == []


def test_a_machine_without_a_folder_for_temporary_files_is_told(
    monkeypatch: pytest.MonkeyPatch, stored: Stored
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/proc/read-only"])
    told = r"^TMPDIR: cannot be written: No usable temporary directory found in .*/proc/read-only"
    with pytest.raises(ResourceError, match=told), fetched(Pull(stored.server, stored.uid)):
        pass


def test_only_the_series_chosen_are_fetched(stored: Stored) -> None:
    (flair,) = (uid for name, uid in stored.series.items() if "flair" in name.lower())
    with fetched(Pull(stored.server, stored.uid, (flair,))) as folder:
        uids = {str(pydicom.dcmread(path).SeriesInstanceUID) for path in folder.iterdir()}
    assert uids == {flair}


def test_a_study_without_a_usable_series_is_told(stored: Stored, orthanc: Orthanc) -> None:
    image = pydicom.dcmread(stored.files[0])
    image.Modality, image.StudyInstanceUID = "CT", pydicom.uid.generate_uid()
    with tempfile.TemporaryFile() as stream:
        image.save_as(stream)
        stream.seek(0)
        orthanc.call("/instances", stream.read())
    known = next(iter(stored.series.values()))
    wrong = (
        (Pull(stored.server, UNKNOWN), "knows no such study"),
        (Pull(stored.server, stored.uid, (UNKNOWN,)), "--series-uid: the study has no such"),
        (Pull(stored.server, stored.uid, (known, UNKNOWN)), "--series-uid: the study has no such"),
        (Pull(stored.server, image.StudyInstanceUID), "the study has no MR series"),
    )
    for asked, message in wrong:
        with pytest.raises(FetchError, match=message), fetched(asked):
            pass


def test_a_study_of_which_the_server_lists_a_part_is_refused_unless_series_are_chosen(
    tmp_path: Path, stored: Stored
) -> None:
    limited = Orthanc(tmp_path, more={"LimitFindResults": 1})
    limited.start()
    try:
        limited.upload(stored.folder)
        server = WebServer(limited.dicomweb)
        with pytest.raises(FetchError, match=r"lists \d series of 4; raise its limit of answers"):
            fetched(Pull(server, stored.uid)).__enter__()
        with fetched(Pull(server, stored.uid, (find_series(server, stored.uid)[0].uid,))) as folder:
            assert len(list(folder.iterdir())) == 6
    finally:
        limited.stop()


def test_a_study_that_the_server_holds_under_two_patients_is_told_as_such(
    stored: Stored, orthanc: Orthanc
) -> None:
    for path in stored.files:
        image, stream = pydicom.dcmread(path), io.BytesIO()
        image.PatientID = "corrected"
        image.save_as(stream)
        orthanc.call("/instances", stream.getvalue())
    for chosen in ((), tuple(stored.series.values())[:1]):
        with pytest.raises(FetchError, match="lists a series twice, as where it holds the study"):
            fetched(Pull(stored.server, stored.uid, chosen)).__enter__()


def test_the_series_of_a_study_are_counted_whatever_else_the_server_lists(
    answering: Callable[..., WebServer],
) -> None:
    def listed(uid: str, *count: int) -> dict[str, Any]:
        return {
            "0020000D": {"vr": "UI", "Value": [uid]},
            "00201206": {"vr": "IS", "Value": list(count)},
        }

    studies = [listed("1.2.9", 9), listed("1.2.3", 2), listed("1.2.3", 3), listed("1.2.3")]
    for told, count in ((studies, 3), (studies[:1], None), (studies[3:], None), ([], None)):
        server = answering(200, "application/dicom+json", json.dumps(told).encode())
        assert count_series(server, "1.2.3") == count


def test_a_server_that_gives_no_study_ends_with_4_and_one_line(
    tmp_path: Path, stored: Stored, artifact: Path, call_infer: Call
) -> None:
    common = ["-o", tmp_path / "out", "-m", artifact]
    for url, study in ((stored.server.url, UNKNOWN), ("http://127.0.0.1:1/web", stored.uid)):
        done = call_infer("--from", "dicomweb", url, "--study", study, *common)
        assert (done.code, done.out, done.err.count("\n")) == (4, "", 1)
        assert study not in done.err
    assert not (tmp_path / "out").exists()


def test_a_result_that_is_not_taken_ends_with_7_and_stays_on_disk(
    tmp_path: Path,
    stored: Stored,
    artifact: Path,
    call_infer: Call,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(server: WebServer, path: Path) -> None:
        raise StoreError(f"{server.name}: answers with HTTP status 503", True)

    monkeypatch.setattr(module, "store_result", refuse)
    out = tmp_path / "out"
    done = call_infer(*pull(stored, "--store-back"), "-o", out, "-m", artifact, "-ot", "dicom-seg")
    assert (done.code, done.err.count("\n")) == (7, 1)
    assert len(list(out.rglob("*_seg.dcm"))) == 1
    assert json.loads((out / "run.json").read_text())["state"].startswith("stopped: 127.0.0.1")


DUPLICATE = '{"00081198": {"vr": "SQ", "Value": [{"00081197": {"vr": "US", "Value": [%d]}}]}}'


@pytest.fixture
def refusing(stored: Stored) -> Iterator[Callable[[int], Stored]]:
    """The same server, but that it refuses every object with a reason."""
    running: list[HTTPServer] = []

    def start(reason: int) -> Stored:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                behind = stored.server.url.removesuffix("/dicom-web") + self.path
                accept = {"Accept": self.headers["Accept"]}
                with urlopen(Request(behind, headers=accept)) as answer:
                    self._answer(200, answer.headers["Content-Type"], answer.read())

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self._answer(409, "application/dicom+json", (DUPLICATE % reason).encode())

            def _answer(self, status: int, kind: str, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                return

        running.append(HTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=running[-1].serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{running[-1].server_port}/dicom-web"
        return replace(stored, server=WebServer(url))

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


def test_a_server_that_refuses_what_it_holds_has_it_and_another_object_of_that_uid_is_refused(
    tmp_path: Path,
    stored: Stored,
    refusing: Callable[[int], Stored],
    artifact: Path,
    call_infer: Call,
    orthanc: Orthanc,
) -> None:
    wanted = ["-o", tmp_path / "out", "-m", artifact, "-ot", "dicom-seg"]
    assert call_infer(*pull(stored, "--store-back"), *wanted).code == 0
    standard, of_its_own = refusing(0x0111), refusing(0xB00E)
    for again in (standard, of_its_own):
        done = call_infer(*pull(again, "--store-back"), *wanted)
        assert (done.code, f"1 object stored on {again.server.name}" in done.err) == (0, True)
    held = pydicom.dcmread(next((tmp_path / "out").rglob("*_seg.dcm")))
    (found,) = orthanc.call("/tools/lookup", str(held.SOPInstanceUID).encode())
    orthanc.call(f"/instances/{found['ID']}", method="DELETE")
    held.SeriesDescription = "another's"
    changed = io.BytesIO()
    held.save_as(changed)
    orthanc.call("/instances", changed.getvalue())
    done = call_infer(*pull(standard, "--store-back"), *wanted)
    assert done.code == 7
    assert "reason 0x0111; it has that UID, and does not give the same object back" in done.err


FROM = ("--from", "dicomweb", "http://127.0.0.1:1/web")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((), "no INPUT; give one, or --from dicomweb URL --study UID"),
        (("somewhere", *FROM, "--study", UNKNOWN), "--from: takes --study UID, no INPUT"),
        (FROM, "--from: takes --study UID"),
        ((*FROM, "--study", UNKNOWN, "--evaluate"), "no --evaluate"),
        (("somewhere", "--study", UNKNOWN), "with --from alone"),
        (("somewhere", "--store-back"), "with --from alone"),
        ((*FROM, "--study", UNKNOWN, "--store-back"), "add e.g. --output-type dicom-seg"),
        ((*FROM, "--study", "../../etc"), "expected numbers with dots between"),
        (("--from", "dicomweb", "file:///etc", "--study", UNKNOWN), "not a URL of http"),
        (("--from", "ftp", "http://host/", "--study", UNKNOWN), "'ftp' is not 'dicomweb'"),
    ],
)
def test_options_that_do_not_go_together_are_refused_before_anything_is_asked(
    tmp_path: Path, call_infer: Call, args: tuple[str, ...], message: str
) -> None:
    done = call_infer(*args, "-o", tmp_path / "out")
    assert done.code == 2
    assert message in done.err
    assert UNKNOWN not in done.err


def test_the_environment_names_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("USER", "reader"), ("PASSWORD", "p")):
        monkeypatch.setenv(f"LGG_DICOMWEB_{name}", value)
    server = server_of("http://host/web")
    assert (server.user, server.password, server.token) == ("reader", "p", "")
    monkeypatch.setenv("LGG_DICOMWEB_TOKEN", "t")
    with pytest.raises(UsageError, match="a user and a token"):
        server_of("http://host/web")
    for name in ("USER", "PASSWORD"):
        monkeypatch.delenv(f"LGG_DICOMWEB_{name}")
    assert server_of("http://host/web").token == "t"
