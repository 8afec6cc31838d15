"""Signatures of models: made by lgg-export and by openssl, and what is refused."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("cryptography")
pytest.importorskip("onnx")

from lgg_export.signing import sign_model
from lgg_runtime import trust
from lgg_runtime.errors import MissingExtraError, ModelError, UsageError
from lgg_runtime.loading import LoadSettings, find_model
from lgg_runtime.segmenter import Segmenter
from lgg_runtime.sidecar import read_sidecar, sidecar_path
from lgg_runtime.trust import (
    digest_line,
    identify_model,
    require_signature,
    signature_path,
    signed_file,
)


def openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of ours.pem and ours.pub, and of an RSA key."""
    folder = tmp_path_factory.mktemp("keys")
    openssl("genpkey", "-algorithm", "ed25519", "-out", folder / "ours.pem")
    openssl("genpkey", "-algorithm", "rsa", "-out", folder / "rsa.pem")
    for name in ("ours", "rsa"):
        openssl("pkey", "-in", folder / f"{name}.pem", "-pubout", "-out", folder / f"{name}.pub")
    return folder


@pytest.fixture
def model(tmp_path: Path, artifact: Path) -> Path:
    path = tmp_path / "m.onnx"
    path.write_bytes(artifact.read_bytes())
    return path


def test_a_signed_model_is_loaded_and_its_digest_told(model: Path, keys: Path) -> None:
    path, digest = sign_model(model, keys / "ours.pem")
    assert (path, len(path.read_bytes())) == (signature_path(model), 64)
    segmenter = Segmenter.load(
        model, LoadSettings(threads=1, sha256=digest, public_key=keys / "ours.pub")
    )
    assert segmenter.digest == digest


def test_the_first_look_must_be_signed_too(model: Path, keys: Path, artifact: Path) -> None:
    sign_model(model, keys / "ours.pem")
    settings = LoadSettings(threads=1, public_key=keys / "ours.pub", first_look=model)
    assert Segmenter.load(model, settings).first_look is not None
    with pytest.raises(ModelError, match=r"tiny\.onnx\.sig cannot be read"):
        Segmenter.load(model, replace(settings, first_look=artifact))


@pytest.mark.parametrize("begins_with", ["ours", "theirs"])
def test_a_file_that_is_exchanged_between_two_looks_is_never_run(
    model: Path, keys: Path, monkeypatch: pytest.MonkeyPatch, begins_with: str
) -> None:
    sign_model(model, keys / "ours.pem")
    ours = model.read_bytes()
    theirs = find_model("tiny").read_bytes()
    model.write_bytes(ours if begins_with == "ours" else theirs)
    real = trust.digest_line

    def exchange(path: Path) -> bytes:
        found = real(path)
        path.write_bytes(theirs if path.read_bytes() == ours else ours)
        return found

    monkeypatch.setattr(trust, "digest_line", exchange)
    with pytest.raises(ModelError, match=r"is no signature of this file|its SHA-256 is"):
        Segmenter.load(model, LoadSettings(threads=1, public_key=keys / "ours.pub"))


def test_openssl_makes_and_checks_the_same_signature(
    model: Path, keys: Path, tmp_path: Path
) -> None:
    line, made = tmp_path / "digest", tmp_path / "m.onnx.sig"
    line.write_bytes(digest_line(model))
    openssl("pkeyutl", "-sign", "-rawin", "-in", line, "-inkey", keys / "ours.pem", "-out", made)
    require_signature(model, keys / "ours.pub")
    ours = sign_model(model, keys / "ours.pem")[0]
    assert ours == made
    openssl("pkeyutl", "-verify", "-rawin", "-in", line, "-pubin", "-inkey", keys / "ours.pub",
            "-sigfile", made)  # fmt: skip


def change_model(model: Path) -> None:
    model.write_bytes(model.read_bytes() + b"\0")


def cut_signature(model: Path) -> None:
    path = signature_path(model)
    path.write_bytes(path.read_bytes()[:-1])


def flip_signature(model: Path) -> None:
    data = bytearray(signature_path(model).read_bytes())
    data[5] ^= 1
    signature_path(model).write_bytes(data)


@pytest.mark.parametrize("change", [change_model, cut_signature, flip_signature])
def test_what_was_changed_is_refused(
    model: Path, keys: Path, change: Callable[[Path], None]
) -> None:
    sign_model(model, keys / "ours.pem")
    change(model)
    with pytest.raises(ModelError, match=r"m\.onnx\.sig is no signature of this file by ours"):
        require_signature(model, keys / "ours.pub")


