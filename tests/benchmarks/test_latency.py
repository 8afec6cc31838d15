"""The latency benchmark: every configuration, honest rows, PyTorch beside where a run is given."""

import contextlib
from dataclasses import replace

import numpy as np
import pytest

from lgg_bench import latency
from lgg_bench.latency import EAGER, LatencySettings, _measure, measure_latency
from lgg_bench.record import Record
from lgg_bench.slices import phantom_slices
from lgg_bench.tables import describe_record
from lgg_bench.timing import Clock, TimingSettings
from lgg_runtime.backends import BackendSettings, load_backend
from lgg_runtime.errors import InputError, ModelError, ProviderError, UsageError

FAST = TimingSettings(rounds=2, calls=2, rest_s=0)
SETTINGS = LatencySettings(batches=(1, 3), threads=(1, 2), size=48, timing=FAST)


@pytest.fixture(scope="module")
def record(run, artifact):
    return measure_latency([artifact], run, SETTINGS)


def test_every_subject_is_measured_in_every_configuration(record):
    rows = record.results["rows"]
    assert [(row["threads"], row["batch"], row["subject"]) for row in rows] == [
        (threads, batch, subject)
        for threads in (1, 2)
        for batch in (1, 3)
        for subject in (*EAGER, "tiny.onnx")
    ]


def test_a_row_holds_warm_and_cold_apart(record):
    for row in record.results["rows"]:
        assert row["calls"] == 4
        assert set(row["ms_per_slice"]) == {"p25", "p50", "p75", "p90", "p99"}
        assert 0 < row["ms_per_slice"]["p25"] <= row["ms_per_slice"]["p99"]
        assert row["slices_per_second"] == pytest.approx(1000 / row["ms_per_slice"]["p50"])
        assert row["cold"]["load_ms"] > 0 and row["cold"]["first_ms"] > 0


def test_ratios_are_to_both_layouts_of_pytorch_with_quartiles(record):
    by_subject = {row["subject"]: row for row in record.results["rows"]}
    assert by_subject["tiny.onnx"]["times_faster_than"].keys() == set(EAGER)
    assert by_subject["PyTorch NCHW"]["times_faster_than"].keys() == {"PyTorch channels_last"}
    for spread in by_subject["tiny.onnx"]["times_faster_than"].values():
        assert 0 < spread["low"] <= spread["median"] <= spread["high"]


def test_what_is_timed_gives_what_pytorch_gives(record):
    plain = next(iter(EAGER))
    for row in record.results["rows"]:
        if row["subject"] == plain:
            assert row["largest_difference_from"] == {}
        else:
            assert row["largest_difference_from"].keys() == {plain}
            assert row["largest_difference_from"][plain] < 1e-4


def test_what_gives_something_else_than_pytorch_shows_it(run, altered):
    settings = LatencySettings((1,), (1,), 48, timing=FAST)
    wrong = altered("louder.onnx", factor=1.5)
    *_, row = measure_latency([wrong], run, settings).results["rows"]
    assert row["largest_difference_from"]["PyTorch NCHW"] > 0.01


def test_without_a_run_there_is_no_ratio(artifact):
    record = measure_latency([artifact], None, LatencySettings((2,), (1,), 48, timing=FAST))
    (row,) = record.results["rows"]
    assert row["times_faster_than"] == row["largest_difference_from"] == {}
    assert "faster" not in describe_record(record)


def test_the_clock_alone_decides_the_numbers(artifact):
    ticks = iter(range(1000))
    clock = Clock(now=lambda: next(ticks), sleep=lambda seconds: None)
    settings = LatencySettings((2,), (1,), 48, timing=FAST)
    (row,) = measure_latency([artifact], None, settings, clock=clock).results["rows"]
    assert row["cold"] == {"load_ms": 1000, "first_ms": 1000}
    assert set(row["ms_per_slice"].values()) == {500}  # a second a call of two slices
    assert row["slices_per_second"] == 2


def test_the_record_says_how_and_with_what(record, artifact, tmp_path):
    record.write(tmp_path / "a.json")
    assert Record.read(tmp_path / "a.json") == record
    assert record.settings == {
        "batches": [1, 3], "threads": [1, 2], "size": 48, "provider": "cpu",
        "cpu_precision": "fp32", "rounds": 2, "calls": 2, "rest_s": 0,
    }  # fmt: skip
    assert record.results["artifacts"]["tiny.onnx"]["precision"] == "fp32"
    assert record.machine["versions"].keys() >= {"onnxruntime", "torch"}


