"""The machine's description: what a measurement must quote, and nothing that names it."""

import json
import os
from types import SimpleNamespace

import pytest

from lgg_bench import machine
from lgg_bench.machine import (
    computes_bf16,
    describe_machine,
    describe_processor,
    note_load,
    note_shared_cores,
    summarise_machine,
)

X86 = """processor\t: 0
model name\t: Some Processor 7
flags\t\t: fpu sse2 avx2 avx512f avx512_vnni

processor\t: 1
model name\t: Some Processor 7
flags\t\t: fpu sse2 avx2 avx512f avx512_vnni
"""
ARM = """processor\t: 0
BogoMIPS\t: 108.00
Features\t: fp asimd asimddp crc32

processor\t: 1
BogoMIPS\t: 108.00
Features\t: fp asimd asimddp crc32

Model\t\t: Some Board 5
"""
KEYS = {"cpu", "features", "cores", "memory_gib", "load", "os", "python", "versions"}


@pytest.fixture
def cpuinfo(tmp_path, monkeypatch):
    monkeypatch.setattr("lgg_runtime.processor.CPUINFO", tmp_path / "cpuinfo")
    return tmp_path / "cpuinfo"


def test_reads_the_name_and_the_instruction_sets_that_decide_speed(cpuinfo):
    cpuinfo.write_text(X86)
    assert describe_processor() == ("Some Processor 7", ["avx2", "avx512f", "avx512_vnni"])


def test_on_arm_the_board_stands_in_for_the_processor(cpuinfo):
    cpuinfo.write_text(ARM)
    assert describe_processor() == ("Some Board 5", ["asimd", "asimddp"])


@pytest.mark.usefixtures("cpuinfo")
def test_a_system_without_the_file_is_described_all_the_same():
    assert describe_processor() == (None, [])
    machine = describe_machine()
    assert machine["cpu"] and machine["features"] == []


def test_describes_processor_memory_system_and_versions_alone():
    machine = describe_machine()
    assert set(machine) == KEYS
    assert 1 <= machine["cores"] <= os.cpu_count()
    assert machine["versions"].keys() >= {"lgg-edge", "numpy"}
    assert json.loads(json.dumps(machine)) == machine


def test_the_system_is_told_without_what_its_builder_appended(monkeypatch):
    monkeypatch.setattr("platform.uname", lambda: SimpleNamespace(
        system="Linux", release="6.8.0-45-someones", machine="x86_64"))  # fmt: skip
    assert describe_machine()["os"] == "Linux 6.8.0 x86_64"


def test_the_cores_are_those_that_the_process_may_use(monkeypatch):
    """OMP_NUM_THREADS takes none away: whole commands are given their own."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 2}, raising=False)
    monkeypatch.setattr("lgg_runtime.cores.cgroup_quota", lambda *_: None)
    assert describe_machine()["cores"] == 3


def test_one_line_for_a_person():
    machine = {
        "cpu": "Some Processor 7",
        "features": ["avx2"],
        "cores": 2,
        "memory_gib": 8.0,
        "load": 0.1,
        "os": "Linux 6 x86_64",
        "python": "3.12.1",
        "versions": {"numpy": "2.1"},
    }
    line = "Some Processor 7, 2 cores (avx2), 8 GiB, Linux 6 x86_64, Python 3.12.1, numpy 2.1"
    assert summarise_machine(machine) == line
    bare = machine | {"memory_gib": None, "features": [], "cores": 1}
    assert "1 core (no known vector extension), Linux" in summarise_machine(bare)


@pytest.mark.parametrize(
    ("features", "expected"),
    [(["avx2", "avx512_bf16"], True), (["asimd", "bf16"], True), (["avx2", "avx512f"], False)],
)
def test_bf16_is_known_by_the_instruction_sets(features, expected):
    assert computes_bf16({"features": features}) is expected


def test_a_load_of_half_a_core_is_no_busy_machine():
    for load in (None, 0.0, 0.5):
        assert note_load({"load": load}) == []
    (note,) = note_load({"load": 0.51}, "every run")
    assert "(load 0.51)" in note and "every run took longer" in note


def test_as_many_threads_as_cores_share_none():
    assert note_shared_cores(2, {"cores": 2}) == []
    assert note_shared_cores(3, {"cores": 2}) == [
        "Only 2 cores for this process: more threads share them."
    ]


def test_the_memory_is_in_gib_and_the_load_that_of_the_last_minute(monkeypatch):
    held = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": int(4.26 * 2**18)}
    monkeypatch.setattr(machine.os, "sysconf", held.get)
    monkeypatch.setattr(machine.os, "getloadavg", lambda: (1.237, 5.0, 15.0))
    found = describe_machine()
    assert (found["memory_gib"], found["load"]) == (4.3, 1.24)
