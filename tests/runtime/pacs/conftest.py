"""What the tests of DICOM's network share: a real Orthanc, and a server of one answer."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from lgg_runtime.pacs.web_client import WebServer
from stand_ins.orthanc import Orthanc, why_missing


@pytest.fixture(scope="session")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """Running and shared by all tests of the session: whoever needs it empty calls `clear`."""
    if reason := why_missing():
        pytest.skip(reason)
    server = Orthanc(tmp_path_factory.mktemp("orthanc"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def answering() -> Iterator[Callable[..., WebServer]]:
    """A server that gives one answer to all: status, content type and body, and where to go; by
    https with a context.
    """
    running: list[HTTPServer] = []

    def start(
        status: int,
        kind: str,
        body: bytes,
        location: str = "",
        tls: ssl.SSLContext | None = None,
    ) -> WebServer:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                self.send_response(status)
                for name, value in {"Content-Type": kind, "Location": location}.items():
                    if value:
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET

            def log_message(self, *_: Any) -> None:
                return

        server = HTTPServer(("127.0.0.1", 0), Handler)
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        running.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        scheme = "http" if tls is None else "https"
        return WebServer(f"{scheme}://127.0.0.1:{server.server_port}/web", timeout_s=20)

    yield start
    for server in running:
        server.shutdown()
        server.server_close()
