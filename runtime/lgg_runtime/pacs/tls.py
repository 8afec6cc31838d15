"""TLS of the node's two sides, of what it listens on and of a destination that it sends to, and why
it fails, also with a DICOMweb server.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lgg_runtime.errors import UsageError, first_line
from lgg_runtime.extras import import_extra
from lgg_runtime.pacs.config import DAY_SECONDS, Destination, Listen, NodeConfig
from lgg_runtime.plural import count

SOON_DAYS = 30.0
BREAKS_OFF = "cannot be reached, or breaks off"
# OpenSSL's numbers of a certificate that no known authority vouches for.
_UNKNOWN_AUTHORITY = frozenset({18, 19, 20, 21})
_OVER = 10  # of one, which it does not name, among the peer's and those above it
# What OpenSSL tells of a file that is no PEM of what is expected.
_NO_PEM = (None, "NO_CERTIFICATE_OR_CRL_FOUND")
# By the ends of OpenSSL's names of what a peer of DICOM does.
_IN_WORDS = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "it shows no certificate, which client_ca asks for",
    "WRONG_VERSION_NUMBER": "it speaks no TLS",
    "HTTP_REQUEST": "it speaks no TLS",
    "UNSUPPORTED_PROTOCOL": "it knows no TLS of 1.2 or later",
    "ALERT_PROTOCOL_VERSION": "it knows no TLS of 1.2 or later",
    "BAD_RECORD_MAC": "bytes were altered on the way; see to the network and what stands between",
}


def make_server_tls(listen: Listen) -> ssl.SSLContext | None:
    """None without a certificate. Raises UsageError for files that are of no use."""
    if listen.certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        _load_pair(context, listen.certificate, listen.key)
        if listen.client_ca:
            context.load_verify_locations(listen.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as error:
        raise _of_no_use("listen: certificate, key or client_ca", error) from error
    return context


def make_client_tls(destination: Destination) -> ssl.SSLContext | None:
    """None without a file of authorities. Raises UsageError for files that are of no use."""
    if destination.ca is None:
        return None
    try:
        context = ssl.create_default_context(cafile=str(destination.ca))
        if destination.certificate:
            _load_pair(context, destination.certificate, destination.key)
    except (OSError, ssl.SSLError) as error:
        files = f"destination {destination.name}: ca, certificate or key"
        raise _of_no_use(files, error) from error
    return context


def _of_no_use(files: str, error: OSError | ValueError) -> UsageError:
    is_no_pem = isinstance(error, ValueError)
    if isinstance(error, ssl.SSLError):
        is_no_pem = error.reason in _NO_PEM
    remedy = "; expected PEM, as openssl x509 and openssl pkey write it" if is_no_pem else ""
    return UsageError(f"{files} is of no use ({first_line(error)}){remedy}")


def _load_pair(context: ssl.SSLContext, certificate: Path, key: Path | None) -> None:
    """Raises OSError as `load_cert_chain`, also for a key with a passphrase: OpenSSL would ask at
    the terminal for it.
    """

    def refuse() -> str:
        raise OSError("the key has a passphrase; give one without")

    try:
        context.load_cert_chain(certificate, key, password=refuse)
    except ssl.SSLError as error:
        if error.reason != "KEY_VALUES_MISMATCH":
            raise
        raise OSError(
            "the key is of another certificate than the first in the file; the node's own comes "
            "first, then those of authorities"
        ) from error


def read_ends(config: NodeConfig) -> dict[str, float]:
    """When what the node's TLS rests on is over, in seconds since 1970, by the part of the settings
    that names it: certificates that the node shows, of a chain the first one, which is the node's
    own; and files of authorities, of which the last one to end counts. Raises UsageError for a file
    that is of no use, MissingExtraError without `cryptography`.
    """
    x509 = import_extra("cryptography.x509", "node")
    listen = config.listen
    own = {"listen": listen.certificate}
    authorities = {"listen client_ca": listen.client_ca}
    for one in config.destinations:
        own[f"destination {one.name}"] = one.certificate
        authorities[f"destination {one.name} ca"] = one.ca
    ends = {}
    for part, path in own.items():
        if path is None:
            continue
        try:
            shown = x509.load_pem_x509_certificate(path.read_bytes())
        except (OSError, ValueError) as error:
            raise _of_no_use(f"{part}: certificate", error) from error
        ends[part] = shown.not_valid_after_utc.timestamp()
    for part, path in authorities.items():
        if path is not None and (found := _read_ends_of_authorities(part, path)):
            ends[part] = max(found)
    return ends


def _read_ends_of_authorities(part: str, path: Path) -> list[float]:
    """None of a certificate that is trusted as it is, and no authority's."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(path)
    except (OSError, ssl.SSLError) as error:
        raise _of_no_use(part, error) from error
    return [ssl.cert_time_to_seconds(str(one["notAfter"])) for one in context.get_ca_certs()]


