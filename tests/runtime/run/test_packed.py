"""Values kept compressed: none lost, none twice, in order."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import pytest

from lgg_runtime.metrics import Counts
from lgg_runtime.run import packed as module
from lgg_runtime.run.journal import DONE, InputRecord
from lgg_runtime.run.packed import Packed
from lgg_runtime.run.summary import SummaryRow


def record(number: int) -> InputRecord:
    name = f"patient/slice_{number}.tif"
    return InputRecord(name, DONE, outputs=(f"patient/slice_{number}_mask.png",))


@pytest.mark.parametrize("count", [0, 1, 255, 256, 257, 258, 512, 513, 1000])
def test_values_come_back_in_order(count: int) -> None:
    kept: Packed[InputRecord] = Packed(InputRecord)
    assert kept.last is None
    values = [record(number) for number in range(count)]
    for number, value in enumerate(values, 1):
        kept.append(value)
        assert kept.last is value
        assert len(kept) == number
    assert list(kept) == values
    assert list(kept) == values, "a second time"


def test_many_are_added_at_once() -> None:
    kept: Packed[InputRecord] = Packed(InputRecord)
    values = [record(number) for number in range(602)]
    kept += values[:600]
    kept += iter(values[600:])
    assert list(kept) == values


def test_nested_values_come_back() -> None:
    rows: Packed[SummaryRow] = Packed(SummaryRow.of)
    ours = SummaryRow(
        "slice", "p", "p_1", True, 3, 1.5, 3, 0.75, 0.9, None, None, Counts(1, 2, 3, 4)
    )
    values = [
        replace(ours, name="\udcff", counts=None),
        *(replace(ours, area_px=n) for n in range(300)),
    ]
    rows += values
    assert list(rows) == values


def test_a_signal_while_values_are_packed_loses_and_repeats_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values = [record(number) for number in range(258)]
    kept: Packed[InputRecord] = Packed(InputRecord)
    kept += values[:256]
    pack = module.zlib.compress

    def interrupt(data: bytes, level: int) -> bytes:
        pack(data, level)
        raise KeyboardInterrupt

    monkeypatch.setattr(module.zlib, "compress", interrupt)
    with pytest.raises(KeyboardInterrupt):
        kept.append(values[256])
    assert list(kept) == values[:257]
    monkeypatch.undo()
    kept.append(values[257])
    assert list(kept) == values
    assert len(kept) == 258


def test_they_take_a_fraction_of_their_memory() -> None:
    tracemalloc.start()
    try:
        kept: Packed[InputRecord] = Packed(InputRecord)
        for number in range(10_000):
            kept.append(record(number))
        held, _ = tracemalloc.get_traced_memory()
        plain = [record(number) for number in range(10_000)]
        both, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(plain) == len(kept)
    assert held < (both - held) / 3
