"""From a model's name or path to a backend that computes what was measured."""

from __future__ import annotations

import platform
from pathlib import Path

import numpy as np

from lgg_runtime.backends import Backend, BackendSettings, open_backend
from lgg_runtime.cores import available_cores
from lgg_runtime.digests import require_digest
from lgg_runtime.errors import ModelError, OutOfMemoryError
from lgg_runtime.exhausted import SMALLER_MODEL, telling_exhausted_memory
from lgg_runtime.golden import check_golden
from lgg_runtime.loading import REINSTALL, SHIPPED, LoadSettings, find_model, read_sums
from lgg_runtime.providers import ON_GPU
from lgg_runtime.trust import identify_model
from lgg_runtime.volume import CHANNELS

# Processors on which every shipped model was measured, as platform.machine() names them.
_MEASURED_ON = ("x86_64", "AMD64")


@telling_exhausted_memory(SMALLER_MODEL)
def open_model(model: str | Path, settings: LoadSettings) -> tuple[Backend, str, str]:
    """The backend, the SHA-256 of its file, and why it runs where it does.

    A shipped model is known by its digest on processors where it was measured. Any other has to
    answer its golden input, because a few changed bits, or an engine that computes something else,
    make other masks, and no error; not in bf16, which may be further off than its contract allows.
    Raises ModelError for a file that is refused, ProviderError where it cannot run,
    OutOfMemoryError where the memory does not suffice, UsageError for what is no name or path.
    """
    path = find_model(model)
    digest, sidecar_digest = identify_model(path, settings.public_key)
    require_digest(path.name, digest, settings.sha256)
    sums = read_sums()
    if str(model) in SHIPPED and sums.get(path.name) != digest:
        raise ModelError(f"{path.name}: not the file that was shipped; {REINSTALL}")
    # The backend reads the files again, and takes no others than those of these digests.
    chosen = BackendSettings(
        settings.provider,
        settings.threads or available_cores(),
        settings.gpu,
        settings.cpu_precision,
        digest,
        sidecar_digest,
    )
    backend, why = open_backend(path, chosen)
    is_measured = digest in sums.values() and platform.machine() in _MEASURED_ON
    # A GPU's has answered while it was loaded.
    is_known = is_measured or backend.provider in ON_GPU
    if not is_known and settings.cpu_precision == "fp32":
        _require_golden(path.name, backend)
    return backend, digest, why


def _require_golden(name: str, backend: Backend) -> None:
    side, golden = backend.contract.size_multiple, backend.contract.golden
    # A network that takes no such sides, or those of its golden input alone, fails at every slice.
    sides = (side, 2 * side) if golden.shape[1:3] != (side, 2 * side) else (2 * side, side)
    try:
        check_golden(backend.run, golden)
        backend.run(np.zeros((1, *sides, len(CHANNELS)), np.uint8))
    except OutOfMemoryError as error:  # whose remedy is that of a run, and no slice was given yet
        raise OutOfMemoryError(f"{name}: the memory does not suffice; {SMALLER_MODEL}") from error
    except ModelError as error:
        raise ModelError(f"{name}: {error}") from error
