"""Ceilings, fractions and layers, on models whose operations are counted by hand."""

from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from lgg_bench import layers, roofline
from lgg_bench.large_layers import INPUT, Layers, write_layers
from lgg_bench.layers import _summarise, profile_layers
from lgg_bench.operations import count_operations, count_run_operations, list_operations
from lgg_bench.record import Record
from lgg_bench.roofline import RooflineSettings, _engines, _large, measure_roofline, tabulate
from lgg_bench.slices import phantom_slices
from lgg_bench.tables import describe_record
from lgg_bench.timing import TimingSettings
from lgg_export.graph import build_graph
from lgg_runtime.backends import BackendSettings, load_backend
from lgg_runtime.errors import ModelError
from lgg_train.unet import UNet, UNetSettings

ROOT = Path(__file__).parents[2]
SMALL = Layers(channels=8, side=8, count=2)
SLICE = np.zeros((1, 32, 32, 3), np.uint8)


def test_operations_of_large_layers_by_hand():
    assert SMALL.operations == 2 * (2 * 8 * 8 * 9 * 64)


def test_both_precisions_compute_the_same(tmp_path):
    found = {}
    for precision in ("fp32", "int8"):
        path = tmp_path / f"{precision}.onnx"
        write_layers(path, SMALL, precision)
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        (found[precision],) = session.run(None, {INPUT: SMALL.make_input()})
    assert found["fp32"].std() > 1e-3
    assert found["fp32"].shape == SMALL.make_input().shape
    assert np.abs(found["fp32"] - found["int8"]).max() > 1e-3, "the one in 8 bits rounds"
    assert np.corrcoef(found["fp32"].ravel(), found["int8"].ravel())[0, 1] > 0.95


def test_layers_add_up_to_the_operations(artifact):
    listed = list_operations(artifact, 32, 48).values()
    assert sum(layer.operations for layer in listed) == count_operations(artifact, 32, 48)
    assert {layer.operator for layer in listed} == {"Conv", "ConvTranspose"}
    assert max(layer.rows for layer in listed) == 32


def test_a_model_of_another_input_is_refused_by_name(tmp_path):
    write_layers(tmp_path / "other.onnx", SMALL, "fp32")
    with pytest.raises(ModelError, match=r"other\.onnx: expected slices as its first input"):
        count_operations(tmp_path / "other.onnx", 32, 48)


def count_of(path, settings):
    """Operations of an artifact of such a network, of a slice of 32 x 48."""
    path.write_bytes(build_graph(UNet(settings).eval(), torch.float32).SerializeToString())
    return count_operations(path, 32, 48)


def test_a_slice_and_its_mirror_image_count_twice(tmp_path):
    plain, mirrored = (
        count_of(tmp_path / "made.onnx", UNetSettings(features=2, depth=1, mirror=mirror))
        for mirror in (False, True)
    )
    assert mirrored == 2 * plain
    # 3x3 from 3, 2, 2, 4, 4 and 2 channels to 2, 2, 4, 4, 2 and 2; 2x2 from 4 to 2; 1x1 from 2 to 1
    fine, coarse = 32 * 48, 16 * 24
    whole = fine * (9 * (3 * 2 + 2 * 2 + 4 * 2 + 2 * 2) + 2) + coarse * 9 * (2 * 4 + 4 * 4)
    assert plain == 2 * (whole + coarse * 4 * 2 * 4)


def test_the_product_that_mirrors_a_slice_counts_too(tmp_path):
    plain, symmetric = (
        count_of(tmp_path / "made.onnx", UNetSettings(features=2, depth=1, symmetry=symmetry))
        for symmetry in (False, True)
    )
    # 3x3 from 3 channels more to 2; each of 3 x 32 rows of 48 pixels with 48 x 48
    assert symmetric - plain == 2 * (32 * 48 * 9 * 3 * 2 + 3 * 32 * 48 * 48)


@pytest.mark.parametrize("name", ["standard", "standard-int8", "lite", "tiny-int8"])
def test_a_run_has_the_operations_of_the_artifacts_of_its_network(name):
    run = ROOT / "train" / "shipped" / name.removesuffix("-int8")
    path = ROOT / "runtime" / "lgg_runtime" / "weights" / f"{name}.onnx"
    assert count_run_operations(run, 64) == count_operations(path, 64, 64) > 0


