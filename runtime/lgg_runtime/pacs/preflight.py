"""What settings point to: the spool's disk, the files of TLS, destinations' addresses and
passwords, the model.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from lgg_runtime.errors import LggError, ResourceError, UsageError
from lgg_runtime.extras import import_extra
from lgg_runtime.loading import LoadSettings, find_model
from lgg_runtime.pacs.config import MIB, MistakesError, Model, NodeConfig
from lgg_runtime.pacs.spool import DATABASE, require_records
from lgg_runtime.pacs.state import State
from lgg_runtime.pacs.tls import SOON_DAYS, make_server_tls, read_ends, tell_ends
from lgg_runtime.pacs.transport import make_transport
from lgg_runtime.segmenter import Segmenter

_PACKAGES = (
    "pydicom",
    "highdicom",
    "pynetdicom",
    "dicomweb_client",
    "prometheus_client",
    "cryptography",
)


def require_packages() -> None:
    """Raises MissingExtraError where the node's extra is not installed as a whole."""
    for module in _PACKAGES:
        import_extra(module, "node")


def load_model(model: Model) -> Segmenter:
    """Raises ModelError for the model or the first look, ProviderError where the provider cannot
    run them.
    """
    settings = LoadSettings(
        provider=model.provider,
        threads=model.threads or None,
        batch=model.batch or None,
        first_look=model.first_look or None,
    )
    return Segmenter.load(model.name, settings)


def _check_disk(config: NodeConfig) -> None:
    """Raises ResourceError for a spool that no start could make or that takes no object: of the
    folder, or of the nearest above it that is there. Whether the node's user may write there is not
    asked: this process may be another's.
    """
    spool, least_mib = config.node.spool, config.limits.free_disk_mib
    # Raises nothing where this process may not look, and sees a link to a disk that is away.
    place = next(folder for folder in (spool, *spool.parents) if os.path.lexists(folder))
    try:
        if not place.is_dir():
            raise ResourceError(f"{place} is no folder")
        disk = os.statvfs(place)
    except OSError as error:
        raise ResourceError(f"{place} cannot be looked at: {error.strerror}") from error
    if disk.f_flag & os.ST_RDONLY:
        raise ResourceError(f"{place} is on a disk that is mounted read-only")
    if disk.f_bavail * disk.f_frsize < least_mib * MIB:
        raise ResourceError(f"less than {least_mib} MiB of disk is free at {place}")


def _check_records(config: NodeConfig) -> None:
    """Raises as `State`, its key and `require_records` for what is there; this process may be one
    that sees nothing.
    """
    spool = config.node.spool
    if os.path.lexists(spool / DATABASE):
        with contextlib.closing(State(spool / DATABASE)) as state:
            _ = state.key
    elif os.access(spool, os.R_OK | os.X_OK):
        require_records(spool)


def check_settings(path: Path, config: NodeConfig) -> list[str]:
    """Open what a node would open at its start, but no port; the model is loaded where all else is
    well, since that may take minutes. Returns a line for each certificate that is over soon.

    Raises MistakesError, and as `require_packages` and `load_model`; path: the settings' file.
    """
    require_packages()
    checks: list[tuple[str, Callable[[], object]]] = [("", partial(make_server_tls, config.listen))]
    for destination in config.destinations:
        checks.append(("", partial(make_transport, destination, config.node.ae_title)))
    checks.append(("node.spool: ", partial(_check_disk, config)))
    checks.append(("node.spool: ", partial(_check_records, config)))
    checks.append(("model.name: ", partial(find_model, config.model.name)))
    if config.model.first_look:
        checks.append(("model.first_look: ", partial(find_model, config.model.first_look)))
    mistakes = []
    for where, check in checks:
        try:
            check()
        except LggError as error:
            mistakes.append(f"{where}{error}")
    with contextlib.suppress(UsageError):  # of a file that is told already
        mistakes += tell_ends(read_ends(config))
    if mistakes:
        raise MistakesError(path, mistakes)
    load_model(config.model)
    return tell_ends(read_ends(config), SOON_DAYS)
