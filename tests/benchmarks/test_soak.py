"""The soak: every slice is run both ways, and its figures are those of the samples."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from lgg_bench.soak import Sample, SoakSettings, measure_soak, summarise_samples, take_sample
from lgg_bench.tables import describe_record
from lgg_runtime.errors import UsageError


def test_slices_go_through_the_command_and_the_api(artifact: Path) -> None:
    settings = SoakSettings(slices=40, warm_up=20, round=10)
    told: list[str] = []
    record = measure_soak(artifact, settings, told.append)
    through = record.results["slices_through"]
    assert through["command"] >= 20 and through["api"] >= 20
    assert record.results["slices"] == sum(through.values())
    assert record.results["after_warm_up"]["slices"] >= 20
    assert record.results["sha256"] == hashlib.sha256(artifact.read_bytes()).hexdigest()
    assert len(told) == len(record.results["samples"]) - 2  # one before, the last one twice
    assert "most that it grew after that, MiB" in describe_record(record)


def test_growth_is_the_most_above_the_first_sample_after_the_warm_up() -> None:
    sizes = ((0, 500.0), (10, 80.0), (20, 100.0), (30, 130.0), (40, 90.0))
    samples = [Sample(slices, mib, 5 + slices // 10, 2) for slices, mib in sizes]
    found = summarise_samples(samples, warm_up=15)
    assert (found["growth_mib"], found["growth_at_the_end_mib"]) == (30.0, -10.0)
    assert (found["descriptors"], found["threads"]) == ([7, 9], [2, 2])
    assert found["after_warm_up"]["slices"] == 20


def test_slices_go_on_until_growth_could_show(artifact: Path) -> None:
    record = measure_soak(artifact, SoakSettings(slices=21, warm_up=20, round=10), lambda _: None)
    warm = [one for one in record.results["samples"] if one["slices"] >= 20]
    assert len(warm) >= 2


def test_a_sample_sees_an_open_file(tmp_path: Path) -> None:
    before = take_sample(0)
    with (tmp_path / "file").open("w"):
        assert take_sample(0).descriptors == before.descriptors + 1
    assert before.resident_mib > 1 and before.threads >= 1


def test_a_soak_without_slices_after_the_warm_up_is_refused() -> None:
    with pytest.raises(UsageError, match="expected more than 100"):
        SoakSettings(slices=100, warm_up=100)
