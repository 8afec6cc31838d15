"""What keeps a node from its work, in words."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

pytest.importorskip("pynetdicom")

from lgg_runtime.pacs.node import Node
from stand_ins.records import Records

MIB = 1 << 20
WELL = SimpleNamespace(name="worker", failure="", is_well=True)
ENDED = SimpleNamespace(name="retention", failure="", is_well=False)
FAILING = SimpleNamespace(name="sender one", failure="full", is_well=False)


@pytest.mark.parametrize(
    ("loops", "free", "reasons"),
    [
        ([WELL], 64 * MIB, []),
        ([WELL], 64 * MIB - 1, ["less than 64 MiB of disk is free"]),
        ([FAILING, WELL, ENDED], 64 * MIB, ["sender one: full", "retention: ended"]),
    ],
)
def test_loops_that_are_not_well_and_a_disk_that_is_nearly_full_are_told(
    records: Records, loops: list[SimpleNamespace], free: int, reasons: list[str]
) -> None:
    node = SimpleNamespace(
        loops=loops,
        spool=SimpleNamespace(free_bytes=lambda: free),
        config=SimpleNamespace(limits=SimpleNamespace(free_disk_mib=64)),
        state=records.state,
        _names=[],
    )
    assert Node.why_ill(node) == reasons
