"""Identifiers in names give way to digests; what is none stays."""

from __future__ import annotations

import pytest

from lgg_runtime.redact import short_digest, without_uids

LONG = "1.2.826.0.1.3680043.8.498.12345678901234567890"
SHORT = "1.2.840.99999.1"
UUID = "2.25.329800735698586629295641978511506172918"
SMALL_UUID = "2.25.329800735"


@pytest.mark.parametrize("uid", [LONG, SHORT, UUID, SMALL_UUID])
@pytest.mark.parametrize("around", ["{}", "{}.dcm", "IM_{}_seg.dcm", "a/{}/b", "('{}',)"])
def test_a_uid_gives_way_to_its_digest(uid: str, around: str) -> None:
    shown = without_uids(around.format(uid))
    assert shown == around.format(f"uid-{short_digest(uid)}")
    assert len(short_digest(uid)) == 8


@pytest.mark.parametrize("text", ["127.0.0.1:8042", "study_0001", "1.2.3", "2.25.1", "v10.2.25.4"])
def test_what_is_no_uid_stays(text: str) -> None:
    assert without_uids(text) == text


def test_what_breaks_a_line_is_escaped() -> None:
    assert without_uids(f"a\n{UUID}") == rf"a\nuid-{short_digest(UUID)}"
