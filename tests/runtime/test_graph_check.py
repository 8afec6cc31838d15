"""What an ONNX file asks for, told from its bytes: against onnx's own writer and by damage."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lgg_runtime.backends import graph_check
from lgg_runtime.backends.graph_check import (
    MOST_AXES,
    MOST_FIELDS,
    MOST_OPERATORS,
    OPERATORS,
    check_graph,
)
from lgg_runtime.backends.model_file import read_model
from lgg_runtime.digests import require_digest
from lgg_runtime.errors import ModelError
from lgg_runtime.loading import find_model

onnx = pytest.importorskip("onnx")
Build = Callable[..., Any]


def field(number: int, content: bytes) -> bytes:
    """A field of bytes."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(value: int) -> bytes:
    parts = []
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])


NODE = field(1, field(4, b"Relu"))
MODEL = field(7, NODE)
SIDE_NAMED_FF = field(2, field(1, field(2, field(1, field(2, b"\xff")))))
REFUSED = [
    (b"", "not an ONNX model; export it with lgg-export"),
    (field(7, b""), "not an ONNX model; export it with lgg-export"),
    (MODEL[:-1], "not an ONNX model, or cut short; export it again"),
    (MODEL + b"\x80", "not an ONNX model, or cut short; export it again"),
    (MODEL + b"\xff" * 11, "not an ONNX model, or cut short; export it again"),
    (MODEL + b"\x3b", "not an ONNX model, or cut short; export it again"),  # a group
    (MODEL + b"\x02\x00", "not an ONNX model, or cut short; export it again"),  # field 0
    (MODEL + b"\x00\x05", "not an ONNX model, or cut short; export it again"),  # field 0, a number
    (MODEL + b"\x09\0\0\0", "not an ONNX model, or cut short; export it again"),  # 8 bytes
    (b"\x38\x01", "not an ONNX model, or cut short; export it again"),  # a graph that is a number
    (field(7, field(1, b"")), "operator (nameless) is none that models of this toolchain use"),
    (field(7, field(1, field(4, b"If"))), "operator If is none that models of this toolchain use"),
    (field(7, field(1, field(4, b"a\nb"))), r"operator a\nb is none"),
    (MODEL + field(7, field(1, field(4, b"If"))), "operator If"),  # graphs of one name are merged
    (field(7, field(1, field(4, b"Relu") + field(7, b"com.microsoft"))), "com.microsoft.Relu"),
    (MODEL + field(20, b""), "holds functions or training of its own"),
    (MODEL + field(25, b""), "holds functions or training of its own"),
    (field(7, NODE + field(15, b"")), "holds sparse tensors"),
    (field(7, NODE * (MOST_OPERATORS + 1)), "more than 20000 operators"),
    (2 * field(7, NODE * (MOST_OPERATORS // 2 + 1)), "more than 20000 operators"),
    (MODEL + b"\x08\x01" * MOST_FIELDS, "more than 1000000 fields"),
    (field(7, NODE + field(5, field(1, b"\x7f" * 400_000))), "more than 32 axes"),
    (field(7, NODE + field(5, b"\x08\x01" * (MOST_AXES + 1))), "more than 32 axes"),
    (
        field(7, field(1, field(4, b"Constant") + field(5, 2 * field(5, b"\x08\x00")))),
        "a tensor of an op",
    ),
    (field(7, NODE + field(5, b"\x70\x01")), "its tensors lie in another file"),
    (MODEL + 2 * field(14, field(1, b"key")), "an entry of its metadata stands twice"),
    (MODEL + field(14, field(1, b"key\xff")), "is not UTF-8"),
    (MODEL + field(14, field(2, b"\xff")), "is not UTF-8"),
    (field(7, NODE + field(11, field(1, b"slices\xff"))), "is not UTF-8"),
    (field(7, NODE + field(12, field(1, b"\xff"))), "is not UTF-8"),
    (field(7, NODE + field(11, SIDE_NAMED_FF)), "is not UTF-8"),
    (field(7, NODE + field(12, SIDE_NAMED_FF)), "is not UTF-8"),
    (field(7, NODE + field(5, field(13, b""))), "its tensors lie in another file"),
    (field(7, NODE + field(5, b"\x08" + varint(99))), "tensor (nameless) claims 99 values in 2"),
    (field(7, NODE + field(5, field(1, varint(9) * 3))), "claims 729 values in 5 bytes"),
    (field(7, NODE + field(5, b"\x08\x00\x08" + varint((1 << 64) - 1))), "claims 0 values"),
]


@pytest.mark.parametrize(("data", "reason"), REFUSED, ids=[str(n) for n in range(len(REFUSED))])
def test_what_is_no_plain_graph_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(ModelError) as refused:
        check_graph(data)
    assert reason in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize(
    "hidden",
    [
        lambda long: field(7, NODE + long(1, field(4, b"If"))),  # a node
        lambda long: field(7, NODE + long(5, field(13, b""))),  # an initializer
        lambda long: field(7, NODE + field(5, long(13, b""))),  # where its values lie
        lambda long: MODEL + long(25, b""),  # a function
    ],
)
def test_a_field_hidden_behind_a_tag_of_more_than_32_bits_is_refused(
    hidden: Callable[..., bytes],
) -> None:
    """protobuf takes the lower 32 bits of a tag, and finds the field."""

    def long(number: int, content: bytes) -> bytes:
        return varint((number << 3 | 2) + (1 << 32)) + varint(len(content)) + content

    with pytest.raises(ModelError, match="not an ONNX model, or cut short"):
        check_graph(hidden(long))


def test_fields_are_counted_over_all_parts_of_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_check, "MOST_FIELDS", 8)
    data = field(7, NODE + NODE) + field(14, field(1, b"key"))  # 1 + 2 + 2, 1 + 1
    check_graph(data + b"\x08\x01")
    with pytest.raises(ModelError, match="more than 8 fields"):
        check_graph(data + b"\x08\x01" * 2)


@pytest.mark.parametrize(("values", "is_taken"), [(8, True), (9, False)])
def test_a_tensor_claims_two_values_a_byte_at_most(values: int, is_taken: bool) -> None:
    data = field(7, NODE + field(5, b"\x08" + varint(values) + b"\x10\x16"))  # of four bytes
    if is_taken:
        check_graph(data)
        return
    with pytest.raises(ModelError, match="claims 9 values in 4 bytes"):
        check_graph(data)


@pytest.mark.parametrize("place", [5, 6, 10, 11, 22, 23])
def test_attributes_are_looked_into(place: int) -> None:
    attribute = field(place, b"\x08" + varint(99))
    node = field(4, b"Constant") + field(5, attribute)
    with pytest.raises(ModelError, match=r"claims 99|a graph inside|sparse"):
        check_graph(field(7, field(1, node)))


def test_attributes_of_other_kinds_are_passed_over() -> None:
    floats = b"\x15" + struct.pack("<f", 1.5)  # f, field 2, of four bytes
    node = field(4, b"Elu") + field(5, field(1, b"alpha") + floats)
    check_graph(field(7, field(1, node)))


def test_models_of_this_toolchain_are_taken(build_model: Build) -> None:
    check_graph(build_model().SerializeToString())
    check_graph(find_model("standard").read_bytes())


def test_the_operators_are_those_of_the_standard() -> None:
    known = {schema.name for schema in onnx.defs.get_all_schemas() if schema.domain == ""}
    assert known >= OPERATORS


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damage_is_refused_in_one_line_or_harmless(build_model: Build, data: st.DataObject) -> None:
    whole = bytearray(build_model().SerializeToString())
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = whole[: data.draw(st.integers(0, len(whole)))]
    for damaged in (bytes(whole), bytes(cut)):
        try:
            check_graph(damaged)
        except ModelError as error:
            assert len(str(error).splitlines()) == 1


def test_the_bytes_are_those_of_the_digest(tmp_path: Path, build_model: Build) -> None:
    import hashlib

    path = tmp_path / "m.onnx"
    path.write_bytes(build_model().SerializeToString())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert read_model(path, digest.upper()) == path.read_bytes()
    with pytest.raises(ModelError, match=r"^m\.onnx: its SHA-256 is [0-9a-f]{12}\.\.\., expected"):
        read_model(path, "0" * 64)
    require_digest("m.onnx", digest, None)


@pytest.mark.parametrize("name", ["gone.onnx", "."])
def test_what_is_no_file_is_no_model(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelError, match=r"cannot be opened|expected a regular file"):
        read_model(tmp_path / name)
