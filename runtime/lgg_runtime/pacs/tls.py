"""TLS of the node's two sides: of what it listens on, and of a destination that it sends to."""

from __future__ import annotations

import ssl

from lgg_runtime.errors import UsageError
from lgg_runtime.pacs.config import Destination, Listen


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
