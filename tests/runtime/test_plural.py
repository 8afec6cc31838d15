"""Numbers with their nouns."""

import pytest

from lgg_runtime.plural import count


@pytest.mark.parametrize(
    ("number", "words", "told"),
    [
        (0, ("slice",), "0 slices"),
        (1, ("slice",), "1 slice"),
        (2, ("slice",), "2 slices"),
        (1, ("study", "studies"), "1 study"),
        (3, ("study", "studies"), "3 studies"),
    ],
)
def test_one_takes_the_singular(number: int, words: tuple[str, ...], told: str) -> None:
    assert count(number, *words) == told
