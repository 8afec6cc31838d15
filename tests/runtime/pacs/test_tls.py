"""What fails in TLS with a peer of DICOM is told by what it is, on both sides."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("pynetdicom")

from lgg_runtime.errors import UsageError
from lgg_runtime.pacs import tls
from lgg_runtime.pacs.config import Destination, Listen
from lgg_runtime.pacs.tls import make_client_tls, make_server_tls, read_ends, tell_ends
from lgg_runtime.pacs.transport import DeliveryError, make_transport

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate that vouches for itself; beside it the key, and the key with a passphrase."""
    path = tmp_path_factory.mktemp("pki") / "own.pem"
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", path.with_suffix(".key"), "-out", path]
    subprocess.run([*words, *subject, *files], check=True, capture_output=True)
    locked = ["-aes256", "-passout", "pass:a word", "-out", path.with_suffix(".locked")]
    words = ["openssl", "rsa", "-in", str(path.with_suffix(".key"))]
    subprocess.run([*words, *locked], check=True, capture_output=True)
    return path


def to(port: int, ca: Path) -> Destination:
    return Destination(
        name="pacs", kind="c-store", address="127.0.0.1", port=port, ae_title="PACS", ca=ca,
        timeout_seconds=20.0,
    )  # fmt: skip


@pytest.fixture
def answer() -> Iterator[Callable[[Callable[[socket.socket], object]], int]]:
    """Serves one connection with a function; returns the port."""
    opened: list[socket.socket] = []

    def start(serve: Callable[[socket.socket], object]) -> int:
        listening = socket.create_server(("127.0.0.1", 0))
        opened.append(listening)

        def take() -> None:
            connection, _ = listening.accept()
            with connection:
                serve(connection)

        threading.Thread(target=take, daemon=True).start()
        return int(listening.getsockname()[1])

    yield start
    for listening in opened:
        listening.close()


def test_a_key_with_a_passphrase_is_refused_and_not_asked_for(own: Path) -> None:
    locked = own.with_suffix(".locked")
    with pytest.raises(UsageError, match=r"the key has a passphrase; give one without"):
        make_server_tls(Listen(certificate=own, key=locked))
    both = Destination(name="pacs", kind="c-store", ca=own, certificate=own, key=locked)
    with pytest.raises(UsageError, match=r"pacs: .*the key has a passphrase; give one without"):
        make_client_tls(both)


@pytest.mark.parametrize("written", [["-outform", "der"], ["-addtrust", "serverAuth"]])
def test_a_certificate_that_is_no_plain_pem_is_told_with_what_makes_it_one(
    own: Path, tmp_path: Path, written: list[str]
) -> None:
    other, plain = tmp_path / "other.cer", tmp_path / "plain.pem"
    for source, target, how in ((own, other, written), (other, plain, [])):
        words = ["openssl", "x509", "-in", source, "-out", target, *how]
        subprocess.run(words, check=True, capture_output=True)

    def read(path: Path) -> None:
        listen = Listen(certificate=path, key=own.with_suffix(".key"))
        make_server_tls(listen)
        config: Any = SimpleNamespace(listen=listen, destinations=[])
        read_ends(config)

    with pytest.raises(UsageError, match="; expected PEM, as openssl x509 and openssl pkey write"):
        read(other)
    read(plain)


@pytest.mark.parametrize(
    ("name", "told"),
    [("own.key", "; expected PEM, as openssl x509 and openssl pkey write it"), ("none", "")],
)
def test_a_file_without_an_authority_is_told(own: Path, name: str, told: str) -> None:
    with pytest.raises(UsageError, match=f"^destination pacs: ca, .* is of no use .*[)]{told}$"):
        make_client_tls(to(104, own.with_name(name)))


def test_a_chain_that_does_not_begin_with_its_own_certificate_is_told(
    own: Path, tmp_path: Path
) -> None:
    chain, other = tmp_path / "chain.pem", tmp_path / "other.pem"
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=other"]
    files = ["-keyout", tmp_path / "other.key", "-out", other]
    subprocess.run([*words, *files], check=True, capture_output=True)
    chain.write_text(other.read_text() + own.read_text())
    with pytest.raises(UsageError, match="the node's own comes first, then those of authorities"):
        make_server_tls(Listen(certificate=chain, key=own.with_suffix(".key")))
    chain.write_text(own.read_text() + other.read_text())
    assert make_server_tls(Listen(certificate=chain, key=own.with_suffix(".key"))) is not None