@pytest.fixture
def every_kind(monkeypatch):
    """Rows of small kinds too: on a busy machine any layer may take nearly all of the time."""
    monkeypatch.setattr(layers, "_SMALL", 0.0)


@pytest.mark.usefixtures("every_kind")
def test_the_profile_of_an_artifact_is_all_of_its_time(artifact):
    pytest.importorskip("openvino")
    rows = profile_layers(artifact, SLICE, 1)["kinds"]
    assert sum(row["share"] for row in rows) == pytest.approx(1)
    assert any(row["kind"].startswith("Conv, ") and row["gflops"] > 0 for row in rows)
    assert rows[-1]["kind"] == "other"


@pytest.mark.usefixtures("every_kind")
@pytest.mark.parametrize("name", ["tiny", "tiny-int8"])
def test_every_convolution_is_known_by_the_name_that_openvino_gives_it(name):
    """One that is not has OpenVINO's word for its kind, and no rate."""
    pytest.importorskip("openvino")
    path = ROOT / "runtime" / "lgg_runtime" / "weights" / f"{name}.onnx"
    kinds = {row["kind"] for row in profile_layers(path, SLICE, 1)["kinds"]}
    assert "Convolution" not in kinds
    assert any(kind.startswith("Conv, ") for kind in kinds)


def test_a_rate_is_in_billions_a_second_and_kinds_of_less_than_two_hundredths_are_added_up():
    medians = {"Slice": 1.5, "Concat": 46.0, "Conv, 16 rows": 50.0, "Pad": 0.5, "Reorder": 2.0}
    rows = [tuple(row.values()) for row in _summarise(medians, {"Conv, 16 rows": 10**9})]
    assert rows == [
        ("Conv, 16 rows", 50.0, 0.5, 20.0),
        ("Concat", 46.0, 0.46, None),
        ("Reorder", 2.0, 0.02, None),
        ("other", 2.0, 0.02, None),
    ]
    assert list(_summarise({"Pad": 1.0}, {})[0]) == ["kind", "milliseconds", "share", "gflops"]


def test_a_layer_that_was_once_too_quick_to_be_timed_counts_in_its_rate(artifact, monkeypatch):
    pytest.importorskip("openvino")
    core, number = layers.open_core(), []

    class Request:
        """A request in whose first run nothing took a microsecond."""

        def __init__(self, request):
            self.request, self.runs = request, 0

        def infer(self, inputs):
            self.request.infer(inputs)
            self.runs += 1

        @property
        def profiling_info(self):
            taken = timedelta(microseconds=self.runs - 1)
            infos = [
                SimpleNamespace(real_time=taken, node_name=info.node_name, node_type=info.node_type)
                for info in self.request.profiling_info
            ]
            number.append(len(infos))
            return infos

    class Core:
        read_model = core.read_model

        def compile_model(self, *given):
            compiled = core.compile_model(*given)
            return SimpleNamespace(
                get_property=compiled.get_property,
                create_infer_request=lambda: Request(compiled.create_infer_request()),
            )

    monkeypatch.setattr(layers, "open_core", Core)
    rows = profile_layers(artifact, SLICE, 1)["kinds"]
    assert {row["gflops"] > 0 for row in rows if row["kind"].startswith("Conv, ")} == {True}
    # Of eight runs of 1 to 8 microseconds a layer the fifth.
    assert sum(row["milliseconds"] for row in rows) == pytest.approx(number[0] * 5e-3)


def test_the_profile_is_of_one_size_in_float32_whatever_openvino_would_take(artifact, monkeypatch):
    pytest.importorskip("openvino")
    core, given = layers.open_core(), []

    class Watched:
        """OpenVINO's core, which keeps what it is given."""

        read_model = core.read_model

        def compile_model(self, model, device, options):
            given.append((model.is_dynamic(), options))
            return core.compile_model(model, device, options)

    monkeypatch.setattr(layers, "open_core", Watched)
    assert profile_layers(artifact, SLICE, 1)["arithmetic"] == "fp32"
    ((dynamic, options),) = given
    assert not dynamic
    assert (options["INFERENCE_PRECISION_HINT"], options["INFERENCE_NUM_THREADS"]) == ("f32", 1)


