"""Sign a model with an Ed25519 key, for `lgg-infer --require-signature`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lgg_runtime.backends.model_file import require_model_file
from lgg_runtime.errors import UsageError
from lgg_runtime.extras import import_extra
from lgg_runtime.trust import digest_line, read_key, signature_path, signed_file
from lgg_runtime.writers.atomic import write_atomically


def sign_model(model: Path, private_key: Path) -> tuple[Path, str]:
    """Write the signature beside the model: its path, and the digest that was signed.

    Raises ModelError for a model that is not there, UsageError for what is no private key or cannot
    be read, MissingExtraError without `cryptography`.
    """
    require_model_file(model)
    digest = digest_line(signed_file(model))
    path = signature_path(model)
    write_atomically(path, _load_key(private_key).sign(digest))
    return path, digest.decode()


def _load_key(path: Path) -> Any:
    serialization = import_extra("cryptography.hazmat.primitives.serialization", "signing")
    ed25519 = import_extra("cryptography.hazmat.primitives.asymmetric.ed25519", "signing")
    exceptions = import_extra("cryptography.exceptions", "signing")
    wanted = (
        f"{path.name}: expected an Ed25519 private key in PEM without a password; "
        "openssl genpkey -algorithm ed25519 makes one"
    )
    try:
        key = serialization.load_pem_private_key(read_key(path), password=None)
    except (TypeError, ValueError, exceptions.UnsupportedAlgorithm) as error:
        raise UsageError(wanted) from error
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise UsageError(wanted)
    return key