def test_a_table_for_each_configuration(record):
    text = describe_record(record)
    titles = [line for line in text.splitlines() if line.startswith("Milliseconds")]
    assert titles == [
        f"Milliseconds a slice: {threads}, batch {batch}"
        for threads in ("1 thread", "2 threads")
        for batch in (1, 3)
    ]
    assert text.count("tiny.onnx (fp32)") == 4


def test_the_tables_say_where_the_artifacts_ran(record):
    assert "Artifacts: on cpu. PyTorch: eager, fp32." in describe_record(record)
    settings = record.settings | {"provider": "openvino", "cpu_precision": "bf16"}
    text = describe_record(replace(record, settings=settings))
    assert "Artifacts: on openvino in bf16. PyTorch: eager, fp32." in text


def test_nothing_is_told_of_pytorch_where_it_took_no_part(record):
    rows = [
        row | {"times_faster_than": {}, "largest_difference_from": {}}
        for row in record.results["rows"]
        if row["subject"] == "tiny.onnx"
    ]
    text = describe_record(replace(record, results=record.results | {"rows": rows}))
    assert "Artifacts: on cpu.\n" in text and "PyTorch" not in text


@pytest.mark.parametrize(("load", "busy"), [(3.2, True), (0.1, False), (None, False)])
def test_says_when_the_machine_was_busy(record, load, busy):
    machine = record.machine | {"load": load, "cores": 2}
    assert ("busy" in describe_record(replace(record, machine=machine))) is busy


@pytest.mark.parametrize(("cores", "told"), [(1, True), (2, False)])
def test_says_when_threads_share_cores(record, cores, told):
    text = describe_record(replace(record, machine=record.machine | {"cores": cores}))
    assert ("more threads share them" in text) is told


def test_both_layouts_of_pytorch_do_an_artifacts_whole_work(run, artifact):
    from lgg_bench.eager import load_eager

    slices = phantom_slices(3, 48)
    expected = load_backend(artifact, BackendSettings("cpu", 1)).run(slices)
    for layout in EAGER.values():
        found = load_eager(run, layout, "cpu")(slices)
        assert (found.shape, found.dtype) == ((3, 48, 48), np.float32)
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_plain_pytorch_computes_in_nchw(run, monkeypatch):
    import torch

    from lgg_bench.eager import load_eager
    from lgg_train.unet import UNet

    seen = []
    forward = UNet.forward

    def watch(self, x):
        seen.append(x.is_contiguous(memory_format=torch.channels_last))
        return forward(self, x)

    monkeypatch.setattr(UNet, "forward", watch)
    for layout in ("NCHW", "channels_last"):
        load_eager(run, layout, "cpu")(phantom_slices(1, 48))
    assert seen == [False, True]


def test_threads_of_pytorch_are_set_for_the_measurement_alone(one_thread):
    import torch

    from lgg_bench.eager import torch_threads

    with torch_threads(2):
        assert torch.get_num_threads() == 2
    assert torch.get_num_threads() == 1


def test_pytorch_computes_the_asked_size_on_the_asked_threads(run, artifact, monkeypatch):
    import torch

    from lgg_train.unet import UNet

    seen = []
    forward = UNet.forward

    def watch(self, x):
        seen.append((torch.get_num_threads(), *x.shape[2:]))
        return forward(self, x)

    monkeypatch.setattr(UNet, "forward", watch)
    measure_latency([artifact], run, LatencySettings((1,), (1, 2), 48, timing=FAST))
    assert seen == sorted(seen) and set(seen) == {(1, 48, 48), (2, 48, 48)}


@pytest.mark.parametrize(
    ("provider", "device"), [("cpu", "cpu"), ("openvino", "cpu"), ("cuda", "cuda")]
)
def test_pytorch_computes_where_the_artifacts_do(run, provider, device):
    loads = latency._loads({}, run, BackendSettings(provider, 1))
    assert {name: load.args for name, load in loads.items()} == {
        name: (run, layout, device) for name, layout in EAGER.items()
    }


