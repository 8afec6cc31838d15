"""Memory: the peak of lgg-infer on few and on many slices, which must not differ."""

from __future__ import annotations

import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from lgg_bench.artifacts import describe_artifact
from lgg_bench.machine import describe_machine, note_load, note_shared_cores
from lgg_bench.record import Record
from lgg_bench.table import Table
from lgg_bench.whole import OUTPUT, infer_command, run_whole
from lgg_runtime.backends import BackendSettings
from lgg_runtime.digests import digest_file
from lgg_runtime.errors import UsageError
from lgg_runtime.plural import count
from lgg_train.phantom import PhantomSettings, write_phantoms

_SLICES_OF_PATIENT, _SIZE = 25, 256


@dataclass(frozen=True)
class MemorySettings:
    """slices: of each folder; provider, threads: of lgg-infer."""

    slices: tuple[int, ...] = (500, 20_000)
    provider: str = "cpu"
    threads: int = 2

    def __post_init__(self) -> None:
        if any(number % _SLICES_OF_PATIENT for number in self.slices):
            raise UsageError(f"expected numbers of slices in steps of {_SLICES_OF_PATIENT}")


def measure_memory(artifact: Path, settings: MemorySettings) -> Record:
    """Results: `rows`, seconds and peak MiB by slices. The folders hold copies of one phantom.

    Raises ModelError or ProviderError for an artifact that the provider cannot run.
    """
    machine = describe_machine()
    describe_artifact(artifact, BackendSettings(settings.provider, 1))
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        phantoms = PhantomSettings(1, _SLICES_OF_PATIENT, _SIZE)
        (patient,) = write_phantoms(Path(folder) / "one", phantoms)
        for slices in settings.slices:
            source = Path(folder) / str(slices)
            _fill(source, patient, slices // _SLICES_OF_PATIENT)
            command = infer_command(
                source, "-o", OUTPUT, "-m", artifact, "--provider", settings.provider, "-q"
            )
            ran = run_whole(command, settings.threads)
            rows.append({"slices": slices, "seconds": ran.seconds, "peak_mib": ran.peak_mib})
    results = {"artifact": artifact.name, "sha256": digest_file(artifact), "rows": rows}
    return Record("memory", asdict(settings) | {"size": _SIZE}, machine, results)


def _fill(source: Path, patient: Path, patients: int) -> None:
    """Hard links to one patient's slices: other names, and no more of the disk."""
    files = [p for p in sorted(patient.iterdir()) if not p.stem.endswith("_mask")]
    for number in range(patients):
        folder = source / f"patient{number:05d}"
        folder.mkdir(parents=True)
        for index, path in enumerate(files, 1):
            os.link(path, folder / f"patient{number:05d}_{index}.tif")


def tabulate(record: Record) -> list[Table]:
    results, settings = record.results, record.settings
    first = results["rows"][0]["peak_mib"]
    rows = [
        [
            f"{row['slices']}",
            f"{row['seconds']:.1f}",
            f"{row['slices'] / row['seconds']:.0f}",
            f"{row['peak_mib']:.0f}",
            f"{100 * (row['peak_mib'] / first - 1):+.1f} %",
        ]
        for row in results["rows"]
    ]
    notes = [
        f"Peak resident memory of the whole process, {results['artifact']} on "
        f"{settings['provider']}, {count(settings['threads'], 'thread')}; phantoms of "
        f"{_SLICES_OF_PATIENT} slices of {settings['size']} x {settings['size']}.",
        *note_shared_cores(settings["threads"], record.machine),
        *note_load(record.machine, "every folder"),
    ]
    header = ["slices", "seconds", "slices/s", "peak MiB", "against the first"]
    return [Table("Memory of lgg-infer on a folder", header, rows, notes)]
