"""The DICOM node from outside: how soon a result is acknowledged, and what memory a queue takes."""

from __future__ import annotations

import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from lgg_bench.machine import describe_machine
from lgg_bench.record import Record
from lgg_bench.table import Table
from lgg_runtime.digests import digest_file
from lgg_runtime.errors import LggError
from lgg_runtime.extras import import_extra
from lgg_runtime.loading import find_model
from lgg_runtime.plural import count
from lgg_runtime.readers.dicom_frames import MR_IMAGE
from lgg_train.phantom import PhantomSettings
from lgg_train.phantom_files import write_scans
from lgg_train.phantom_scan import ScanSettings

_MOST_SECONDS = 900
_QUIET_SECONDS = 1.0  # of the studies that are timed; not counted


@dataclass(frozen=True)
class NodeBenchSettings:
    """slices, size: of each sequence of a study; rounds: studies one after the other;
    waiting: studies of FLAIR alone that are all in the queue before the first is worked on;
    quiet_seconds: long enough for all of them to come in it; model, provider: what the node runs,
    and where.
    """

    slices: int = 30
    size: int = 256
    rounds: int = 5
    waiting: int = 100
    quiet_seconds: float = 40.0
    model: str = "standard"
    provider: str = "cpu"


def measure_node(settings: NodeBenchSettings, tell: Callable[[str], object]) -> Record:
    """Run lgg-node beside an archive in this process.

    results.seconds: as `lgg-node status` has them; after_quiet: from the last image's arrival to
    the archive's acknowledgement, less the quiet time. results.rss_mib: of the node's process,
    idle, with all studies waiting, and after each result; the quiet time of the settings is that of
    this part, and results.quiet_seconds of the other. results.sha256: of the model. Raises
    ModelError for a model that is not there, LggError where the node ends.
    """
    digest = digest_file(find_model(settings.model))
    import_extra("pynetdicom", "node")
    machine = describe_machine()
    with tempfile.TemporaryDirectory() as name, _archive() as (archive, arrived):
        root = Path(name)
        phantoms = PhantomSettings(settings.rounds, settings.slices, settings.size, seed=3)
        folders = write_scans(root, "dicom", phantoms, ScanSettings())
        with _node(root / "one", archive, replace(settings, quiet_seconds=_QUIET_SECONDS)) as node:
            for number, folder in enumerate(folders):
                tell(f"study {number + 1} of {len(folders)}")
                _send(node.port, [sorted(folder.iterdir())])
                node.wait_for(arrived)
            seconds = node.read_seconds(len(folders))
        rss = _measure_queue(root, folders[0], settings, (archive, arrived), tell)
    results = {"sha256": digest, "quiet_seconds": _QUIET_SECONDS}
    results |= {"seconds": seconds, "rss_mib": rss}
    return Record("node", asdict(settings), machine, results)