@pytest.mark.parametrize(
    ("serve", "why"),
    [
        (lambda peer: peer.sendall(b"HTTP/1.1 400 Bad\r\n\r\n") or peer.recv(1 << 16),
         "TLS fails: it speaks no TLS"),
        (lambda peer: peer.sendall(b"\x15\x03\x01\0\x02\x02\x46") or peer.recv(1 << 16),
         "TLS fails: it knows no TLS of 1.2 or later"),
        (lambda peer: peer.sendall(b"\x15\x03\x03\0\x02\x02\x28") or peer.recv(1 << 16),
         "TLS fails: it refuses this node's certificate, or asks for one (handshake failure)"),
        (lambda peer: peer.sendall(b"\x15\x03\x03\0\x02\x02\x14") or peer.recv(1 << 16),
         "TLS fails: bytes were altered on the way; see to the network and what stands between"),
        (lambda peer: None, "breaks off as TLS begins; see whether it takes TLS at this port"),
    ],
    ids=["http", "TLS 1.1 alone", "wants a certificate", "altered", "closes"],
)  # fmt: skip
def test_what_a_destination_does_in_place_of_tls_is_told(
    own: Path,
    answer: Callable[[Callable[[socket.socket], object]], int],
    serve: Callable[[socket.socket], object],
    why: str,
) -> None:
    with pytest.raises(DeliveryError) as refused:
        make_transport(to(answer(serve), own), "LGG-NODE")(Path("none"), False)
    assert str(refused.value) == why
    assert refused.value.is_passing


@pytest.mark.parametrize(
    ("days_on", "told", "soon"),
    [
        (0, [], ["ends in 1 day"]),
        (-30, [], []),
        (3, ["ended 1 day ago"], ["ended 1 day ago"]),
    ],
)
def test_a_certificate_or_authority_that_is_over_or_soon_will_be_is_told(
    own: Path, monkeypatch: pytest.MonkeyPatch, days_on: int, told: list[str], soon: list[str]
) -> None:
    parts = ("destination pacs", "listen client_ca", "destination pacs ca")

    def lines(when: list[str]) -> list[str]:
        told = "its certificate {}; renew it, and restart the node"
        return [f"{of}: {told.format(one)}" for of in parts for one in when]

    sent = replace(to(1, own), certificate=own, key=own.with_suffix(".key"))
    config: Any = SimpleNamespace(listen=Listen(client_ca=own), destinations=[sent])
    ends = read_ends(config)
    later = time.time() + days_on * 86400
    monkeypatch.setattr(tls, "time", SimpleNamespace(time=lambda: later))
    assert (tell_ends(ends), tell_ends(ends, 30)) == (lines(told), lines(soon))


def test_of_several_authorities_the_last_to_end_counts(own: Path, tmp_path: Path) -> None:
    both, later = tmp_path / "both.pem", tmp_path / "later.pem"
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "90"]
    files = ["-subj", "/CN=later", "-keyout", tmp_path / "later.key", "-out", later]
    subprocess.run([*words, *files], check=True, capture_output=True)
    both.write_text(later.read_text() + own.read_text())
    other = replace(to(1, own), name="other")
    config: Any = SimpleNamespace(listen=Listen(), destinations=[to(1, both), other])
    ends = read_ends(config)
    assert ends["destination pacs ca"] - ends["destination other ca"] > 80 * 86400


def test_a_port_that_is_closed_is_not_laid_on_tls(own: Path) -> None:
    with pytest.raises(DeliveryError, match=r"^cannot be reached \(Connection refused\)$"):
        make_transport(to(1, own), "LGG-NODE")(Path("none"), False)


def test_a_destination_that_asks_for_a_certificate_after_the_handshake_is_told(
    own: Path, answer: Callable[[Callable[[socket.socket], object]], int]
) -> None:
    context = make_server_tls(Listen(certificate=own, key=own.with_suffix(".key"), client_ca=own))
    assert context is not None

    def refuse(peer: socket.socket) -> None:
        with contextlib.suppress(OSError):
            context.wrap_socket(peer, server_side=True)

    with pytest.raises(DeliveryError) as refused:
        make_transport(to(answer(refuse), own), "LGG-NODE")(Path("none"), False)
    # The alert may come behind the end of the connection.
    told = ("TLS fails: it refuses this node's certificate, or asks for one (", "is reached, and")
    assert str(refused.value).startswith(told)
