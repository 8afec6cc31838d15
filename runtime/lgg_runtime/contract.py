"""What an artifact says about itself, as one JSON value in its metadata.

The ONNX graph takes `slices`, uint8 [N, H, W, 3], and gives `probability`, float32 [N, H, W].
Everything else that a host must know to get the measured quality stands here.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from lgg_runtime import strict_json
from lgg_runtime.cleanup import CleanupSettings
from lgg_runtime.crop import CropSettings
from lgg_runtime.errors import ModelError, naming
from lgg_runtime.intensity import IntensitySettings
from lgg_runtime.model_name import USABLE_NAME, is_usable_name
from lgg_runtime.notice import LICENCE, RESEARCH_ONLY
from lgg_runtime.plausibility import PlausibilitySettings
from lgg_runtime.typed_json import build
from lgg_runtime.volume import CHANNELS

SCHEMA = 1
METADATA_KEY = "lgg_contract"
INPUT, OUTPUT = "slices", "probability"
# Largest multiple that height and width may have to be of, and the golden tolerance of int8.
MOST_MULTIPLE = 512
MOST_TOLERANCE = 0.2
# At 0 everything is tumour, and a number near it is 0 among float32 probabilities.
LEAST_THRESHOLD = 1e-6
# The training slices are 256 x 256 pixels and say no size. 240 mm / 256 is the commonest field of
# view for them, and fits: the median length of their heads is 204 pixels, which makes 191 mm.
TRAINED_PIXEL_MM = 0.9375
PIXEL_MM = (0.05, 20)  # least and most: a head is thousands of pixels, or ten
INTENDED_USE = (
    "Research on segmentation of the FLAIR abnormality of lower-grade glioma in brain MRI; "
    + RESEARCH_ONLY
)


@dataclass(frozen=True)
class Training:
    """What the weights were trained on: digests and counts, no patient.

    data: SHA-256 over the pixels of all cases; split: SHA-256 of the split file;
    split_by: patient, slice or all; patients: how many of them in each part.
    """

    data: str
    split: str
    split_by: str
    patients: dict[str, int]


@dataclass(frozen=True)
class Golden:
    """An input made by a formula and what the artifact answers to it, to check a host with.

    The input has the given shape (N, H, W, 3); all divisions are whole. With r the lesser of H and
    W, dy = y - H/2 and dx = x - W/2, slice n, row y and column x are head where
    dx^2 + dy^2 < (7r/16)^2, and lesion where (dx - r/8)^2 + (dy + r/16)^2 < (r/8)^2. Its value is
    `(7 n + 7 y + 13 x + x y / 8) mod 32`, plus 192 in channel 1 of the lesion, else plus 64 in the
    head, and 0 outside of it. `samples` are probabilities at rows and columns 0, 16, 32, ... of
    slice 0, row by row.
    """

    shape: tuple[int, ...]
    input_sha256: str
    output_sha256: str
    samples: tuple[float, ...]
    tolerance: float


@dataclass(frozen=True)
class Contract:
    """The contract of one artifact.

    precision: arithmetic of the graph; threshold: probability at and above which a pixel is
    tumour; crop, plausibility: the defaults where the artifact does not state them;
    how_decided: how threshold and clean-up were chosen; metrics: of the PyTorch model, by part of
    the split; parity: the report of the export's gate; pixel_mm: side of a pixel that the model
    was trained on, to which slices of another scale are brought; licence: terms of the weights.
    """

    name: str
    precision: str
    threshold: float
    intensity: IntensitySettings
    cleanup: CleanupSettings
    training: Training
    golden: Golden
    how_decided: str
    tool_version: str
    crop: CropSettings = field(default_factory=CropSettings)
    plausibility: PlausibilitySettings = field(default_factory=PlausibilitySettings)
    metrics: dict[str, Any] = field(default_factory=dict)
    parity: dict[str, Any] = field(default_factory=dict)
    channels: tuple[str, ...] = CHANNELS
    size_multiple: int = 16
    pixel_mm: float = TRAINED_PIXEL_MM
    licence: str = LICENCE
    intended_use: str = INTENDED_USE
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        if self.schema != SCHEMA:
            raise ModelError(f"contract: expected schema {SCHEMA}, found {self.schema}")
        if not LEAST_THRESHOLD <= self.threshold < 1:
            raise ModelError(
                f"contract: threshold {self.threshold} is not from {LEAST_THRESHOLD:f} to below 1"
            )
        if self.channels != CHANNELS:
            raise ModelError(f"contract: expected channels {CHANNELS}, found {self.channels}")
        if not is_usable_name(self.name):
            raise ModelError(f"contract: name: expected {USABLE_NAME}")
        _check_constants(self)

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def dumps(self) -> str:
        return json.dumps(self.to_json(), sort_keys=True)

    @classmethod
    def loads(cls, text: str) -> Contract:
        """Raises ModelError, naming the field, for anything that is not a contract."""
        with naming("contract", ModelError):
            value = strict_json.loads(text)
        for where, part in _texts(value, "contract"):
            if not part.isprintable():
                raise ModelError(f"{where}: expected printable characters alone")
        return build(cls, value, "contract")


def _texts(value: Any, where: str) -> Iterator[tuple[str, str]]:
    """Every text in parsed JSON, names of fields too, and where it stands."""
    if isinstance(value, str):
        yield where, value
    elif isinstance(value, list):
        for entry in value:
            yield from _texts(entry, where)
    elif isinstance(value, dict):
        for name, entry in value.items():
            yield where, name
            yield from _texts(entry, f"{where}.{name}")


def _check_constants(contract: Contract) -> None:
    """Raises ModelError for a constant that gives no picture, or another than was meant."""
    cleanup, crop = contract.cleanup, contract.crop
    within = (
        ("size_multiple", contract.size_multiple, 1, MOST_MULTIPLE),
        ("golden.tolerance", contract.golden.tolerance, 0, MOST_TOLERANCE),
        ("pixel_mm", contract.pixel_mm, *PIXEL_MM),
        ("cleanup.smallest_fraction", cleanup.smallest_fraction, 0, 1),
        ("cleanup.smallest_voxels", cleanup.smallest_voxels, 0, math.inf),
        ("crop.line_fraction", crop.line_fraction, 0, 0.5),
        ("crop.margin", crop.margin, 0, math.inf),
        ("crop.step", crop.step, 1, math.inf),
    )
    for name, bounds in vars(contract.plausibility).items():
        if len(bounds) not in (2, 4) or list(bounds) != sorted(bounds):
            raise ModelError(f"contract.plausibility.{name}: expected 2 or 4 bounds that rise")
    check_intensity(contract.intensity, "contract.intensity")
    _require_within("contract", within)


def check_intensity(settings: IntensitySettings, where: str = "intensity") -> None:
    """Raises ModelError for a constant of which normalisation makes no picture."""
    within = (
        ("centre", settings.centre, 0, 255),
        ("scale", settings.scale, 1e-3, 255),
        ("head_fraction", settings.head_fraction, 0, 1),
        ("bright_percentile", settings.bright_percentile, 0, 100),
        ("smallest_spread", settings.smallest_spread, 1e-6, 1),
    )
    _require_within(where, within)


def _require_within(where: str, within: Iterable[tuple[str, float, float, float]]) -> None:
    """Raises ModelError for a value, by its name, that is not from its lowest to its highest."""
    for name, value, low, high in within:
        if not low <= value <= high:
            raise ModelError(f"{where}.{name}: expected {low} to {high}, found {value}")
