"""The fuzzer's targets hold for their seeds, for what is near them, and for what was found."""

from __future__ import annotations

import random

import pytest

pytest.importorskip("nibabel")
pytest.importorskip("pydicom")

from fuzz.campaign import SHARES
from fuzz.targets import TARGETS

pytestmark = pytest.mark.filterwarnings("ignore")


def change(data: bytes, dice: random.Random) -> bytes:
    """A few bytes overwritten, the end cut off, or a part repeated."""
    changed = bytearray(data)
    for _ in range(dice.randint(1, 4)):
        if not changed:
            break
        at = dice.randrange(len(changed))
        kind = dice.randrange(4)
        if kind == 0:
            changed[at] = dice.choice((0, 1, 127, 128, 255, dice.randrange(256)))
        elif kind == 1:
            changed[at : at + 4] = dice.choice((b"\xff\xff\xff\xff", b"\0\0\0\x80", b"\0\0\0\0"))
        elif kind == 2:
            del changed[at:]
        else:
            changed[at:at] = changed[at : at + dice.randint(1, 40)]
    return bytes(changed)


@pytest.mark.parametrize("name", TARGETS)
def test_a_seed_and_what_is_near_it_are_read_or_refused(name: str) -> None:
    target, dice = TARGETS[name], random.Random(name)
    for data in target.seeds():
        assert len(data) <= target.longest
        target.call(data)
        for _ in range(15):
            target.call(change(data, dice))


def test_the_campaign_takes_every_target() -> None:
    assert SHARES.keys() == TARGETS.keys()
    assert sum(SHARES.values()) == pytest.approx(1)
