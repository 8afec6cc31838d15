"""The sidecar of an engine: what is refused before anything parses the engine."""

import hashlib
import json
from dataclasses import fields, replace
from pathlib import Path

import pytest

from lgg_runtime.errors import ModelError
from lgg_runtime.sidecar import (
    EngineKey,
    Profile,
    Sidecar,
    Tensor,
    choose_profile,
    read_engine,
    sidecar_path,
)
from stand_ins.artifacts import write_artifact

ONE = Profile((1, 16, 16, 3), (1, 208, 176, 3), (1, 512, 512, 3))
MANY = Profile((1, 16, 16, 3), (32, 208, 176, 3), (32, 256, 256, 3))
LARGE = Profile((1, 16, 16, 3), (8, 512, 512, 3), (8, 512, 512, 3))
ENGINE = b"an engine"


def write_pair(folder: Path, name: str = "m", data: bytes = ENGINE) -> tuple[Path, Sidecar]:
    contract = write_artifact(folder / "m.onnx")
    key = EngineKey(
        "tensorrt", "10.13.0", "580.65, CUDA 13.0", ("SM90",), "fp32", (ONE, MANY), 2**20,
        "a" * 64, hashlib.sha256(data).hexdigest(),
    )  # fmt: skip
    tensors = (Tensor("slices", "INPUT", "UINT8", (-1, -1, -1, 3)),)
    sidecar = Sidecar(key, tensors, contract, 1e-4)
    path = folder / f"{name}.engine"
    path.write_bytes(data)
    sidecar_path(path).write_text(sidecar.dumps())
    return path, sidecar


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path, sidecar = write_pair(tmp_path)
    assert read_engine(path) == (ENGINE, sidecar)


def test_an_engine_that_cannot_be_read_is_told_as_that(tmp_path: Path) -> None:
    path, _ = write_pair(tmp_path)
    path.unlink()
    path.symlink_to(path)
    with pytest.raises(ModelError, match=r"m\.engine: cannot be opened: Too many levels of symb"):
        read_engine(path)


def test_files_of_other_digests_than_those_asked_for_are_refused(tmp_path: Path) -> None:
    path, _ = write_pair(tmp_path)
    digests = [hashlib.sha256(file.read_bytes()).hexdigest() for file in (path, sidecar_path(path))]
    assert read_engine(path, *digests)[0] == ENGINE
    for wrong in (["0" * 64, digests[1]], [digests[0], "0" * 64]):
        with pytest.raises(ModelError, match=r"^m\.engine.*: its SHA-256 is .*, expected 0000"):
            read_engine(path, *wrong)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ("[]", "wrong kind"),
        ("{}", "field is missing"),
        ('{"schema": 2, "sidecar_sha256": ""}', "expected schema 1, found 2"),
    ],
)
def test_what_is_no_sidecar_is_refused_with_the_reason(
    tmp_path: Path, text: str, message: str
) -> None:
    path, _ = write_pair(tmp_path)
    sidecar_path(path).write_text(text)
    with pytest.raises(ModelError, match=message):
        read_engine(path)


@pytest.mark.parametrize(
    ("of_the_key", "told"),
    [
        ({"workspace_bytes": "1"}, "key.workspace_bytes: expected int, found str"),
        ({"compute_capabilities": "SM90"}, "key.compute_capabilities: expected a list, found str"),
        ({"profiles": ({},)}, "key.profiles: field 'smallest' is missing"),
        (
            {"profiles": (replace(ONE, smallest=(1, 16)),)},
            "key.profiles.smallest: expected 4 entries, found 2",
        ),
    ],
)
def test_a_key_of_other_types_is_refused_by_name(
    tmp_path: Path, of_the_key: dict[str, object], told: str
) -> None:
    path, sidecar = write_pair(tmp_path)
    other = replace(sidecar, key=replace(sidecar.key, **of_the_key))
    sidecar_path(path).write_text(other.dumps())
    with pytest.raises(ModelError, match=f"^m.engine.json: {told}$"):
        read_engine(path)


@pytest.mark.parametrize("field", [field.name for field in fields(EngineKey)])
def test_the_digest_covers_every_part_of_the_key(tmp_path: Path, field: str) -> None:
    _, sidecar = write_pair(tmp_path)
    other = replace(sidecar, key=replace(sidecar.key, **{field: "other"}))
    digests = [json.loads(s.dumps())["sidecar_sha256"] for s in (sidecar, other)]
    assert digests[0] != digests[1]


def test_the_digest_covers_what_stands_beside_the_key(tmp_path: Path) -> None:
    _, sidecar = write_pair(tmp_path)
    contract = replace(sidecar.contract, threshold=0.9)
    others = [{"tensors": ()}, {"golden_difference": None}, {"contract": contract}]
    every = [sidecar, *(replace(sidecar, **other) for other in others)]
    assert len({json.loads(one.dumps())["sidecar_sha256"] for one in every}) == 4


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((1, 208, 176, 3), (0, 1)),
        ((1, 512, 512, 3), (0, 1)),
        ((8, 256, 256, 3), (1, 8)),
        ((40, 256, 256, 3), (1, 32)),
        ((4, 512, 256, 3), (2, 4)),
        ((9, 512, 512, 3), (2, 8)),
    ],
)
def test_the_first_profile_that_holds_most_slices_is_chosen(
    shape: tuple[int, ...], expected: tuple[int, int]
) -> None:
    assert choose_profile((ONE, MANY, LARGE), shape) == expected


def test_slices_that_no_profile_holds_are_refused() -> None:
    with pytest.raises(ModelError, match=r"528x256: this engine holds up to 256x256"):
        choose_profile((MANY,), (1, 528, 256, 3))
