"""TLS of the node's two sides, of what it listens on and of a destination that it sends to, and why
that of a DICOMweb server fails.
"""

from __future__ import annotations

import ssl
from typing import Any

from lgg_runtime.errors import UsageError
from lgg_runtime.pacs.config import Destination, Listen

BREAKS_OFF = "cannot be reached, or breaks off"
# OpenSSL's numbers of a certificate that no known authority vouches for.
_UNKNOWN_AUTHORITY = frozenset({18, 19, 20, 21})


def make_server_tls(listen: Listen) -> ssl.SSLContext | None:
    """None without a certificate. Raises UsageError for files that are of no use."""
    if listen.certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(listen.certificate, listen.key)
        if listen.client_ca:
            context.load_verify_locations(listen.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as error:
        raise UsageError(f"listen: certificate, key or client_ca is of no use ({error})") from error
    return context


def make_client_tls(destination: Destination) -> ssl.SSLContext | None:
    """None without a file of authorities. Raises UsageError for files that are of no use."""
    if destination.ca is None:
        return None
    try:
        context = ssl.create_default_context(cafile=str(destination.ca))
        if destination.certificate:
            context.load_cert_chain(destination.certificate, destination.key)
    except (OSError, ssl.SSLError) as error:
        raise UsageError(
            f"destination {destination.name}: ca, certificate or key is of no use ({error})"
        ) from error
    return context


def why_no_tls(error: Any) -> tuple[str, bool]:
    """What ssl says, whose error urllib3 and requests wrap, and whether it may pass."""
    cause = error
    while isinstance(cause, Exception) and not isinstance(cause, ssl.SSLError):
        cause = getattr(cause, "reason", None) or next(iter(cause.args), None)
    if isinstance(cause, ssl.SSLEOFError):
        return BREAKS_OFF, True
    if not isinstance(cause, ssl.SSLCertVerificationError):
        told = getattr(cause, "reason", None) or "no reason given"
        return f"TLS fails ({told}); see whether it serves https, and to REQUESTS_CA_BUNDLE", False
    is_unknown = cause.verify_code in _UNKNOWN_AUTHORITY
    remedy = "; REQUESTS_CA_BUNDLE names a file with its authority" if is_unknown else ""
    return f"its certificate is not trusted ({cause.verify_message.rstrip('.')}){remedy}", False
