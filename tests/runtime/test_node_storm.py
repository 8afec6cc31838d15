"""Studies from several senders, aborted and repeated associations, kills, an absent Orthanc.

`make test-pacs` runs it at full size: LGG_PACS_STUDIES=200, ten kills, a minute without Orthanc.
"""

from __future__ import annotations

import os
import queue
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("pynetdicom")
pytest.importorskip("highdicom")
pytest.importorskip("dicomweb_client")

from pydicom import dcmread

from stand_ins.dcmtk import needs_storescu, send_by_storescu
from stand_ins.node_process import NodeProcess, wait_until
from stand_ins.orthanc import Orthanc, why_missing
from stand_ins.pacs import PATIENT, draw_studies, write_config
from stand_ins.ports import free_port

STUDIES = int(os.environ.get("LGG_PACS_STUDIES", "10"))
KILLS = max(STUDIES // 20, 2)
AWAY_SECONDS = 60.0 if STUDIES >= 200 else 2.0
SENDERS = 4
MOST_SECONDS = 1800.0 if STUDIES >= 200 else 180.0

pytestmark = [
    pytest.mark.skipif(bool(why_missing()), reason=why_missing()),
    needs_storescu,
]


@dataclass(frozen=True)
class Plan:
    """What happens to a study: how many of its images go over an association that is aborted
    first (0: none), whether all of it follows, and how often.
    """

    folder: Path
    aborted: int
    times: int


def make_plans(folders: list[Path], chance: random.Random) -> list[Plan]:
    """A tenth of the studies is aborted first, a tenth sent twice, a tenth never whole."""
    plans = []
    for number, folder in enumerate(folders):
        some = chance.randrange(1, len(list(folder.iterdir())))
        aborted, times = {3: (some, 1), 5: (0, 2), 7: (some, 0)}.get(number % 10, (0, 1))
        plans.append(Plan(folder, aborted, times))
    return plans


class Senders:
    """Threads that send with dcmtk, each study until its association was released."""

    def __init__(self, plans: list[Plan], port: int):
        self._waiting: queue.SimpleQueue[Plan] = queue.SimpleQueue()
        for plan in plans:
            self._waiting.put(plan)
        self._port, self._lock = port, threading.Lock()
        self.ended, self.failures, self.errors = 0, 0, list[BaseException]()
        self.threads = [threading.Thread(target=self._run) for _ in range(SENDERS)]

    def _run(self) -> None:
        try:
            while True:
                self._send(self._waiting.get_nowait())
                with self._lock:
                    self.ended += 1
        except queue.Empty:
            return
        except BaseException as error:
            self.errors.append(error)
            raise

    def _send(self, plan: Plan) -> None:
        files = sorted(plan.folder.iterdir())
        if plan.aborted:
            send_by_storescu(self._port, files[: plan.aborted], "--abort")
        for _ in range(plan.times):
            until = time.monotonic() + MOST_SECONDS
            while send_by_storescu(self._port, files) != 0:
                assert time.monotonic() < until, "a study could not be sent"
                self.failures += 1
                threading.Event().wait(0.2)


def test_every_complete_study_has_one_segmentation_and_no_partial_one_has(
    tmp_path: Path, artifact: Path, call_infer: Callable[..., SimpleNamespace]
) -> None:
    folders = draw_studies(tmp_path / "drawn", STUDIES)
    plans = make_plans(folders, random.Random(7))
    whole = [plan.folder for plan in plans if plan.times]
    partial = [plan.folder for plan in plans if not plan.times]
    (tmp_path / "orthanc").mkdir()
    port = free_port()
    known = {"lgg-node": ["LGG-NODE", "127.0.0.1", port]}  # else Orthanc answers no C-FIND
    orthanc = Orthanc(tmp_path / "orthanc", more={"DicomModalities": known})
    node = NodeProcess(
        write_config(
            tmp_path,
            orthanc.destination,
            listen={"port": port},
            study={"quiet_seconds": 1.5, "attempts": 100},
            model={"name": str(artifact)},
        ),
        tmp_path / "node.log",
    )
    orthanc.start()
    node.start()
    try:
        senders = Senders(plans, port)
        for thread in senders.threads:
            thread.start()
        disturb(node, orthanc, senders, len(plans))
        for thread in senders.threads:
            thread.join()
        assert not senders.errors
        wait_until(lambda: has_sent(node, len(whole)), MOST_SECONDS, "every SEG is sent")
        status = node.status()
        assert node.stop() == 0
        assert status["studies"]["held"] <= len(partial)
        check_archive(orthanc, whole, artifact, tmp_path, call_infer)
    finally:
        node.end()
        orthanc.stop()
    check_privacy(folders, node.log.read_text(), (tmp_path / "spool/state.sqlite").read_bytes())


def disturb(node: NodeProcess, orthanc: Orthanc, senders: Senders, total: int) -> None:
    """Kill the node as studies come in, and after; stop Orthanc in the middle."""
    during = KILLS - KILLS // 4
    for number in range(during):
        due = (number + 1) * total // (during + 1)
        wait_until(lambda due=due: senders.ended >= due, MOST_SECONDS, "studies are sent")
        node.kill()
        node.start()
        if number == during // 2:
            orthanc.stop()
            threading.Event().wait(AWAY_SECONDS)
            orthanc.start()
    for thread in senders.threads:
        thread.join()
    for _ in range(KILLS - during):
        before = count_sent(node)
        wait_until(
            lambda before=before: count_sent(node) > before or has_sent(node, 0),
            MOST_SECONDS,
            "results are sent",
        )
        node.kill()
        node.start()


def count_sent(node: NodeProcess) -> int:
    return node.log.read_text().count("sent to")


def has_sent(node: NodeProcess, least: int) -> bool:
    """Whether at least so many studies are done and nothing is on its way."""
    status = node.status()
    studies, there = status["studies"], status["destinations"]["orthanc"]
    busy = studies["receiving"] + studies["queued"] + studies["working"]
    return not busy and not there["waiting"] + there["sending"] and studies["done"] >= least


def check_archive(
    orthanc: Orthanc,
    whole: list[Path],
    artifact: Path,
    tmp_path: Path,
    call_infer: Callable[..., SimpleNamespace],
) -> None:
    """One SEG a complete study by QIDO, by WADO equal to what lgg-infer writes; no other."""
    study_of = {folder.name: first_header(folder).StudyInstanceUID for folder in whole}
    found = orthanc.find_segmentations()
    counts = Counter(study for study, _, _ in found)
    assert counts == dict.fromkeys(study_of.values(), 1)
    out = tmp_path / "out"
    source = whole[0].parent
    assert call_infer(source, "-o", out, "-m", artifact, "-ot", "dicom-seg", "-q").code == 0
    written = {path.parent.name: path for path in out.rglob("*_seg.dcm")}
    expected = {uid: written[name] for name, uid in study_of.items()}
    assert expected.keys() == counts.keys()
    for uids in found:
        assert orthanc.fetch(uids) == dcmread(expected[uids[0]])


def check_privacy(folders: list[Path], log: str, database: bytes) -> None:
    words = set(PATIENT)
    for folder in folders:
        header = first_header(folder)
        words |= {str(header[name].value) for name in ("PatientName", "PatientID", "StudyDate")}
        words |= {header.StudyInstanceUID, header.SeriesInstanceUID, header.SOPInstanceUID}
    assert not [word for word in words if word in log]
    assert not [word for word in words if word.encode() in database]
    assert "Traceback" not in log


def first_header(folder: Path) -> SimpleNamespace:
    header: SimpleNamespace = dcmread(sorted(folder.iterdir())[0], stop_before_pixels=True)
    return header