def tell_ends(ends: Mapping[str, float], within_days: float = 0.0) -> list[str]:
    """A line for each certificate that is over, or is within so many days."""
    told = []
    for part, end in ends.items():
        days = (end - time.time()) / DAY_SECONDS
        if days <= within_days:
            span = count(int(abs(days)), "day")
            when = f"ends in {span}" if days > 0 else f"ended {span} ago"
            told.append(f"{part}: its certificate {when}; renew it, and restart the node")
    return told


def telling(context: ssl.SSLContext, failures: list[str]) -> ssl.SSLContext:
    """The same context; why a connection does not come about is added to `failures`, for pynetdicom
    keeps it to itself.
    """

    class Telling(ssl.SSLSocket):
        def connect(self, address: Any) -> None:
            try:
                super().connect(address)
            except OSError as error:
                self.close()
                failures.append(_why_no_connection(error))
                raise

    context.sslsocket_class = Telling
    return context


def _why_no_connection(error: OSError) -> str:
    if isinstance(error, ssl.SSLEOFError | ConnectionResetError):
        return "breaks off as TLS begins; see whether it takes TLS at this port"
    if isinstance(error, ssl.SSLError):
        return f"TLS fails: {why_peer_fails(error)}"
    return f"cannot be reached ({error.strerror or 'no answer in time'})"


def why_peer_fails(error: ssl.SSLError) -> str:
    """What a peer of DICOM did, or has, in words."""
    told = error.reason or "no reason given"
    if isinstance(error, ssl.SSLCertVerificationError):
        return _why_untrusted(error, "client_ca, of a destination ca, has to hold its authority")
    if why := next((why for reason, why in _IN_WORDS.items() if told.endswith(reason)), ""):
        return why
    alert = told.partition("_ALERT_")[2].lower().replace("_", " ")
    if "certificate" in alert or alert in ("unknown ca", "handshake failure"):
        return f"it refuses this node's certificate, or asks for one ({alert})"
    return alert or told


def why_no_tls(error: Any) -> str:
    """What ssl says of a DICOMweb server, whose error urllib3 and requests wrap."""
    cause = error
    while isinstance(cause, Exception) and not isinstance(cause, ssl.SSLError):
        cause = getattr(cause, "reason", None) or next(iter(cause.args), None)
    if isinstance(cause, ssl.SSLEOFError):
        return BREAKS_OFF
    if not isinstance(cause, ssl.SSLCertVerificationError):
        told = getattr(cause, "reason", None) or "no reason given"
        return f"TLS fails ({told}); see whether it serves https, and to REQUESTS_CA_BUNDLE"
    return _why_untrusted(cause, "REQUESTS_CA_BUNDLE names a file with its authority")


def _why_untrusted(error: ssl.SSLCertVerificationError, remedy: str) -> str:
    """remedy: for a certificate that no known authority vouches for."""
    told = f"; {remedy}" if error.verify_code in _UNKNOWN_AUTHORITY else ""
    if error.verify_code == _OVER:
        told = ": its own, or its authority's"
    return f"its certificate is not trusted ({error.verify_message.rstrip('.')}){told}"
