"""Detached Ed25519 signatures of models: whoever holds the public key knows who exported them.

`MODEL.sig` holds 64 bytes: the signature of the 64 hexadecimal digits of the file's SHA-256. For
an engine it is its sidecar that is signed, which holds the engine's digest.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from lgg_runtime.errors import InputError, ModelError, UsageError
from lgg_runtime.extras import import_extra
from lgg_runtime.readers.regular import open_regular, read_bounded
from lgg_runtime.sidecar import sidecar_path

SUFFIX = ".sig"
MAX_BYTES = 2**16  # of a signature, and of a key


def signed_file(model: Path) -> Path:
    """The file whose digest a model's signature is of."""
    return sidecar_path(model) if model.suffix.lower() == ".engine" else model


def signature_path(model: Path) -> Path:
    """MODEL.onnx -> MODEL.onnx.sig, MODEL.engine -> MODEL.engine.json.sig."""
    signed = signed_file(model)
    return signed.with_name(signed.name + SUFFIX)


def digest_line(path: Path) -> bytes:
    """What is signed: the file's SHA-256 in hexadecimal digits. Raises ModelError without it."""
    try:
        with open_regular(path) as (handle, _), open(handle, "rb", closefd=False) as file:
            return hashlib.file_digest(file, "sha256").hexdigest().encode()
    except InputError as error:
        raise ModelError(f"{path.name}: {error}") from error


def identify_model(path: Path, public_key: str | Path | None) -> tuple[str, str | None]:
    """SHA-256 of the model's file, and of its sidecar where that is what the key must have signed.

    What was signed is not digested a second time: it might be another file by then. Raises as
    `require_signature`.
    """
    if public_key is None:
        return digest_line(path).decode(), None
    signed = require_signature(path, public_key)
    if signed_file(path) == path:
        return signed, None
    return digest_line(path).decode(), signed


def require_signature(model: Path, public_key: str | Path) -> str:
    """The digest that the signature beside the model is of: whoever reads the signed file again
    has to compare its own.

    Raises ModelError unless the signature is of that key and this file, UsageError for a file that
    is no public key, MissingExtraError without `cryptography`.
    """
    public_key = Path(public_key)
    key, invalid = _load_key(public_key)
    path = signature_path(model)
    try:
        signature = read_bounded(path, MAX_BYTES)
    except InputError as error:
        raise ModelError(
            f"{model.name}: its signature {path.name} cannot be read; sign it with lgg-export sign"
        ) from error
    digest = digest_line(signed_file(model))
    try:
        key.verify(signature, digest)
    except invalid as error:
        raise ModelError(
            f"{model.name}: {path.name} is no signature of this file by {public_key.name}"
        ) from error
    return digest.decode()


def read_key(path: Path) -> bytes:
    """A key's file. Raises UsageError for one that is not there or cannot be read."""
    try:
        return read_bounded(path, MAX_BYTES)
    except InputError as error:
        named = path.name or "key of no name"  # as a variable that is not set gives it
        raise UsageError(f"{named}: {error}") from error


def _load_key(path: Path) -> tuple[Any, type[Exception]]:
    """The key, and what it raises for a signature that is not its own."""
    serialization = import_extra("cryptography.hazmat.primitives.serialization", "signing")
    ed25519 = import_extra("cryptography.hazmat.primitives.asymmetric.ed25519", "signing")
    exceptions = import_extra("cryptography.exceptions", "signing")
    wanted = f"{path.name}: expected an Ed25519 public key in PEM; openssl pkey -pubout writes it"
    try:
        key = serialization.load_pem_public_key(read_key(path))
    except (ValueError, exceptions.UnsupportedAlgorithm) as error:
        raise UsageError(wanted) from error
    if not isinstance(key, ed25519.Ed25519PublicKey):
        raise UsageError(wanted)
    return key, exceptions.InvalidSignature
