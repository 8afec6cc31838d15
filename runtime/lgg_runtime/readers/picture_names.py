"""What the names of pictures tell of their sequence, where FLAIR or the slice lies beside them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

_SEPARATOR = re.compile(r"[_\-. ()/]+")
_FLAIR = {"flair", "t2flair", "t2f"}
_LABELS = {
    "seg", "segmentation", "label", "labels", "gt", "ground", "truth", "groundtruth", "mask",
    "masks",
}  # fmt: skip
_OTHERS = {
    "t1", "t1n", "t1w", "t1c", "t1ce", "t1gd", "t1gad", "t1pre", "t1post", "ct1", "mprage",
    "pre", "post", "ce", "gd", "contrast", "t2", "t2w", "pd", "adc", "dwi", "swi",
}  # fmt: skip
_WORDS = _FLAIR | _LABELS | _OTHERS
_TELL_NOTHING = {"", "image", "images", "img", "imgs"}
_ANY_WORD = "/"  # which is no part of a name

_Key = tuple[str, ...]


def find_beside(slices: Iterable[Path], root: Path) -> list[Path]:
    """Pictures that are no FLAIR by a word in the names of folder and file.

    Only where the same names have FLAIR's word in its place, as `p_t1_7` beside `p_flair_7` or
    `t1/7` beside `flair/7`. A label is left out, too, where its name without the word is a slice's:
    `p_7_seg` beside `p_7`, `masks/7` beside `images/7`. A word alone may be a time, as T1 and T2
    are. The number at the end of a name does not count.
    """
    parts = {path: _split(path, root) for path in slices}
    worded = {path: each for path, each in parts.items() if not _WORDS.isdisjoint(each)}
    flairs = {_key(each) for each in worded.values() if _last_words(each) & _FLAIR}
    plain = {tuple(_without_number(each)) for each in parts.values()} if worded else set()
    return [
        path
        for path, each in worded.items()
        if not _last_words(each) & _FLAIR
        and (_key(each) in flairs or _without_label(each) in plain)
    ]


def _split(path: Path, root: Path) -> list[str]:
    """Words of sequences in lower case, all others as they are, but for those that tell nothing."""
    name = path.relative_to(root).with_suffix("").as_posix()
    parts = [part for part in _SEPARATOR.split(name) if part.lower() not in _TELL_NOTHING]
    return [part.lower() if part.lower() in _WORDS else part for part in parts]


def _without_number(parts: Sequence[str]) -> Sequence[str]:
    return parts[:-1] if parts and parts[-1].isdecimal() else parts


def _last_words(parts: Sequence[str]) -> set[str]:
    """Those that stand together, as in `p1_t2_flair_7`."""
    words: set[str] = set()
    for is_word, run in groupby(parts, _WORDS.__contains__):
        words = {*run} if is_word else words
    return words


def _key(parts: Sequence[str]) -> _Key:
    """The same for all sequences of a patient: each run of their words counts as one."""
    key: list[str] = []
    for is_word, run in groupby(_without_number(parts), _WORDS.__contains__):
        key += [_ANY_WORD] if is_word else run
    return tuple(key)


def _without_label(parts: Sequence[str]) -> _Key | None:
    """The name of the slice that a label belongs to; None for another sequence."""
    whole = _without_number(parts)
    kept = [part for part in whole if part not in _LABELS]
    return None if len(kept) == len(whole) else tuple(_without_number(kept))
