"""What every library that opens an artifact must find in it, and what every run must answer."""

from __future__ import annotations

from pathlib import Path

from lgg_runtime.contract import INPUT, OUTPUT, Contract
from lgg_runtime.errors import ModelError, naming
from lgg_runtime.volume import Pixels, Probability

TensorType = tuple[str, str, int]


def accept_artifact(
    path: Path, text: str | None, found: list[TensorType], types: tuple[str, str]
) -> Contract:
    """The contract of an ONNX file that a library has opened.

    text: the contract as its metadata hold it, None where they do not; found: name, type and
    number of axes of each input and then output; types: the library's names of uint8 and float32.
    Raises ModelError where one of them is not as it must be.
    """
    if text is None:
        raise ModelError(f"{path.name}: no contract in its metadata; export it with lgg-export")
    with naming(path.name, ModelError):
        contract = Contract.loads(text)
    expected = [(INPUT, types[0], 4), (OUTPUT, types[1], 3)]
    if found != expected:
        raise ModelError(f"{path.name}: expected inputs and outputs {expected}, found {found}")
    return contract


def require_probability(probability: Probability, slices: Pixels) -> None:
    """Raises ModelError where the output is not a number in 0..1 for each pixel."""
    if probability.shape != slices.shape[:3]:
        raise ModelError(f"the model gives {probability.shape} for slices {slices.shape}")
    if not (probability.min() >= 0 and probability.max() <= 1):  # false for NaN as well
        raise ModelError("the model's output is no number in 0..1 for this input")
