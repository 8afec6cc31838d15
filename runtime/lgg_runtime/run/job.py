"""What one run over a folder is asked to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from lgg_runtime.readers.dicom_series import SeriesChoice
from lgg_runtime.readers.listing import Listing
from lgg_runtime.run.ledger import Ledger


@dataclass(frozen=True)
class Job:
    """What to run: the listed input, the output folder, the outputs' names, whether to evaluate.

    choice: of the series of DICOM studies; ledger: where each finished study is put down, and
    what proves that one was finished before.
    """

    listing: Listing
    output: Path
    outputs: tuple[str, ...] = ("mask",)
    evaluate: bool = False
    choice: SeriesChoice = field(default_factory=SeriesChoice)
    ledger: Ledger | None = None
