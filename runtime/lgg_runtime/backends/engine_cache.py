"""Where onnxruntime's TensorRT provider keeps compiled engines: a folder for each whole key.

An engine is machine code, so what lies in a folder is loaded only with the digest it was left with.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from lgg_runtime import strict_json
from lgg_runtime.digests import digest_file
from lgg_runtime.errors import ModelError
from lgg_runtime.sidecar import Profile
from lgg_runtime.writers.atomic import make_folder, remove, telling_refusal, write_atomically

_KEY, _DIGESTS = "key.json", "digests.json"
_OWNER_ONLY = 0o700


@dataclass(frozen=True)
class CacheKey:
    """All that a compiled engine depends on; a change of any gives another folder."""

    model_sha256: str
    onnxruntime: str
    tensorrt: str
    driver: str
    compute_capability: str
    precision: str
    profile: Profile

    def dumps(self) -> str:
        return json.dumps(asdict(self), indent=1, sort_keys=True) + "\n"

    @property
    def name(self) -> str:
        return hashlib.sha256(self.dumps().encode()).hexdigest()[:32]


def default_cache() -> Path:
    """The user's cache folder, by XDG_CACHE_HOME where it is set."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "lgg-edge" / "tensorrt"


def open_folder(base: Path, key: CacheKey) -> tuple[Path, bool]:
    """The key's folder, and whether engines lie ready in it.

    What an interrupted compilation left is removed. Raises ModelError where a file is not as it
    was left, ResourceError where the folder cannot be made.
    """
    folder = base / key.name
    make_folder(folder)
    with telling_refusal(folder):  # another user's
        folder.chmod(_OWNER_ONLY)
    digests = folder / _DIGESTS
    if not digests.is_file():
        for path in _engines(folder):
            remove(path)
        write_atomically(folder / _KEY, key.dumps().encode())
        return folder, False
    known = _read_digests(digests)
    for path in _engines(folder):
        if known.get(path.name) != digest_file(path):
            raise _changed(path)
    return folder, True


def seal_folder(folder: Path) -> None:
    """Record the digest of every file that the provider left in the folder."""
    digests = {path.name: digest_file(path) for path in _engines(folder)}
    write_atomically(folder / _DIGESTS, json.dumps(digests, indent=1).encode())


def _read_digests(path: Path) -> dict[str, str]:
    try:
        known = strict_json.loads(path.read_text(encoding="utf-8"))
    except (ModelError, OSError, UnicodeDecodeError) as error:
        raise _changed(path) from error
    if not isinstance(known, dict):
        raise _changed(path)
    return known


def _changed(path: Path) -> ModelError:
    return ModelError(
        f"{path}: was changed after it was compiled; delete the folder to compile again"
    )


def _engines(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_file() and p.name not in (_KEY, _DIGESTS))
