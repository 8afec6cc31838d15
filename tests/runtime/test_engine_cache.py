"""The cache of compiled engines: its whole key, and what is refused in it."""

import errno
import json
import stat
from dataclasses import fields, replace
from pathlib import Path

import pytest

from lgg_runtime.backends.engine_cache import CacheKey, default_cache, open_folder, seal_folder
from lgg_runtime.errors import ModelError, ResourceError
from lgg_runtime.sidecar import Profile

PROFILE = Profile((1, 16, 16, 3), (8, 208, 176, 3), (32, 512, 512, 3))
KEY = CacheKey("a" * 64, "1.24.0", "10.13.0", "580.65, CUDA 13.0", "SM90", "fp32", PROFILE)


@pytest.mark.parametrize("name", [field.name for field in fields(CacheKey)])
def test_a_change_of_any_part_of_the_key_is_another_folder(tmp_path: Path, name: str) -> None:
    other = replace(PROFILE, largest=(64, 512, 512, 3)) if name == "profile" else "other"
    folders = {open_folder(tmp_path, key)[0] for key in (KEY, replace(KEY, **{name: other}))}
    assert len(folders) == 2


def test_a_compiled_engine_is_found_again(tmp_path: Path) -> None:
    folder, is_ready = open_folder(tmp_path, KEY)
    assert not is_ready
    (folder / "model.engine").write_bytes(b"machine code")
    seal_folder(folder)
    assert open_folder(tmp_path, KEY) == (folder, True)
    assert (folder / "model.engine").read_bytes() == b"machine code"


def test_the_folder_tells_its_key_and_belongs_to_its_owner_alone(tmp_path: Path) -> None:
    folder, _ = open_folder(tmp_path, KEY)
    assert json.loads((folder / "key.json").read_text())["tensorrt"] == "10.13.0"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.parametrize("tampered", ["model.engine", "planted.engine"])
def test_a_changed_or_planted_engine_is_refused(tmp_path: Path, tampered: str) -> None:
    folder, _ = open_folder(tmp_path, KEY)
    (folder / "model.engine").write_bytes(b"machine code")
    seal_folder(folder)
    (folder / tampered).write_bytes(b"other code")
    with pytest.raises(ModelError, match=rf"{tampered}: was changed.*delete the folder"):
        open_folder(tmp_path, KEY)


@pytest.mark.parametrize("damaged", [b"", b'{"model.en', b"[]", b"\xff"])
def test_damaged_digests_are_refused(tmp_path: Path, damaged: bytes) -> None:
    folder, _ = open_folder(tmp_path, KEY)
    (folder / "digests.json").write_bytes(damaged)
    with pytest.raises(ModelError, match=r"digests\.json: was changed.*delete the folder"):
        open_folder(tmp_path, KEY)


def test_another_users_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "chmod", refuse)
    with pytest.raises(ResourceError, match="cannot be written: Operation not permitted"):
        open_folder(tmp_path, KEY)


def test_what_an_interrupted_compilation_left_is_removed(tmp_path: Path) -> None:
    folder, _ = open_folder(tmp_path, KEY)
    (folder / "model.engine").write_bytes(b"half of the co")
    assert open_folder(tmp_path, KEY) == (folder, False)
    assert not (folder / "model.engine").exists()


def test_the_default_is_the_users_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache() == tmp_path / "lgg-edge" / "tensorrt"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_cache() == tmp_path / ".cache" / "lgg-edge" / "tensorrt"