@pytest.mark.parametrize(
    ("precision", "arithmetic", "told"),
    [("fp32", "fp32", "fp32"), ("fp32", "bf16", "bf16"), ("int8", "fp32", "fp32 beside int8")],
)
def test_the_tables_name_arithmetic_and_tell_fractions_in_hundredths(precision, arithmetic, told):
    row = {"artifact": "a.onnx", "engine": "OpenVINO", "precision": precision}
    convolution = {"kind": "Conv", "milliseconds": 2.5, "share": 0.75, "gflops": 80.0}
    pad = {"kind": "Pad", "milliseconds": 0.5, "share": 0.25, "gflops": None}
    results = {
        "ceilings": [],
        "rows": [row | {"gflops": 70.0, "fraction": fraction} for fraction in (None, 0.35)],
        "layers": {"a.onnx": {"arithmetic": arithmetic, "kinds": [convolution, pad]}},
    }
    settings, machine = {"threads": 2, "batch": 1, "size": 32}, {"load": 3.0, "cores": 1}
    reached, engines, table = tabulate(Record("roofline", settings, machine, results))
    _, shared, busy = reached.notes
    assert "Only 1 core for this process: more threads share" in shared
    assert "The machine was busy in the minute before the start (load 3)" in busy
    assert table.title == f"Where OpenVINO's time goes, a.onnx, one slice in {told}"
    assert [cells[2:] for cells in engines.rows] == [["70", ""], ["70", "35 %"]]
    assert table.rows == [["Conv", "2.50", "75 %", "80"], ["Pad", "0.50", "25 %", ""]]


def test_what_is_no_artifact_is_refused_before_anything_is_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(roofline, "_large", None)
    (tmp_path / "a.onnx").write_text("# not a model")
    with pytest.raises(ModelError, match=r"a\.onnx: "):
        measure_roofline([tmp_path / "a.onnx"], RooflineSettings(1, 1, 32))


def test_what_openvino_refuses_is_so_before_anything_is_measured(
    write_artifact, tmp_path, monkeypatch
):
    pytest.importorskip("openvino")
    monkeypatch.setattr(roofline, "_large", None)
    path = write_artifact(tmp_path / "a.onnx", precision="int8 symmetric")
    with pytest.raises(ModelError, match="made for TensorRT"):
        measure_roofline([path], RooflineSettings(1, 1, 32))


def test_operations_of_a_graph_whose_parts_do_not_fit_are_refused_by_name(artifact, tmp_path):
    without_weights, without_opset = onnx.load(str(artifact)), onnx.load(str(artifact))
    del without_weights.graph.initializer[:]
    del without_opset.opset_import[:]
    path = tmp_path / "altered.onnx"
    for model in (without_weights, without_opset):
        path.write_bytes(model.SerializeToString())
        with pytest.raises(ModelError, match=r"^altered\.onnx: the sizes of its layers cannot be"):
            count_operations(path, 32, 32)


