"""Which model to load, and how it runs."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from numbers import Integral, Real
from pathlib import Path
from types import NoneType

from lgg_runtime.backends import GpuSettings
from lgg_runtime.backends.model_file import is_model_file
from lgg_runtime.backends.settings import Kinds, require_kinds
from lgg_runtime.contract import LEAST_THRESHOLD
from lgg_runtime.cores import MOST_THREADS
from lgg_runtime.errors import ModelError, UsageError
from lgg_runtime.providers import PROVIDERS

_WEIGHTS, _SUMS = Path(__file__).parent / "weights", "SHA256SUMS"
REINSTALL = "install lgg-edge again"
_MOST_SLICES = 1024  # of a batch
SHIPPED = ("standard", "standard-int8", "lite", "lite-int8", "tiny", "tiny-int8")


@dataclass(frozen=True)
class LoadSettings:
    """How to run a model.

    provider: cpu, openvino, cuda, tensorrt or auto; threads: None for all cores that this process
    may use; batch: slices a run, None for what suits the provider; threshold: None for the
    contract's; flair_only: FLAIR in place of the other sequences; crop: run the box of the volume's
    head alone; first_look: a quick model's name or path, which decides on which slices the model
    runs at all, None for all of them; gpu: what only a GPU needs; cpu_precision: fp32, or bf16 with
    openvino; sha256, first_look_sha256: the digests that the two must have, in hexadecimal digits,
    None for any; public_key: the file of the Ed25519 key that must have signed both, None for no
    signature.
    """

    provider: str = "cpu"
    threads: int | None = None
    batch: int | None = None
    threshold: float | None = None
    flair_only: bool = False
    crop: bool = False
    first_look: str | Path | None = None
    gpu: GpuSettings = field(default_factory=GpuSettings)
    cpu_precision: str = "fp32"
    sha256: str | None = None
    first_look_sha256: str | None = None
    public_key: str | Path | None = None

    def __post_init__(self) -> None:
        if self.provider not in PROVIDERS:
            raise UsageError(f"provider {self.provider!r}: expected {', '.join(PROVIDERS)}")
        require_kinds(self, _KINDS)
        bounds = (("threads", self.threads, MOST_THREADS), ("batch", self.batch, _MOST_SLICES))
        for name, count, most in bounds:
            if count is not None and not 1 <= count <= most:
                raise UsageError(f"{name} {count}: expected a whole number from 1 to {most}")
        if self.threshold is not None and not LEAST_THRESHOLD <= self.threshold < 1:
            raise UsageError(
                f"threshold {self.threshold}: expected from {LEAST_THRESHOLD:f} to below 1"
            )
        digests = {"model": self.sha256, "first look": self.first_look_sha256}
        for name, digest in digests.items():
            if digest is not None and not re.fullmatch(r"[0-9A-Fa-f]{64}", digest):
                raise UsageError(
                    f"{name} SHA-256: expected 64 hexadecimal digits, as sha256sum prints"
                )
        if self.first_look_sha256 is not None and self.first_look is None:
            raise UsageError("a first look's SHA-256, and no first look")


_KINDS: Kinds = {
    "threads": ((Integral, NoneType), "a whole number"),
    "batch": ((Integral, NoneType), "a whole number"),
    "threshold": ((Real, NoneType), "a number"),
    "flair_only": ((bool,), "True or False"),
    "crop": ((bool,), "True or False"),
    "first_look": ((str, Path, NoneType), "a name or a path"),
    "gpu": ((GpuSettings,), "GpuSettings"),
    "sha256": ((str, NoneType), "text"),
    "first_look_sha256": ((str, NoneType), "text"),
    "public_key": ((str, Path, NoneType), "a path"),
}


def find_model(model: str | Path) -> Path:
    """The file of a shipped model's name or of a path. Raises ModelError where there is none,
    UsageError for what is neither.
    """
    if not isinstance(model, (str, Path)):
        raise UsageError(f"model {model!r}: expected a name or a path")
    if str(model) in SHIPPED:
        path = _WEIGHTS / f"{model}.onnx"
        if not path.is_file():
            raise ModelError(
                f"the shipped model {model!r} is not in this installation; {REINSTALL}"
            )
        return path
    if not is_model_file(Path(model)):
        if str(model) and Path(model).is_dir():
            raise ModelError(f"{model}: a folder; of a training run's, lgg-export makes a model")
        named = str(model) or "model of no name"  # as a variable that is not set gives it
        raise ModelError(f"{named}: no such model; expected a file or {' or '.join(SHIPPED)}")
    return Path(model)


def read_sums() -> dict[str, str]:
    """SHA-256 of the shipped models by file name, as sha256sum wrote them beside the files.

    Raises ModelError where they are missing or damaged.
    """
    try:
        lines = (_WEIGHTS / _SUMS).read_text("ascii").splitlines()
        return {name: digest for digest, name in (line.split("  ", 1) for line in lines)}
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{_SUMS} of the shipped models is missing or damaged; {REINSTALL}"
        ) from error
