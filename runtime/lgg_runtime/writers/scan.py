"""What is written of a whole volume, and what a writer needs to know for it."""

from __future__ import annotations

from dataclasses import dataclass

from lgg_runtime.volume import Segmentation, Volume

SOFTWARE = "lgg-edge"
LABEL = "FLAIR abnormality"  # neoplasm would say more, oedema would be wrong


@dataclass(frozen=True)
class Algorithm:
    """What made a segmentation: the model's name, the tool's version, the artifact's SHA-256."""

    name: str
    version: str
    digest: str


@dataclass(frozen=True, eq=False)
class ScanResult:
    """A volume, what was found in it, and by what."""

    volume: Volume
    segmentation: Segmentation
    algorithm: Algorithm

    @property
    def verdict(self) -> str:
        """The finding in one line, for descriptions: at most 64 characters, as LO allows."""
        found = self.segmentation.tumour_present
        doubt = "No brain MRI? " if self.segmentation.doubts else ""
        return f"{doubt}{LABEL}{'' if found else ': none found'} - research use only"