def test_operations_are_not_counted_of_a_graph_that_reads_other_files(artifact, tmp_path):
    model = onnx.load(str(artifact))
    entry = model.graph.initializer[0].external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"
    (tmp_path / "a.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match=r"^a\.onnx: its tensors lie in another file"):
        count_operations(tmp_path / "a.onnx", 32, 32)


def test_operations_of_what_is_no_graph_are_refused(tmp_path):
    (tmp_path / "a.onnx").write_text("# not a model")
    with pytest.raises(
        ModelError, match=r"^a\.onnx: not an ONNX model, or cut short; export it again$"
    ):
        count_operations(tmp_path / "a.onnx", 32, 32)


def test_fractions_are_of_the_best_ceiling_of_the_precision(artifact, monkeypatch):
    pytest.importorskip("openvino")
    profiled = []

    def profile(path, slices, threads):
        profiled.append((slices.shape, threads))
        return profile_layers(path, slices, threads)

    monkeypatch.setattr(roofline, "profile_layers", profile)
    settings = RooflineSettings(2, 3, 32, timing=TimingSettings(1, 1, 0))
    record = measure_roofline([artifact], settings)
    assert profiled == [((1, 32, 32, 3), 2)]
    row = record.results["rows"][0]
    best = max(c["gflops"] for c in record.results["ceilings"] if c["precision"] == "fp32")
    assert row["fraction"] == pytest.approx(row["gflops"] / best)
    assert (row["engine"], row["precision"]) == ("onnxruntime", "fp32")
    assert "of the ceiling" in describe_record(record)


def test_ceilings_are_of_all_that_is_computed_on_the_threads_asked_for(tmp_path, monkeypatch):
    pytest.importorskip("openvino")
    options, threads = roofline.make_options, []

    def make_options(runtime, number):
        threads.append(number)
        return options(runtime, number)

    monkeypatch.setattr(roofline, "make_options", make_options)
    monkeypatch.setattr(roofline, "_SIDE", 16)
    monkeypatch.setattr(roofline, "_LARGE", SMALL)
    found = {}
    for precision, engine, call, operations in _large(tmp_path, RooflineSettings(1), False):
        found[precision, engine] = operations
        if engine.startswith("OpenVINO"):
            compiled = call.func.__self__.get_compiled_model()
            threads.append(compiled.get_property("INFERENCE_NUM_THREADS"))
    assert threads == [1, 1, 1, 1]
    convolutions = [(p, f"{e}, convolutions") for e in ("onnxruntime", "OpenVINO")
                    for p in ("fp32", "int8")]  # fmt: skip
    assert found == dict.fromkeys(convolutions, SMALL.operations) | {
        ("fp32", "PyTorch, matrix product"): 2 * 16**3
    }


def test_bf16_is_left_out_where_the_processor_does_not_compute_in_it(artifact, monkeypatch):
    pytest.importorskip("openvino")
    machine = roofline.describe_machine() | {"features": ["avx2"]}
    monkeypatch.setattr(roofline, "describe_machine", lambda: machine)
    settings = RooflineSettings(1, 1, 32, timing=TimingSettings(1, 1, 0))
    results = measure_roofline([artifact], settings).results
    measured = {row["precision"] for row in (*results["ceilings"], *results["rows"])}
    assert measured == {"fp32", "int8"}


def test_openvino_takes_part_in_bf16_as_well_where_the_processor_and_the_artifact_can(artifact):
    ways = {
        has_bf16: {
            name: (chosen.provider, chosen.threads, chosen.cpu_precision)
            for name, chosen in _engines(artifact, RooflineSettings(3), has_bf16)
        }
        for has_bf16 in (True, False)
    }
    both = {"onnxruntime": ("cpu", 3, "fp32"), "OpenVINO": ("openvino", 3, "fp32")}
    assert ways == {True: both | {"OpenVINO, bf16": ("openvino", 3, "bf16")}, False: both}
    int8 = ROOT / "runtime" / "lgg_runtime" / "weights" / "tiny-int8.onnx"
    assert [name for name, _ in _engines(int8, RooflineSettings(3), True)] == list(both)


def test_a_rate_is_that_of_the_median_call_after_one_that_is_not_timed(monkeypatch):
    called = []

    def time_in_turn(calls, *_):
        assert called == ["a", "b"]
        return {name: np.array([[0.5, 4.0], [1.0, 0.25], [8.0, 2.0]]) for name in calls}

    monkeypatch.setattr(roofline, "time_in_turn", time_in_turn)
    calls = {
        (name,): (lambda name=name: called.append(name), operations)
        for name, operations in (("a", 3 * 10**9), ("b", 6 * 10**9))
    }
    assert roofline._rates(calls, TimingSettings()) == {("a",): 2.0, ("b",): 4.0}


def test_the_operations_of_a_call_are_those_of_all_its_slices(artifact):
    pytest.importorskip("openvino")
    settings = RooflineSettings(1, batch=4, size=32)
    subjects = roofline._subjects({"a.onnx": artifact}, phantom_slices(4, 32), settings, False)
    call, operations = subjects["a.onnx", "onnxruntime", "fp32"]
    assert operations == 4 * count_operations(artifact, 32, 32)
    assert call().shape == (4, 32, 32)


@pytest.mark.parametrize(
    ("name", "kinds"), [("tiny", ["fp32", "fp32", "bf16"]), ("tiny-int8", ["int8", "int8"])]
)
def test_each_subject_is_set_against_the_ceiling_of_its_arithmetic(name, kinds, monkeypatch):
    """Loaded for onnxruntime alone: not every processor computes in bf16."""
    plain = BackendSettings("cpu", 1)
    monkeypatch.setattr(roofline, "load_backend", lambda path, _: load_backend(path, plain))
    files = {name: ROOT / "runtime" / "lgg_runtime" / "weights" / f"{name}.onnx"}
    subjects = roofline._subjects(files, SLICE, RooflineSettings(1, 1, 32), True)
    assert [kind for _, _, kind in subjects] == kinds
