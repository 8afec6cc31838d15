"""An answer of a DICOMweb server: how many bytes may come, whether it is whole, its parts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from email.message import Message
from typing import Any

from lgg_runtime.errors import FetchError, StoreError

# Of an answer's end, where its last delimiter is looked for: after it, little may come.
_TAIL_BYTES = 4096
# How a file says that its data set is deflated: TransferSyntaxUID with VR and length, or as one of
# implicit or of unknown VR. dicomweb_client would inflate it whole, to a size that nobody knows.
_DEFLATED = re.compile(rb"\x02\0\x10\0.{4,8}1\.2\.840\.10008\.1\.2\.1\.99", re.DOTALL)
_BLOCK_BYTES = 1 << 20
# What is raised where a server cannot be asked, or does not take what it is given.
Failure = type[FetchError] | type[StoreError]


class Budget:
    """Counts the decoded bytes of answers as they are read, and closes what was not read.

    Refuses deflated images, and an answer of several parts that ends without its last delimiter
    (RFC 2046, 5.1.1): a server that breaks off where no length was told looks like one that is
    done.
    """

    def __init__(self, name: str, most_bytes: int, failure: Failure):
        self._name, self._failure = name, failure
        self._most = self._left = most_bytes
        self._answers: list[Any] = []

    def watch(self, answer: Any, *_: Any, **__: Any) -> Any:
        read, last = answer.iter_content, _last_delimiter(answer)

        def counted(*args: Any, **options: Any) -> Iterator[bytes]:
            tail = b""
            for chunk in read(*args, **options):
                self._left -= len(chunk)
                if self._left < 0:
                    most = f"{self._most / 2**20:.3g} MiB"
                    raise self._failure(f"{self._name}: sends more than the {most} allowed")
                if _DEFLATED.search(tail + chunk):
                    raise self._failure(
                        f"{self._name}: sends a deflated data set; have it converted there"
                    )
                tail = (tail + chunk[-_TAIL_BYTES:])[-_TAIL_BYTES:]
                yield chunk
            if last not in tail:
                raise self._failure(f"{self._name}: breaks off within its answer", True)

        answer.iter_content = counted
        self._answers.append(answer)
        return answer

    def close(self) -> None:
        for answer in self._answers:
            answer.close()


def kind_of(answer: Any) -> str:
    """The media type of an answer, without its parameters."""
    return str(answer.headers.get("Content-Type", "")).partition(";")[0].strip().lower()


def parts_of(answer: Any, most_bytes: int) -> Iterator[bytes]:
    """The parts of an answer without their headers (RFC 2046, 5.1.1), one in memory at a time; an
    answer that names no boundary is one part. That the last one ends is for `Budget` to see.

    Raises ValueError for a part above `most_bytes`, or without the end of its header.
    """
    boundary = _boundary_of(answer)
    delimiter = f"\r\n--{boundary or ''}".encode("latin-1")
    held = bytearray(b"" if boundary is None else b"\r\n")  # the first may begin the answer
    looked_at, is_open = 0, False
    for block in answer.iter_content(_BLOCK_BYTES):
        held += block
        while boundary is not None and (end := held.find(delimiter, looked_at)) >= 0:
            if is_open and end > 2:
                yield bytes(memoryview(held)[held.index(b"\r\n\r\n", 0, end) + 4 : end])
            del held[: end + len(delimiter)]
            looked_at, is_open = 0, True
        looked_at = max(0, len(held) - len(delimiter) + 1)
        if len(held) > most_bytes:
            raise ValueError(f"a part above {most_bytes} bytes")
    if boundary is None:
        yield bytes(held)


def _boundary_of(answer: Any) -> str | None:
    told = Message()
    told["Content-Type"] = answer.headers.get("Content-Type", "")
    return told.get_boundary() if told.get_content_maintype() == "multipart" else None


def _last_delimiter(answer: Any) -> bytes:
    """What stands at the end of an answer of several parts; nothing for another answer."""
    boundary = _boundary_of(answer)
    return b"" if boundary is None else f"--{boundary}--".encode("latin-1")
