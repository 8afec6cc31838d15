"""Where a server is and who asks it: what cannot be is refused, and no secret is shown."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from lgg_runtime.errors import UsageError

pytest.importorskip("dicomweb_client")

from lgg_runtime.pacs.dicomweb import find_series
from lgg_runtime.pacs.web_client import WebServer


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("host:8042/dicom-web", "not a URL of http or https"),
        ("ftp://host/", "not a URL of http or https"),
        ("http:///dicom-web", "not a URL of http or https"),
        ("http://user:secret@host/", "holds a user or a password"),
        ("http://host/?token=secret", "ends with a query"),
        ("http://[::1]:8042/", "IPv6 address is not supported"),
        ("http://[::1", "not a URL"),
        ("http://host:port/", "not a URL"),
        ("http://host/\n", "holds characters that no URL has"),
    ],
)
def test_an_address_that_cannot_be_is_refused_without_repeating_it(url: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as refused:
        WebServer(url)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({"token": "mine"}, "Bearer mine"),
        ({"user": "reader", "password": "p\u20ac"}, "Basic cmVhZGVyOnDigqw="),
        ({}, "Basic bmV0dXNlcjpuZXRwYXNz"),
    ],
)
def test_who_asks_is_who_was_named_and_else_whom_netrc_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, str], sent: str
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login netuser password netpass\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    heard = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heard.append(self.headers.get("Authorization"))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            return

    with HTTPServer(("127.0.0.1", 0), Handler) as listening:
        threading.Thread(target=listening.handle_request, daemon=True).start()
        server = WebServer(f"http://127.0.0.1:{listening.server_port}/web", **given)
        find_series(server, "1.2.826.0.1.3680043.8.498.1")
    assert heard == [sent]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"user": "u", "token": "t"}, "a user and a token; set one of them"),
        ({"password": "p"}, "a password without a user"),
        ({"user": "a:b"}, "the user holds a colon"),
        ({"token": "t\r"}, "the token holds characters"),
        ({"token": "t\u20ac"}, "the token holds characters"),
        ({"user": "u", "password": "p\n"}, "holds characters that cannot be sent"),
        ({"user": "u", "password": "p\udcff"}, "holds characters that cannot be sent"),
    ],
)
def test_who_cannot_be_told_to_ask_is_refused(given: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message) as refused:
        WebServer("http://host/web", **given)
    assert str(refused.value).startswith("LGG_DICOMWEB_USER and LGG_DICOMWEB_PASSWORD, or")


def test_secrets_are_not_shown() -> None:
    for given in ({"user": "reader", "password": "secret"}, {"token": "secret"}):
        assert "secret" not in repr(WebServer("http://host/", **given))
