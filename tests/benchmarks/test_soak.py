"""The soak: every slice is run both ways, and its figures are those of the samples."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from lgg_bench import soak
from lgg_bench.cli import command
from lgg_bench.soak import Sample, SoakSettings, measure_soak, summarise_samples, take_sample
from lgg_bench.tables import describe_record
from lgg_runtime.errors import LggError, UsageError


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
    samples[0] = Sample(0, 500.0, 30, 9)  # the start is no growth
    found = summarise_samples(samples, warm_up=20)
    assert (found["growth_mib"], found["growth_at_the_end_mib"]) == (30.0, -10.0)
    assert (found["descriptors"], found["threads"]) == ([7, 9], [2, 2])
    assert found["after_warm_up"]["slices"] == 20


def test_slices_go_on_until_growth_could_show(artifact: Path) -> None:
    record = measure_soak(artifact, SoakSettings(slices=21, warm_up=20, round=10), lambda _: None)
    warm = {one["slices"] for one in record.results["samples"] if one["slices"] >= 20}
    assert len(warm) >= 2


def test_the_help_says_how_many_slices_a_round_has() -> None:
    told = CliRunner().invoke(command, ["soak", "--help"], terminal_width=200).output
    assert f"rounds of {2 * SoakSettings.round:,} go on until two have ended" in told


def test_a_seed_gives_the_same_slices(artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_run_command", "_run_api"):
        monkeypatch.setattr(soak, name, lambda *given: int(given[-1].integers(50, 1 << 30)))
    found = [
        measure_soak(artifact, SoakSettings(slices=101, warm_up=50, seed=seed), lambda _: None)
        for seed in (3, 3, 4)
    ]
    one, same, other = (record.results["slices_through"] for record in found)
    assert one == same != other


def test_a_command_that_leaves_a_mask_out_ends_the_soak(
    artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(soak, "command", SimpleNamespace(main=lambda *_, **__: 0))
    with pytest.raises(LggError, match=r"ended with 0 and 0 masks of \d+ slices"):
        measure_soak(artifact, SoakSettings(slices=20, warm_up=10, round=10), lambda _: None)


def test_a_sample_is_what_the_system_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "status").write_text("VmHWM:\t 4096 kB\nVmRSS:\t 2048 kB\nThreads:\t3\n")
    (tmp_path / "fd").mkdir()
    (tmp_path / "fd" / "0").touch()
    monkeypatch.setattr(soak, "_PROCESS", tmp_path)
    assert take_sample(7) == Sample(7, 2.0, 1, 3)


def test_a_sample_sees_an_open_file(tmp_path: Path) -> None:
    before = take_sample(0)
    with (tmp_path / "file").open("w"):
        assert take_sample(0).descriptors == before.descriptors + 1
    assert before.resident_mib > 1 and before.threads >= 1


def test_a_soak_without_slices_after_the_warm_up_is_refused() -> None:
    with pytest.raises(UsageError, match="expected more than 100"):
        SoakSettings(slices=100, warm_up=100)
