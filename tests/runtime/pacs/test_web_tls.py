"""What fails in the TLS of a DICOMweb server is told by its own name."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from lgg_runtime.errors import FetchError, UsageError

pytest.importorskip("dicomweb_client")

from lgg_runtime.pacs.dicomweb import find_series
from lgg_runtime.pacs.web_client import WebServer

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")

STUDY = "1.2.826.0.1.3680043.8.498.1"
HERE, ELSEWHERE = "IP:127.0.0.1", "DNS:elsewhere.example"
Serve = Callable[..., WebServer]


def openssl(*words: str | Path) -> None:
    subprocess.run(["openssl", *words], check=True, capture_output=True)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its certificate; beside it the key."""
    folder = tmp_path_factory.mktemp("authority")
    words = ("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=ours")
    openssl(*words, "-keyout", folder / "ca.key", "-out", folder / "ca.pem")
    return folder / "ca.pem"


@pytest.fixture
def serve(tmp_path: Path, authority: Path, answering: Serve) -> Serve:
    """Starts a server of https whose certificate the authority signed, for an address and some
    days.
    """

    def start(name: str = HERE, days: int = 2, asks_back: bool = False) -> WebServer:
        key, request, signed = (tmp_path / f"own.{end}" for end in ("key", "csr", "pem"))
        files = ("-keyout", key, "-out", request)
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=own", *files)
        (tmp_path / "names").write_text(f"subjectAltName={name}\n")
        by = ("-CA", authority, "-CAkey", authority.with_suffix(".key"), "-CAcreateserial")
        names = ("-extfile", tmp_path / "names", "-days", str(days))
        openssl("x509", "-req", "-in", request, "-out", signed, *by, *names)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority)
        context.load_cert_chain(signed, key)
        context.verify_mode = ssl.CERT_REQUIRED if asks_back else ssl.CERT_NONE
        return answering(204, "", b"", tls=context)

    return start


def refusal_of(server: WebServer) -> str:
    with pytest.raises(FetchError) as refused:
        find_series(server, STUDY)
    assert refused.value.is_passing, "no other result would be taken now"
    assert STUDY not in str(refused.value)
    return str(refused.value).removeprefix(f"{server.name}: ")


def test_a_certificate_of_an_unknown_authority_is_told_with_how_to_make_it_known(
    serve: Serve, authority: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    server = serve()
    told = refusal_of(server)
    assert told.startswith("its certificate is not trusted (self-signed certificate in certificate")
    assert told.endswith("; REQUESTS_CA_BUNDLE names a file with its authority")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority))
    assert find_series(server, STUDY) == []


@pytest.mark.parametrize(
    ("name", "days", "why"),
    [
        (HERE, -1, "(certificate has expired): its own, or its authority's"),
        (ELSEWHERE, 2, "(IP address mismatch, certificate is not valid for '127.0.0.1')"),
    ],
)
def test_a_certificate_that_is_over_or_another_servers_is_not_laid_on_its_authority(
    serve: Serve, authority: Path, monkeypatch: pytest.MonkeyPatch, name: str, days: int, why: str
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority))
    assert refusal_of(serve(name, days)) == f"its certificate is not trusted {why}"


def test_what_is_no_https_and_who_wants_a_certificate_are_not_laid_on_the_servers(
    serve: Serve, authority: Path, monkeypatch: pytest.MonkeyPatch, answering: Serve
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority))
    plain = WebServer(answering(204, "", b"").url.replace("http:", "https:"), timeout_s=20)
    assert refusal_of(plain).startswith("TLS fails (WRONG_VERSION_NUMBER); see whether it serves")
    told = refusal_of(serve(asks_back=True))  # its alert may come behind the end of the connection
    assert "CERTIFICATE_REQUIRED" in told or told == "cannot be reached, or breaks off"


def test_authorities_that_are_not_there_are_refused_for_https_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "gone.pem"))
    with pytest.raises(UsageError, match="REQUESTS_CA_BUNDLE: names no file that is there"):
        WebServer("https://host/web")
    WebServer("http://host/web")


def test_authorities_that_are_removed_while_a_node_runs_are_told(
    tmp_path: Path, authority: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "bundle.pem"
    shutil.copy(authority, bundle)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    server = serve()
    bundle.unlink()
    assert refusal_of(server) == "REQUESTS_CA_BUNDLE: names no file that is there any more"
    shutil.copy(authority, bundle)
    assert find_series(server, STUDY) == []