def test_cuda_without_a_device_is_an_error(run, artifact, monkeypatch):
    import torch

    from lgg_bench.eager import load_eager

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ProviderError, match="finds no CUDA device"):
        load_eager(run, "NCHW", "cuda")


def test_refuses_a_run_or_an_artifact_that_is_not_there(run, artifact, tmp_path):
    with pytest.raises(ModelError, match="no such model"):
        measure_latency([tmp_path / "none.onnx"], run, SETTINGS)
    with pytest.raises(InputError, match=r"no model\.pt"):
        measure_latency([artifact], tmp_path, SETTINGS)


def test_a_size_that_no_artifact_takes_is_refused():
    with pytest.raises(UsageError, match="size 40: expected a multiple of 16"):
        LatencySettings(size=40)


def test_one_configuration_by_hand(fake_time):
    asked = []

    def loading(load_s, call_s, value):
        def run(slices):
            asked.append(len(slices))
            fake_time.seconds += call_s
            return np.linspace(value, 0.5, len(slices), dtype=np.float32)

        def load():
            fake_time.seconds += load_s
            return run

        return load

    first, second = EAGER
    loads = {first: loading(1, 6, 0.5), second: loading(2, 3, 0.5), "a": loading(4, 2, 0.25)}
    timing = TimingSettings(rounds=2, calls=1, rest_s=0)
    *_, row = _measure(loads, np.zeros((4, 16, 16, 3), np.uint8), timing, fake_time.clock, int)
    assert set(asked) == {4}
    assert row["cold"] == {"load_ms": 4000, "first_ms": 2000}
    assert set(row["ms_per_slice"].values()) == {500}
    spreads = {name: spread["median"] for name, spread in row["times_faster_than"].items()}
    assert spreads == {first: 3, second: 1.5}
    assert row["largest_difference_from"] == {first: 0.25}


def test_each_configuration_has_its_own_slices_and_threads(artifact, monkeypatch):
    seen = []

    def measure(loads, slices, *_):
        seen.append((loads, len(slices)))
        return []

    @contextlib.contextmanager
    def hold_to(_run, threads):
        seen.append(threads)
        yield

    monkeypatch.setattr(latency, "_measure", measure)
    monkeypatch.setattr(latency, "_threads", hold_to)
    monkeypatch.setattr(latency, "_loads", lambda _files, _run, backend: backend.threads)
    measure_latency([artifact], None, SETTINGS)
    assert seen == [1, (1, 1), 1, (1, 3), 2, (2, 1), 2, (2, 3)]


def test_artifacts_run_where_and_in_what_is_asked_for():
    settings = LatencySettings(provider="openvino", cpu_precision="bf16")
    assert settings.backend(3) == BackendSettings("openvino", 3, cpu_precision="bf16")


def test_the_tables_tell_the_whole_cold_start_and_the_largest_difference(record):
    rows = [
        row | {"cold": {"load_ms": 40.0, "first_ms": 2.0}, "largest_difference_from": {"x": found}}
        for row, found in zip(record.results["rows"][2::3], (0.1, 0.3, 0.2, 0.05), strict=True)
    ]
    results = record.results | {"rows": rows}
    *_, last = tables = latency.tabulate(replace(record, results=results))
    assert {row[5] for table in tables for row in table.rows} == {"42"}
    assert "from PyTorch on these slices: tiny.onnx 0.3." in " ".join(last.notes)


def test_each_number_stands_in_the_column_of_its_name(record):
    *others, row = record.results["rows"][3:6]
    row = row | {
        "cold": {"load_ms": 40.0, "first_ms": 2.0},
        "ms_per_slice": {"p25": 1.0, "p50": 2.0, "p75": 3.0, "p90": 4.0, "p99": 5.0},
        "slices_per_second": 500.0,
        "times_faster_than": {
            name: {"low": n + 0.1, "median": n + 0.2, "high": n + 0.4}
            for n, name in enumerate(EAGER)
        },
    }
    results = record.results | {"rows": [*others, row]}
    table = latency.tabulate(replace(record, results=results))[1]
    assert dict(zip(table.header[1:], table.rows[-1][1:], strict=True)) == {
        "p50 ms": "2.0", "p90 ms": "4.0", "p99 ms": "5.0", "slices/s": "500.0", "cold ms": "42",
        "x NCHW": "0.20 (0.10-0.40)", "x channels_last": "1.20 (1.10-1.40)",
    }  # fmt: skip
