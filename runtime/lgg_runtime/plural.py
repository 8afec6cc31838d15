"""Numbers with their nouns."""

from __future__ import annotations


def count(number: int, noun: str, plural: str | None = None) -> str:
    """`1 core`, `2 cores`; plural: where it is not the noun with an s."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"
