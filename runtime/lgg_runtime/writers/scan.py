"""What is written of a whole volume, and what a writer needs to know for it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lgg_runtime.errors import UsageError
from lgg_runtime.model_name import USABLE_NAME, is_usable_name
from lgg_runtime.volume import Segmentation, Volume, describe_drop

SOFTWARE = "lgg-edge"
LABEL = "FLAIR abnormality"  # neoplasm would say more, oedema would be wrong


@dataclass(frozen=True)
class Algorithm:
    """What made a segmentation: the model's name, the tool's version, the artifact's SHA-256.

    Raises UsageError for a name or a version that DICOM objects cannot hold.
    """

    name: str
    version: str
    digest: str

    def __post_init__(self) -> None:
        for field, text in (("name", self.name), ("version", self.version)):
            if not is_usable_name(text):
                raise UsageError(f"algorithm's {field} {text!r}: expected {USABLE_NAME}")


@dataclass(frozen=True, eq=False)
class ScanResult:
    """A volume, what was found in it, and by what.

    Raises UsageError where mask and probability are not of the volume's shape (S, H, W), or the
    mask is not of bool.
    """

    volume: Volume
    segmentation: Segmentation
    algorithm: Algorithm

    def __post_init__(self) -> None:
        expected, found = self.volume.pixels.shape[:3], self.segmentation
        for name, values in (("mask", found.mask), ("probability", found.probability)):
            if values.shape != expected:
                raise UsageError(f"{name} of shape {values.shape}: its volume is of {expected}")
        if found.mask.dtype != np.bool_:
            raise UsageError(f"mask of {found.mask.dtype}: expected bool, as mask > 0 gives")

    @property
    def verdict(self) -> str:
        """The finding in one line, for descriptions: at most 64 characters, as LO allows."""
        if self.segmentation.tumour_present:
            return self.describe(", incomplete?" if self.segmentation.drops_much else "")
        return self.describe(": none found?" if self.segmentation.drops_much else ": none found")

    def describe(self, found: str) -> str:
        """A description that says so, and whether the study is doubted to show a brain."""
        doubt = "No brain MRI? " if self.segmentation.doubts else ""
        return f"{doubt}{LABEL}{found} - research use only"

    @property
    def caution(self) -> str:
        """Why the study is doubted, and what the clean-up dropped that may be tumour; empty where
        there is neither.
        """
        found = self.segmentation
        told = [*found.doubts]
        if found.drops_much:
            dropped = describe_drop(found.dropped_fraction, found.tumour_present)
            told.append(f"the clean-up dropped {dropped}, which may be tumour")
        return "; ".join(told)
