"""What a compiled engine says about itself, as JSON in the file beside it.

An engine is machine code for some GPUs and one library version, and it is run as it lies there:
the sidecar holds the contract of the model that it was compiled from and everything that the
compilation depended on. Whoever loads an engine compares its digest with the sidecar's first.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lgg_runtime import strict_json
from lgg_runtime.contract import Contract
from lgg_runtime.digests import require_digest
from lgg_runtime.errors import InputError, ModelError, naming
from lgg_runtime.readers.regular import read_bounded
from lgg_runtime.typed_json import build

SCHEMA = 1
SUFFIX = ".json"
MAX_SIDECAR_BYTES = 16 * 2**20
Shape = tuple[int, int, int, int]


@dataclass(frozen=True)
class Profile:
    """The shapes [N, H, W, 3] that an engine was compiled for: smallest, typical, largest."""

    smallest: Shape
    typical: Shape
    largest: Shape

    def holds(self, shape: tuple[int, ...]) -> bool:
        sides = zip(self.smallest, shape, self.largest, strict=True)
        return all(low <= size <= high for low, size, high in sides)


@dataclass(frozen=True)
class EngineKey:
    """All that an engine depends on.

    library: tensorrt or tensorrt-rtx; driver: of the machine that compiled, empty where it had
    none; compute_capabilities: such as SM86, empty for an engine that runs from Ampere (SM80) on;
    precision: the contract's; workspace_bytes: None for the library's own limit;
    model_sha256 and engine_sha256: of the ONNX file and of the engine.
    """

    library: str
    library_version: str
    driver: str
    compute_capabilities: tuple[str, ...]
    precision: str
    profiles: tuple[Profile, ...]
    workspace_bytes: int | None
    model_sha256: str
    engine_sha256: str


@dataclass(frozen=True)
class Tensor:
    """An input or output as the library reported it; -1 is a size that may vary."""

    name: str
    mode: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Sidecar:
    """The whole file: what the engine is, what it was compiled from, and the model's contract.

    golden_difference: of the engine's answer to the golden input, None where no GPU was at hand.
    """

    key: EngineKey
    tensors: tuple[Tensor, ...]
    contract: Contract
    golden_difference: float | None = None

    def dumps(self) -> str:
        body = {
            "schema": SCHEMA,
            "key": asdict(self.key),
            "tensors": [asdict(tensor) for tensor in self.tensors],
            "golden_difference": self.golden_difference,
            "contract": self.contract.to_json(),
        }
        return json.dumps({**body, "sidecar_sha256": _digest_of(body)}, indent=1) + "\n"

    @classmethod
    def loads(cls, text: str) -> Sidecar:
        """Raises ModelError, naming what is wrong, for anything that is not a whole sidecar."""
        try:
            body = strict_json.loads(text)
            claimed = body.pop("sidecar_sha256")
            if body["schema"] != SCHEMA:
                raise ModelError(f"expected schema {SCHEMA}, found {body['schema']}")
            if claimed != _digest_of(body):
                raise ModelError("its digest does not fit its content; it was changed")
            return cls(
                build(EngineKey, body["key"], "key"),
                tuple(build(Tensor, each, "tensors") for each in body["tensors"]),
                Contract.loads(json.dumps(body["contract"])),
                body["golden_difference"],
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ModelError(f"a field is missing or of the wrong kind ({error})") from error


def sidecar_path(engine: Path) -> Path:
    """MODEL.engine -> MODEL.engine.json."""
    return engine.with_name(engine.name + SUFFIX)


def read_sidecar(engine: Path, sha256: str | None = None) -> Sidecar:
    """The sidecar of an engine file. Raises ModelError where it is missing, damaged, or has
    another digest than the one given.
    """
    path = sidecar_path(engine)
    try:
        data = read_bounded(path, MAX_SIDECAR_BYTES)
        text = data.decode("utf-8")
    except (InputError, UnicodeDecodeError) as error:
        raise ModelError(
            f"{engine.name}: its sidecar {path.name} cannot be read; keep the two files together"
        ) from error
    require_digest(path.name, hashlib.sha256(data).hexdigest(), sha256)
    with naming(path.name, ModelError):
        return Sidecar.loads(text)


def read_engine(
    path: Path, sha256: str | None = None, sidecar_sha256: str | None = None
) -> tuple[bytes, Sidecar]:
    """The bytes of an engine whose digest stands in its sidecar, before anyone parses them.

    sha256, sidecar_sha256: the digests that the two files must have, None for any. Raises
    ModelError for an engine that was changed or has another engine's sidecar.
    """
    sidecar = read_sidecar(path, sidecar_sha256)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: cannot be opened: {error.strerror}") from error
    found = hashlib.sha256(data).hexdigest()
    require_digest(path.name, found, sha256)
    if found != sidecar.key.engine_sha256:
        raise ModelError(
            f"{path.name}: its digest {found[:12]} is not the {sidecar.key.engine_sha256[:12]} of "
            f"{sidecar_path(path).name}: changed, or another engine's sidecar; build it again"
        )
    return data, sidecar


def choose_profile(profiles: tuple[Profile, ...], shape: tuple[int, ...]) -> tuple[int, int]:
    """The first profile that holds the shape [N, H, W, 3], else the one that holds most slices of
    it: its number, and how many slices to run. Raises ModelError for a size that none holds.
    """
    counts = [
        min(shape[0], profile.largest[0]) if profile.holds((1, *shape[1:])) else 0
        for profile in profiles
    ]
    most = max(counts, default=0)
    if most == 0:
        sides = ", ".join(f"{p.largest[1]}x{p.largest[2]}" for p in profiles)
        raise ModelError(
            f"slices of {shape[1]}x{shape[2]}: this engine holds up to {sides}; "
            "build one with a larger --size"
        )
    return counts.index(most), most


def _digest_of(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
