"""What is written of a volume is of that volume, and by something that has a name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lgg_runtime.errors import UsageError
from lgg_runtime.volume import Segmentation, Volume
from lgg_runtime.writers.scan import Algorithm, ScanResult

VOLUME = Volume(np.zeros((3, 4, 5, 3), np.uint8))
ALGORITHM = Algorithm("tiny", "1.0", "ab" * 32)


@pytest.mark.parametrize(
    ("mask", "probability", "message"),
    [
        (np.zeros((3, 5, 4), bool), np.zeros((3, 4, 5)), "mask of shape (3, 5, 4): its volume is "
         "of (3, 4, 5)"),
        (np.zeros((4, 5), bool), np.zeros((3, 4, 5)), "mask of shape (4, 5): its volume is of "
         "(3, 4, 5)"),
        (np.zeros((3, 4, 5), bool), np.zeros((2, 4, 5)), "probability of shape (2, 4, 5): its "
         "volume is of (3, 4, 5)"),
        (np.full((3, 4, 5), 255, np.uint8), np.zeros((3, 4, 5)), "mask of uint8: expected bool, "
         "as mask > 0 gives"),
    ],
)  # fmt: skip
def test_what_is_not_of_the_volume_is_refused(mask: Any, probability: Any, message: str) -> None:
    """NIfTI took it as it was, and DICOM objects put it down to the images' headers."""
    with pytest.raises(UsageError) as refused:
        ScanResult(VOLUME, Segmentation(mask, probability, 0.5), ALGORITHM)
    assert str(refused.value) == message


@pytest.mark.parametrize("text", ["", "a" * 56, "a\\b", "a\n"])
@pytest.mark.parametrize("field", ["name", "version"])
def test_what_no_object_can_hold_is_named(field: str, text: str) -> None:
    given = {"name": "tiny", "version": "1.0", "digest": ""} | {field: text}
    with pytest.raises(UsageError, match=f"algorithm's {field} .*: expected at most 55 printable"):
        Algorithm(**given)


@pytest.mark.parametrize(
    ("found", "dropped", "verdict"),
    [
        (True, 0.24, "FLAIR abnormality - research use only"),
        (True, 0.25, "FLAIR abnormality, incomplete? - research use only"),
        (False, 0.0, "FLAIR abnormality: none found - research use only"),
        (False, 1.0, "FLAIR abnormality: none found? - research use only"),
    ],
)
@pytest.mark.parametrize(("doubts", "prefix"), [((), ""), (("dark",), "No brain MRI? ")])
def test_the_verdict_tells_what_was_found_and_doubts_what_is_no_brain_or_not_all_of_it(
    found: bool, dropped: float, verdict: str, doubts: tuple[str, ...], prefix: str
) -> None:
    shape = VOLUME.pixels.shape[:3]
    segmentation = Segmentation(
        np.full(shape, found), np.zeros(shape), 0.5, doubts=doubts, dropped_fraction=dropped
    )
    verdict = prefix + verdict
    assert ScanResult(VOLUME, segmentation, ALGORITHM).verdict == verdict
    assert len(verdict) <= 64
