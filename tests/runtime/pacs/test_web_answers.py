"""The parts of an answer, whatever the blocks in which it comes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from lgg_runtime.pacs.web_answers import parts_of


class Answer:
    """What requests gives, in blocks of some bytes."""

    def __init__(self, kind: str, body: bytes, block: int):
        self.headers, self._body, self._block = {"Content-Type": kind}, body, block
        self.taken = 0

    def iter_content(self, _: int) -> Iterator[Any]:
        for at in range(0, len(self._body), self._block):
            self.taken += self._block
            yield self._body[at : at + self._block]


WHOLE = b"before\r\n--x\r\nA: b\r\n\r\none\r\n--\r\n--x\r\n\r\n\r\n\r\n\r\n--x\r\n--x--\r\nafter"


@pytest.mark.parametrize("block", [1, 2, 3, 7, 1000])
def test_parts_come_whole_however_the_answer_is_cut(block: int) -> None:
    kind = 'Multipart/Related; Boundary="x"'
    assert list(parts_of(Answer(kind, WHOLE, block), 100)) == [b"one\r\n--", b"\r\n\r\n"]
    assert list(parts_of(Answer(kind, b"--x\r\n\r\none\r\n--x--", block), 100)) == [b"one"]


@pytest.mark.parametrize("kind", ["application/dicom", "multipart/related"])
def test_an_answer_without_a_boundary_is_one_part(kind: str) -> None:
    assert list(parts_of(Answer(kind, WHOLE, 5), 100)) == [WHOLE]


@pytest.mark.parametrize("kind", ["application/dicom", "multipart/related; boundary=x"])
def test_of_a_part_without_end_no_more_is_held_than_allowed(kind: str) -> None:
    answer = Answer(kind, b"--x\r\n\r\n" + bytes(1000), 10)
    with pytest.raises(ValueError, match="a part above 100 bytes"):
        list(parts_of(answer, 100))
    assert answer.taken < 150


def test_a_part_without_the_end_of_its_header_is_refused() -> None:
    with pytest.raises(ValueError):
        list(parts_of(Answer("multipart/related; boundary=x", b"--x\r\na\r\n--x\r\n\r\n", 9), 99))
