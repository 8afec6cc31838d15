"""What keeps a node from its work, in words."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

pytest.importorskip("pynetdicom")

from lgg_runtime.pacs.node import Node
from stand_ins.records import Records

MIB, HOUR = 1 << 20, 3600.0
AHEAD = time.time() + HOUR
OVER = "listen: its certificate ended 0 days ago; renew it, and restart the node"
WELL = SimpleNamespace(name="worker", failure="", is_well=True)
ENDED = SimpleNamespace(name="retention", failure="", is_well=False)
FAILING = SimpleNamespace(name="sender one", failure="full", is_well=False)


@pytest.mark.parametrize(
    ("loops", "free", "ends", "reasons"),
    [
        ([WELL], 64 * MIB, {"listen": AHEAD}, []),
        ([WELL], 64 * MIB - 1, {}, ["less than 64 MiB of disk is free"]),
        ([FAILING, WELL, ENDED], 64 * MIB, {}, ["sender one: full", "retention: ended"]),
        ([WELL], 64 * MIB, {"listen": AHEAD - 2 * HOUR, "destination a": AHEAD}, [OVER]),
    ],
)
def test_loops_that_are_not_well_a_disk_that_is_nearly_full_and_certificates_that_are_over_are_told(
    records: Records,
    loops: list[SimpleNamespace],
    free: int,
    ends: dict[str, float],
    reasons: list[str],
) -> None:
    node = SimpleNamespace(
        loops=loops,
        spool=SimpleNamespace(free_bytes=lambda: free),
        config=SimpleNamespace(limits=SimpleNamespace(free_disk_mib=64)),
        state=records.state,
        _names=[],
        _ends=ends,
    )
    assert Node.why_ill(node) == reasons
