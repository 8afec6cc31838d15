"""What settings point to: the files of TLS, destinations' addresses and passwords, the model."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from lgg_runtime.errors import LggError
from lgg_runtime.extras import import_extra
from lgg_runtime.loading import LoadSettings, find_model
from lgg_runtime.pacs.config import MistakesError, Model, NodeConfig
from lgg_runtime.pacs.tls import make_server_tls
from lgg_runtime.pacs.transport import make_transport
from lgg_runtime.segmenter import Segmenter

_PACKAGES = ("pydicom", "highdicom", "pynetdicom", "dicomweb_client", "prometheus_client")


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


def check_settings(path: Path, config: NodeConfig) -> None:
    """Open what a node would open at its start, but no port; the model is loaded where all else is
    well, since that may take minutes. Raises MistakesError, and as
    `require_packages` and `load_model`; path: the settings' file.
    """
    require_packages()
    checks: list[tuple[str, Callable[[], object]]] = [("", partial(make_server_tls, config.listen))]
    for destination in config.destinations:
        checks.append(("", partial(make_transport, destination, config.node.ae_title)))
    checks.append(("model.name: ", partial(find_model, config.model.name)))
    if config.model.first_look:
        checks.append(("model.first_look: ", partial(find_model, config.model.first_look)))
    mistakes = []
    for where, check in checks:
        try:
            check()
        except LggError as error:
            mistakes.append(f"{where}{error}")
    if mistakes:
        raise MistakesError(path, mistakes)
    load_model(config.model)