def put(path: Path, kind: str) -> None:
    """A pipe that nobody writes to, or a file of 1 TiB, in the place of a file."""
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.touch()
        os.truncate(path, 2**40)


@pytest.mark.parametrize("kind", ["pipe", "large"])
@pytest.mark.parametrize("which", ["m.onnx.sig", "ours.pub"])
def test_what_is_no_small_file_is_neither_waited_for_nor_read(
    model: Path, keys: Path, tmp_path: Path, which: str, kind: str
) -> None:
    sign_model(model, keys / "ours.pem")
    key = Path(shutil.copy(keys / "ours.pub", tmp_path))
    put(key if which == key.name else signature_path(model), kind)
    with pytest.raises((ModelError, UsageError), match=which):
        require_signature(model, key)


@pytest.mark.parametrize("kind", ["pipe", "large"])
def test_a_sidecar_that_is_no_small_file_is_neither_waited_for_nor_read(
    tmp_path: Path, kind: str
) -> None:
    engine = tmp_path / "m.engine"
    sidecar_path(engine).touch()
    put(sidecar_path(engine), kind)
    with pytest.raises(ModelError, match=r"its sidecar m\.engine\.json cannot be read"):
        read_sidecar(engine)
    if kind == "pipe":
        with pytest.raises(ModelError, match="expected a regular file"):
            digest_line(sidecar_path(engine))


def test_an_engine_is_signed_by_its_sidecar() -> None:
    assert signed_file(Path("m.engine")) == Path("m.engine.json")
    assert signature_path(Path("m.engine")) == Path("m.engine.json.sig")
    assert signed_file(Path("M.ENGINE")) == Path("M.ENGINE.json")


def test_an_engine_is_known_by_its_digest_and_by_what_was_signed_of_its_sidecar(
    keys: Path, tmp_path: Path
) -> None:
    engine = tmp_path / "m.engine"
    engine.write_bytes(b"engine")
    sidecar_path(engine).write_bytes(b"{}")
    own = hashlib.sha256(b"engine").hexdigest()
    assert identify_model(engine, None) == (own, None)
    sign_model(engine, keys / "ours.pem")
    signed = hashlib.sha256(b"{}").hexdigest()
    assert identify_model(engine, keys / "ours.pub") == (own, signed)


@pytest.mark.parametrize("name", ["rsa.pub", "ours.pem"])
def test_what_is_no_public_key_is_a_usage_error(model: Path, keys: Path, name: str) -> None:
    with pytest.raises(UsageError, match="expected an Ed25519 public key in PEM"):
        require_signature(model, keys / name)


def test_a_key_that_is_not_there_is_told_as_that(model: Path, keys: Path) -> None:
    with pytest.raises(UsageError, match=r"gone\.pub: cannot be opened: No such file"):
        require_signature(model, keys / "gone.pub")
    with pytest.raises(UsageError, match=r"gone\.pem: cannot be opened: No such file"):
        sign_model(model, keys / "gone.pem")
    for load in (require_signature, sign_model):
        with pytest.raises(UsageError, match=r"^key of no name: expected a regular file, found"):
            load(model, Path())
    assert not signature_path(model).exists()


@pytest.mark.parametrize("name", ["rsa.pem", "ours.pub"])
def test_what_is_no_private_key_is_a_usage_error(model: Path, keys: Path, name: str) -> None:
    with pytest.raises(UsageError, match="expected an Ed25519 private key in PEM"):
        sign_model(model, keys / name)
    assert not signature_path(model).exists()


def test_a_model_that_cannot_be_read_is_named(tmp_path: Path, keys: Path) -> None:
    with pytest.raises(ModelError, match="gone: no such model"):
        sign_model(tmp_path / "gone", keys / "ours.pem")
    with pytest.raises(ModelError, match="n: cannot be opened: File name too long"):
        sign_model(tmp_path / ("n" * 300), keys / "ours.pem")
    with pytest.raises(ModelError, match=r"gone\.json: cannot be opened: No such file"):
        digest_line(tmp_path / "gone.json")


def test_without_cryptography_the_extra_is_named(
    model: Path, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.exceptions", None)
    for call in (
        lambda: require_signature(model, keys / "ours.pub"),
        lambda: sign_model(model, keys / "ours.pem"),
    ):
        with pytest.raises(MissingExtraError, match=r"pip install 'lgg-edge\[signing\]'"):
            call()
