"""Numbers of a segmentation: a row a slice and a row a patient."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lgg_runtime.cleanup import component_sizes
from lgg_runtime.metrics import Counts
from lgg_runtime.notice import RESEARCH_ONLY
from lgg_runtime.volume import LARGE_DROPPED, Segmentation


@dataclass(frozen=True, slots=True)
class SummaryRow:
    """One slice or one patient in `summary.csv`.

    Areas and the largest component are in pixels of the mask; area_mm2 and volume_ml are None
    where the spacing is unknown. A patient's largest component is a 3-D one, a slice's is 2-D.
    mean_probability is over the tumour pixels of the mask, None where there are none.
    dropped_fraction is as in the segmentation, None for a slice. aspect is a slice's width by its
    height in mm, None where the spacing is unknown.
    """

    level: str
    patient: str
    name: str
    tumour_present: bool
    area_px: int
    area_mm2: float | None
    largest_component_px: int
    mean_probability: float | None
    max_probability: float
    volume_ml: float | None = None
    dropped_fraction: float | None = None
    counts: Counts | None = None
    aspect: float | None = None

    @property
    def reference_px(self) -> int | None:
        """Pixels of tumour in the reference mask, None without one."""
        return None if self.counts is None else self.counts.tp + self.counts.fn

    @property
    def is_mostly_reference(self) -> bool:
        """Whether the reference mask covers more than half, as an inverted one does."""
        return self.counts is not None and 2 * (self.reference_px or 0) > self.counts.total

    @property
    def drops_much(self) -> bool:
        """Whether the clean-up dropped what may be tumour."""
        return (self.dropped_fraction or 0.0) >= LARGE_DROPPED

    @classmethod
    def of(cls, *fields: Any) -> SummaryRow:
        """Its fields in order, `counts` as a tuple of its own fields."""
        given: list[Any] = [Counts(*one) if isinstance(one, tuple) else one for one in fields]
        return cls(*given)

    def cells(self, doubts: str = "") -> dict[str, str]:
        """As text by column; doubts: why the study does not look like the training data."""
        c = self.counts
        return {
            "level": self.level,
            "patient": self.patient,
            "name": self.name,
            "tumour_present": "yes" if self.tumour_present else "no",
            "area_px": str(self.area_px),
            "area_mm2": _number(self.area_mm2),
            "volume_ml": _number(self.volume_ml),
            "largest_component_px": str(self.largest_component_px),
            "dropped_fraction": _number(self.dropped_fraction),
            "mean_probability": _number(self.mean_probability),
            "max_probability": _number(self.max_probability),
            "dice": _number(c.dice if c else None),
            "recall": _number(c.recall if c else None),
            "precision": _number(c.precision if c else None),
            "use": RESEARCH_ONLY,
            "doubts": doubts,
        }


def summarise_volume(
    patient: str,
    names: Sequence[str],
    result: Segmentation,
    counts: Sequence[Counts | None],
) -> list[SummaryRow]:
    """A row for each slice of the volume, then one for all of them.

    counts: each slice's, None where it has no reference mask; the last row adds up the known.
    """
    rows = [
        _row("slice", (patient, name), _part(result, index), counts[index])
        for index, name in enumerate(names)
    ]
    known = [c for c in counts if c is not None]
    total = sum(known, Counts()) if known else None
    return [*rows, _row("patient", (patient, ""), result, total)]


def join_volumes(rows: Sequence[SummaryRow], names: Sequence[str]) -> list[SummaryRow]:
    """Rows of one patient's volumes, where slices differ in size, with one row for the patient.

    names: of the slices, in the order of their rows.
    """
    patient = [row for row in rows if row.level == "patient"]
    if len(patient) < 2:
        return list(rows)
    area = sum(row.area_px for row in patient)
    known = [row.counts for row in patient if row.counts is not None]
    joined = replace(
        patient[0],
        tumour_present=area > 0,
        area_px=area,
        largest_component_px=max(row.largest_component_px for row in patient),
        mean_probability=sum((row.mean_probability or 0.0) * row.area_px for row in patient) / area
        if area
        else None,
        max_probability=max(row.max_probability for row in patient),
        dropped_fraction=max(row.dropped_fraction or 0.0 for row in patient),
        counts=sum(known, Counts()) if known else None,
    )
    place = {name: index for index, name in enumerate(names)}
    slices = [row for row in rows if row.level != "patient"]
    return [*sorted(slices, key=lambda row: place[row.name]), joined]


def partly_scored(rows: Iterable[SummaryRow]) -> dict[str, dict[str, int]]:
    """Patients of whose slices some have a reference mask and some none: `scored` of `slices`."""
    known: Counter[str] = Counter()
    slices: Counter[str] = Counter()
    for row in rows:
        if row.level == "slice":
            slices[row.patient] += 1
            known[row.patient] += row.counts is not None
    return {
        name: {"scored": known[name], "slices": count}
        for name, count in sorted(slices.items())
        if 0 < known[name] < count
    }


def encode_csv(rows: Iterable[SummaryRow], doubts: Mapping[str, str]) -> Iterator[str]:
    """The rows as CSV, line by line after a header, which is there without rows too.

    doubts: by patient; they stand in the patient's row.
    """
    empty = SummaryRow("", "", "", False, 0, None, 0, None, 0.0)
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=list(empty.cells()))
    writer.writeheader()
    yield text.getvalue()
    for row in rows:
        text.seek(0)
        text.truncate()
        writer.writerow(row.cells(doubts.get(row.patient, "") if row.level == "patient" else ""))
        yield text.getvalue()


def _part(result: Segmentation, index: int) -> Segmentation:
    part = slice(index, index + 1)
    mask, probability = result.mask[part], result.probability[part]
    return Segmentation(mask, probability, result.threshold, result.spacing_mm)


def _row(
    level: str, names: tuple[str, str], result: Segmentation, counts: Counts | None
) -> SummaryRow:
    area = int(np.count_nonzero(result.mask))
    per_pixel, spacing = result.pixel_area_mm2, result.spacing_mm
    _, height, width = result.mask.shape
    return SummaryRow(
        level=level,
        patient=names[0],
        name=names[1],
        tumour_present=area > 0,
        area_px=area,
        area_mm2=None if per_pixel is None else area * per_pixel,
        largest_component_px=int(component_sizes(result.mask).max(initial=0)),
        mean_probability=float(result.probability[result.mask].mean(dtype=np.float64))
        if area
        else None,
        max_probability=float(result.probability.max()),
        volume_ml=result.volume_ml,
        dropped_fraction=result.dropped_fraction if level == "patient" else None,
        counts=counts,
        aspect=None if spacing is None else width * spacing[2] / (height * spacing[1]),
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"
