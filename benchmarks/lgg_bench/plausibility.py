"""How often the check of plausibility warns: of pictures made by code, and of test patients."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lgg_bench.machine import describe_machine
from lgg_bench.non_brain import draw_non_brain
from lgg_bench.record import Record
from lgg_bench.table import Table
from lgg_runtime.intensity import IntensitySettings
from lgg_runtime.plausibility import PlausibilitySettings, find_doubts
from lgg_runtime.volume import Pixels
from lgg_train.cases import CaseFiles, find_cases, load_case
from lgg_train.splits import Split, find_members


@dataclass(frozen=True)
class PlausibilityBench:
    """drawn: pictures of each kind; seed: of their generator, another one than was tried with
    the ranges; size: their height and width; part: of the split; least_head: share of a slice that
    a head takes, to count as holding one.
    """

    drawn: int = 100
    seed: int = 11
    size: int = 256
    part: str = "test"
    least_head: float = 0.1


def measure_plausibility(data: Path, split: Path, settings: PlausibilityBench) -> Record:
    """Warnings by kind of picture, and of slices alone and of volumes of the split's part."""
    machine = describe_machine()
    members = find_members(Split.read(split), settings.part, find_cases(data), split)
    ranges = PlausibilitySettings()
    warned: Counter[str] = Counter()
    for kind, pixels in draw_non_brain(settings.drawn, settings.size, settings.seed):
        warned[kind] += bool(find_doubts(pixels[None], ranges))
    real = _measure_patients(members, settings, ranges)
    results = {
        "pictures": settings.drawn * len(warned),
        "warned": warned.total(),
        "by_kind": {kind: count / settings.drawn for kind, count in warned.items()},
    }
    return Record("plausibility", asdict(settings), machine, results | real)


def _measure_patients(
    members: list[CaseFiles], settings: PlausibilityBench, ranges: PlausibilitySettings
) -> dict[str, int]:
    found: Counter[str] = Counter()
    for files in members:
        pixels: Pixels = load_case(files).volume.pixels.astype(np.uint8)
        in_volume = bool(find_doubts(pixels, ranges))
        found.update(volumes=1, volumes_warned=in_volume)
        for slice_ in pixels[_head_share(pixels) >= settings.least_head]:
            alone = bool(find_doubts(slice_[None], ranges))
            found.update(slices=1, slices_warned=in_volume, slices_alone_warned=alone)
    return dict(found)


def _head_share(pixels: Pixels) -> npt.NDArray[np.float64]:
    """Share of each slice in which two channels or more are above their background."""
    rule = IntensitySettings()
    bright = np.percentile(pixels.reshape(-1, pixels.shape[-1]), rule.bright_percentile, axis=0)
    is_signal = pixels > rule.head_fraction * bright
    share: npt.NDArray[np.float64] = (is_signal.sum(-1) >= 2).mean((1, 2))
    return share


def tabulate(record: Record) -> list[Table]:
    found = record.results
    kinds = [[kind, f"{share:.1%}"] for kind, share in found["by_kind"].items()]
    kinds.append(["all", f"{found['warned'] / found['pictures']:.1%}"])
    counts = (("slices", "slices"), ("slices_alone", "slices"), ("volumes", "volumes"))
    real = [
        [name.replace("_", " "), str(found[whole]), str(found[f"{name}_warned"])]
        for name, whole in counts
    ]
    return [
        Table("Pictures that are no brain MRI", ["kind", "warned of"], kinds),
        Table("Test patients", ["", "all", "warned of"], real),
    ]
