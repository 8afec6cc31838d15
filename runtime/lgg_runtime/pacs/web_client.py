"""A client of a DICOMweb server: who asks, how many bytes may come, what goes wrong, in words.

Nothing is logged, and messages name the server by its host alone: addresses and answers of these
services hold UIDs.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lgg_runtime.errors import UsageError, printable
from lgg_runtime.extras import import_extra, keep_silent
from lgg_runtime.pacs.tls import BREAKS_OFF, why_no_tls
from lgg_runtime.pacs.web_answers import Budget, Failure, kind_of
from lgg_runtime.pacs.web_connection import patient_adapter
from lgg_runtime.readers.dicom_files import DAMAGE, load_pydicom

_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504, 507})
_REFUSES_USER = frozenset({401, 403})
# PS3.18, 10.5.3: how a server says what it stored.
_STORED_AS = frozenset(
    {"application/dicom+json", "application/json", "application/dicom+xml", "application/xml"}
)
_NO_BUNDLE = "REQUESTS_CA_BUNDLE: names no file that is there"


@dataclass(frozen=True)
class WebServer:
    """Where the services are and who asks; raises UsageError for an address that cannot be, and for
    a user and a token together, a password alone, characters that HTTP does not carry, or
    authorities that are not there.

    url: of the three services, http or https; user and password, or token, are sent where they
    are set, and else what netrc holds for the host; timeout_s: of a connection, of each wait to
    send, and of the waits for an answer; user_settings: where the user is set, for messages.
    """

    url: str
    user: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    timeout_s: float = 60.0
    user_settings: str = "LGG_DICOMWEB_USER and LGG_DICOMWEB_PASSWORD, or LGG_DICOMWEB_TOKEN"

    def __post_init__(self) -> None:
        if why := _why_no_address(self.url):
            raise UsageError(f"DICOMweb address: {why}; expected e.g. http://host:8042/dicom-web")
        if why := _why_nobody(self):
            raise UsageError(f"{self.user_settings}: {why}")
        if self.lacks_bundle:
            raise UsageError(_NO_BUNDLE)

    @property
    def name(self) -> str:
        """Host and port, as messages may name it."""
        return urlsplit(self.url).netloc

    @property
    def lacks_bundle(self) -> bool:
        """Whether the authorities to trust are named and not there."""
        bundle = os.environ.get("REQUESTS_CA_BUNDLE", "")
        return bool(bundle and urlsplit(self.url).scheme == "https" and not Path(bundle).exists())


@contextmanager
def open_session(server: WebServer, most_bytes: int, failure: Failure) -> Iterator[Any]:
    """A session of requests; an error of the server is raised as `failure`.

    So are answers that hold more than `most_bytes` together, and redirects: nobody but the server
    is asked, and a POST would be followed as a GET, whose answer says nothing of the object.
    """
    requests = import_extra("requests", "dicomweb")
    if server.lacks_bundle:
        raise failure(f"{server.name}: {_NO_BUNDLE} any more", True)
    for name in ("dicomweb_client", "urllib3", "requests"):
        keep_silent(name)  # their lines and warnings hold addresses with UIDs
    budget = Budget(server.name, most_bytes, failure)
    adapter = patient_adapter(requests.adapters.HTTPAdapter)
    with requests.Session() as session, closing(budget), _refusals(server, failure):
        for scheme in ("http://", "https://"):
            session.mount(scheme, adapter)
        if server.user:
            session.auth = (server.user.encode(), server.password.encode())  # RFC 7617, 2.1
        if server.token:  # as a header of the session, netrc would replace it
            session.auth = functools.partial(_bear, server.token)
        session.hooks["response"] += [budget.watch, functools.partial(_judge, server, failure)]
        yield session


@contextmanager
def connect(server: WebServer, most_bytes: int, failure: Failure) -> Iterator[Any]:
    """A client without retries, over a session as of `open_session`."""
    package = import_extra("dicomweb_client", "dicomweb")
    load_pydicom()
    with open_session(server, most_bytes, failure) as session:
        url = server.url.rstrip("/")
        client = package.DICOMwebClient(url, session=session, timeout=server.timeout_s)
        client.set_http_retry_params(retry=False)
        yield client


def _bear(token: str, request: Any) -> Any:
    request.headers["Authorization"] = f"Bearer {token}"
    return request


def _judge(server: WebServer, failure: Failure, answer: Any, **_: Any) -> Any:
    """A hook of requests: refuses what dicomweb_client would take for a good answer."""
    status = int(answer.status_code)
    if 300 <= status < 400:
        remedy = "give the address that it leads to, or a user that it knows"
        raise failure(f"{server.name}: answers with a redirect ({status}); {remedy}")
    if answer.request.method == "POST" and answer.ok:
        kind = kind_of(answer)
        if answer.content and kind not in _STORED_AS:
            raise failure(f"{server.name}: its answer is no DICOMweb")
        answer.headers["Content-Type"] = kind  # dicomweb_client compares it as a whole
    return answer


@contextmanager
def _refusals(server: WebServer, failure: Failure) -> Iterator[None]:
    """What goes wrong with a server as one line, without the cause: that holds addresses."""
    errors = import_extra("requests", "dicomweb").exceptions
    not_dicom = import_extra("pydicom", "dicom").errors.InvalidDicomError
    try:
        yield
    except errors.HTTPError as error:
        status = int(error.response.status_code)
        why = _in_words(status, server.user_settings)
        # A user who may not store: passing too. One who may not ask may be let store.
        is_refused = status in _REFUSES_USER and error.request.method == "POST"
        raise failure(f"{server.name}: {why}", is_refused or status in _PASSING) from None
    except errors.Timeout:
        raise failure(f"{server.name}: no answer within {server.timeout_s:g} s", True) from None
    except errors.SSLError as error:
        # Passing too: no other result would be taken until a certificate is renewed.
        raise failure(f"{server.name}: {why_no_tls(error)}", True) from None
    except (errors.JSONDecodeError, errors.InvalidURL, errors.InvalidSchema):
        raise failure(f"{server.name}: its answer is no DICOMweb") from None
    except errors.RequestException as error:
        raise failure(f"{server.name}: {_why_cut(error, server.timeout_s)}", True) from None
    # RecursionError too, of sequences nested too deeply; SyntaxError is what broken XML raises.
    except (not_dicom, SyntaxError, *DAMAGE):
        raise failure(f"{server.name}: its answer is no DICOMweb, or damaged DICOM") from None


def _why_cut(error: BaseException | None, timeout_s: float) -> str:
    """By what lies under an error of requests, which takes a stall for a lost connection."""
    errors = import_extra("urllib3", "dicomweb").exceptions
    place = ""
    while error is not None:
        if isinstance(error, TimeoutError):
            return f"stalls for {timeout_s:g} s in the middle of a transfer"
        if isinstance(error, errors.ProxyError):
            place = "the proxy that the environment names "
        under = error.__cause__ or error.__context__
        if isinstance(error, errors.NewConnectionError) and isinstance(under, OSError):
            return f"{place}cannot be reached ({under.strerror})"
        error = under
    return BREAKS_OFF


def _in_words(status: int, user_settings: str) -> str:
    if status in _REFUSES_USER:
        return f"refuses the user ({status}); set {user_settings}"
    if status == 404:
        return "knows no such study, or has no DICOMweb at this address (404)"
    return f"answers with HTTP status {status}"


def _why_no_address(url: str) -> str:
    """Why a URL is none of a DICOMweb server, empty where it may be; it is not repeated here."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return "not a URL"
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return "not a URL of http or https"
    if parts.username or parts.password:
        return "holds a user or a password, which do not belong there"
    if parts.query or parts.fragment:
        return "ends with a query"
    if ":" in parts.hostname:
        return "an IPv6 address is not supported; give a name"
    return "" if printable(url) == url else "holds characters that no URL has"


def _why_nobody(server: WebServer) -> str:
    """Why nobody can be told to ask, empty where somebody can; no value is repeated."""
    if server.user and server.token:
        return "a user and a token; set one of them"
    if server.password and not server.user:
        return "a password without a user"
    if ":" in server.user:
        return "the user holds a colon, after which a password would begin"
    if not re.fullmatch(r"[\x21-\x7e]*", server.token):
        return "the token holds characters that no token has"
    both = server.user + server.password
    if not both.isprintable():
        return "the user or the password holds characters that cannot be sent"
    return ""