def tabulate(record: Record) -> list[Table]:
    settings, results = record.settings, record.results
    rows = [
        [name.replace("_", " "), f"{span['median']:.2f}", f"{span['slowest']:.2f}"]
        for name, span in results["seconds"].items()
    ]
    title = (
        f"A study of {count(settings['slices'], 'slice')}, {count(settings['rounds'], 'time')}, "
        f"{settings['model']} on {settings['provider']}"
    )
    note = "After quiet: last image's arrival to the SEG's acknowledgement, less the quiet time."
    times = Table(title, ("seconds", "median", "slowest"), rows, (note,))
    rss = results["rss_mib"]
    after = rss["after_each"]
    middle = after[len(after) // 2]
    cells = [rss["idle"], rss["all_waiting"], after[0], middle, after[-1], max(after)]
    waiting = count(settings["waiting"], "study", "studies")
    memory = Table(
        f"Memory of the process, {waiting} of FLAIR alone waiting",
        ("", "idle", "all waiting", "after the first", "after half", "after the last", "most"),
        [["MiB", *(f"{value:.0f}" for value in cells)]],
    )
    return [times, memory]


def _measure_queue(
    root: Path,
    folder: Path,
    settings: NodeBenchSettings,
    archive: tuple[int, queue.Queue[None]],
    tell: Callable[[str], object],
) -> dict[str, Any]:
    port, arrived = archive
    copies = [_copy(folder, root / "many" / str(n), n) for n in range(settings.waiting)]
    with _node(root / "two", port, settings) as node:
        idle = node.rss_mib()
        _send(node.port, copies)
        if not arrived.empty():
            raise LggError("a result came before all studies waited; give fewer --waiting")
        waiting = node.rss_mib()
        after = []
        for number in range(settings.waiting):
            node.wait_for(arrived)
            after.append(round(node.rss_mib(), 1))
            tell(f"result {number + 1} of {settings.waiting}")
    return {"idle": round(idle, 1), "all_waiting": round(waiting, 1), "after_each": after}


def _copy(folder: Path, to: Path, number: int) -> list[Path]:
    """The study's FLAIR again as another study."""
    from pydicom import dcmread

    to.mkdir(parents=True)
    for path in sorted(folder.iterdir()):
        data = dcmread(path)
        if data.SeriesDescription != "FLAIR":
            continue
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
            setattr(data, keyword, f"{data[keyword].value[:50]}.{number + 1}")
        data.save_as(to / path.name, enforce_file_format=True)
    return sorted(to.iterdir())


def _send(port: int, studies: list[list[Path]]) -> None:
    from pynetdicom import AE, _config

    from lgg_runtime.pacs.transport import EXPLICIT_LITTLE_ENDIAN

    _config.STORE_SEND_CHUNKED_DATASET = True
    for files in studies:
        entity = AE("BENCH")
        entity.add_requested_context(MR_IMAGE, EXPLICIT_LITTLE_ENDIAN)
        # A busy machine may keep an answer for longer than the half minute that is given to a peer.
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = _MOST_SECONDS
        association = entity.associate("127.0.0.1", port, ae_title="LGG-NODE")
        statuses = {
            association.send_c_store(path).get("Status") if association.is_established else None
            for path in files
        }
        association.release()
        if statuses != {0}:
            raise LggError(f"the node refused an image, or gave no answer to it: {statuses}")


@contextmanager
def _archive() -> Iterator[tuple[int, queue.Queue[None]]]:
    """A port where results are acknowledged, and an item in the queue for each."""
    from pynetdicom import AE, _config, evt

    from lgg_runtime.pacs.transport import EXPLICIT_LITTLE_ENDIAN, SEGMENTATION

    _config.LOG_HANDLER_LEVEL = "none"
    arrived: queue.Queue[None] = queue.Queue()

    def keep(event: Any) -> int:
        arrived.put(None)
        return 0

    entity = AE("ARCHIVE")
    entity.add_supported_context(SEGMENTATION, EXPLICIT_LITTLE_ENDIAN)
    server = entity.start_server(
        ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, keep)]
    )
    assert server is not None
    try:
        yield server.server_address[1], arrived
    finally:
        server.shutdown()


@dataclass(frozen=True)
class _Node:
    config: Path
    port: int
    process: subprocess.Popen[str]

    def wait_for(self, arrived: queue.Queue[None]) -> None:
        """Wait for a result. Raises LggError where the node ends before it, or sends none."""
        for _ in range(_MOST_SECONDS):
            with suppress(queue.Empty):
                return arrived.get(timeout=1)
            if self.process.poll() is not None:
                break
        raise LggError("the node ended before its result, or sent none")

    def rss_mib(self) -> float:
        text = Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8")
        (line,) = (line for line in text.splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) / 1024

    def read_seconds(self, least: int) -> dict[str, Any]:
        """Once so many deliveries are recorded: that follows their acknowledgement."""
        from lgg_runtime.pacs.config import load_config
        from lgg_runtime.pacs.spool import DATABASE
        from lgg_runtime.pacs.state import State
        from lgg_runtime.pacs.status import read_status

        config = load_config(self.config)
        with closing(State(config.node.spool / DATABASE)) as state:
            while True:
                status = read_status(state, config)
                if status["destinations"]["archive"]["sent"] >= least:
                    seconds: dict[str, Any] = status["seconds"]
                    return seconds
                time.sleep(0.1)


@contextmanager
def _node(folder: Path, archive_port: int, settings: NodeBenchSettings) -> Iterator[_Node]:
    folder.mkdir(parents=True)
    config = folder / "node.toml"
    config.write_text(
        f'[node]\nspool = "{folder / "spool"}"\n[listen]\nport = 0\n[http]\nport = 0\n'
        f"[limits]\nfree_disk_mib = 0\n[study]\nquiet_seconds = {settings.quiet_seconds}\n"
        f'[model]\nname = "{settings.model}"\nprovider = "{settings.provider}"\n'
        '[[destination]]\nname = "archive"\nkind = "c-store"\naddress = "127.0.0.1"\n'
        f'port = {archive_port}\nae_title = "ARCHIVE"\n',
        encoding="utf-8",
    )
    words = [sys.executable, "-m", "lgg_runtime.pacs.cli", "run", "--config", str(config)]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        lines = []
        try:
            for line in process.stderr:
                lines.append(line)
                if "listening on port" in line:
                    break
            else:
                raise LggError(f"the node did not start: {' '.join(lines)}")
            threading.Thread(target=process.stderr.read, daemon=True).start()
            port = int(lines[-1].split("listening on port")[1].split(";")[0])
            yield _Node(config, port, process)
        finally:
            process.terminate()
