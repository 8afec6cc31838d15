"""A long run in one process: slices of varied shapes through the command and the Python API, with
the process's memory, descriptors and threads watched.

Rounds take turns: a folder of pictures through `lgg-infer`, which loads the model anew and writes
masks, then volumes through one Segmenter that stays loaded.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from lgg_bench.machine import describe_machine
from lgg_bench.record import Record
from lgg_bench.table import Table
from lgg_runtime.cli import command
from lgg_runtime.errors import LggError, UsageError
from lgg_runtime.loading import LoadSettings
from lgg_runtime.segmenter import Segmenter
from lgg_runtime.volume import Pixels, Volume

_PROCESS = Path("/proc/self")


@dataclass(frozen=True)
class SoakSettings:
    """slices: how many in all; warm_up: after which the memory may hardly grow; round: slices of
    one call of the command, and of the API after it; shortest, longest: sides in pixels; threads:
    of the model; seed: of shapes and values.
    """

    slices: int = 100_000
    warm_up: int = 5_000
    round: int = 500
    shortest: int = 17
    longest: int = 72
    threads: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.warm_up >= self.slices:
            raise UsageError(f"slices {self.slices}: expected more than {self.warm_up} to warm up")


@dataclass(frozen=True)
class Sample:
    """What the process held after so many slices."""

    slices: int
    resident_mib: float
    descriptors: int
    threads: int


def measure_soak(model: str | Path, settings: SoakSettings, tell: Callable[[str], Any]) -> Record:
    """Run the slices and sample after every round, until there are two samples of after the
    warm-up, between which growth would show. Raises LggError for a call that fails.

    Results: `sha256`, of the model; what `summarise_samples` has; `slices_through`, both ways.
    """
    machine = describe_machine()
    rng = np.random.default_rng(settings.seed)
    segmenter = Segmenter.load(model, LoadSettings(threads=settings.threads))
    samples = [take_sample(0)]
    through = {"command": 0, "api": 0}
    done = 0
    while done < settings.slices or samples[-2].slices < settings.warm_up:
        through["command"] += _run_command(model, settings, rng)
        through["api"] += _run_api(segmenter, settings, rng)
        done = sum(through.values())
        samples.append(take_sample(done))
        tell(f"{done} slices, {samples[-1].resident_mib:.1f} MiB")
    results = {
        "sha256": segmenter.digest,
        **summarise_samples(samples, settings.warm_up),
        "slices_through": through,
    }
    return Record("soak", asdict(settings) | {"model": str(model)}, machine, results)


def take_sample(slices: int) -> Sample:
    """Raises LggError where the system has no /proc."""
    try:
        fields = dict(line.split(":", 1) for line in (_PROCESS / "status").read_text().splitlines())
        descriptors = len(list((_PROCESS / "fd").iterdir()))
    except OSError as error:
        raise LggError("the soak reads /proc, which this system does not have") from error
    resident = int(fields["VmRSS"].split()[0]) / 1024
    return Sample(slices, round(resident, 2), descriptors, int(fields["Threads"]))


def summarise_samples(samples: list[Sample], warm_up: int) -> dict[str, Any]:
    """Growth is from the first sample after the warm-up to the largest one after it."""
    later = [sample for sample in samples if sample.slices >= warm_up]
    first = later[0]
    kept = samples[:: max(1, len(samples) // 100)]
    return {
        "slices": samples[-1].slices,
        "after_warm_up": asdict(first),
        "growth_mib": round(max(s.resident_mib for s in later) - first.resident_mib, 2),
        "growth_at_the_end_mib": round(later[-1].resident_mib - first.resident_mib, 2),
        "descriptors": [min(s.descriptors for s in later), max(s.descriptors for s in later)],
        "threads": [min(s.threads for s in later), max(s.threads for s in later)],
        "samples": [asdict(sample) for sample in [*kept, samples[-1]]],
    }


def tabulate(record: Record) -> list[Table]:
    found = record.results
    first = found["after_warm_up"]
    rows = [
        ["slices", f"{found['slices']}"],
        ["through the command", f"{found['slices_through']['command']}"],
        ["through the API", f"{found['slices_through']['api']}"],
        [f"resident after {first['slices']}, MiB", f"{first['resident_mib']:.1f}"],
        ["most that it grew after that, MiB", f"{found['growth_mib']:.1f}"],
        ["descriptors", " to ".join(map(str, found["descriptors"]))],
        ["threads", " to ".join(map(str, found["threads"]))],
    ]
    return [Table("Soak", ["", "value"], rows)]


def _draw(settings: SoakSettings, rng: np.random.Generator, count: int) -> Pixels:
    """Slices of one shape: a bright head on black with a brighter spot, noise over it."""
    height, width = rng.integers(settings.shortest, settings.longest + 1, 2)
    pixels = rng.integers(0, 12, (count, height, width, 3), np.uint8)
    pixels[:, 3:-3, 3:-3] += 90
    top, left = rng.integers(3, height - 8), rng.integers(3, width - 8)
    pixels[:, top : top + 6, left : left + 6, 1] += 90
    return pixels


def _run_api(segmenter: Segmenter, settings: SoakSettings, rng: np.random.Generator) -> int:
    done = 0
    while done < settings.round:
        count = int(rng.integers(1, 9))
        segmenter.segment(Volume(_draw(settings, rng, count)))
        done += count
    return done


def _run_command(model: str | Path, settings: SoakSettings, rng: np.random.Generator) -> int:
    with tempfile.TemporaryDirectory(prefix="lgg-soak-") as folder:
        source, output = Path(folder) / "in", Path(folder) / "out"
        done = 0
        while done < settings.round:
            patient = source / f"p{done}"
            patient.mkdir(parents=True)
            for number, pixels in enumerate(_draw(settings, rng, int(rng.integers(1, 9)))):
                png = cv2.imencode(".png", pixels[..., ::-1])[1]
                (patient / f"{patient.name}_{number}.png").write_bytes(png.tobytes())
                done += 1
        fixed = ["-m", str(model), "--threads", str(settings.threads), "-q"]
        code = command.main([str(source), "-o", str(output), *fixed], standalone_mode=False)
        masks = sum(1 for _ in output.rglob("*_mask.png"))
        if code != 0 or masks != done:
            raise LggError(f"lgg-infer ended with {code} and {masks} masks of {done} slices")
        return done
