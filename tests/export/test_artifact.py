"""From a run to an artifact: proven equal and complete, or not written at all."""

import dataclasses
import hashlib
import json
import tempfile
from dataclasses import replace

import numpy as np
import onnx
import pytest

from lgg_export import artifact, references
from lgg_export.artifact import ExportSettings, export_run, read_contract
from lgg_export.limits import LIMITS
from lgg_export.parity import Limits
from lgg_export.references import open_references
from lgg_runtime.backends import BackendSettings, load_backend
from lgg_runtime.contract import METADATA_KEY, PIXEL_MM
from lgg_runtime.errors import InputError, ModelError, ParityError, ResourceError, UsageError
from lgg_runtime.golden import golden_input
from lgg_runtime.intensity import normalise
from lgg_runtime.segmenter import Segmenter
from lgg_train.cases import find_cases, load_cases
from lgg_train.checkpoint import load_checkpoint, save_checkpoint
from lgg_train.phantom import PhantomSettings
from lgg_train.predict import predict_slices
from lgg_train.run import clear_scores
from lgg_train.splits import Split
from lgg_train.trained import load_model

FP32 = ExportSettings()


def read_json(path):
    return json.loads(path.read_text())


def test_the_contract_is_complete(exported, finished_run):
    contract, config = exported.contract, read_json(finished_run / "config.json")
    model = load_model(finished_run)
    assert (contract.name, contract.precision) == ("tiny", "fp32")
    assert contract.threshold == model.decision.threshold
    assert contract.cleanup == model.decision.cleanup
    assert contract.how_decided == model.decision.how
    assert contract.intensity == model.intensity
    assert dataclasses.asdict(contract.training) == config["training"]
    assert contract.tool_version == config["versions"]["lgg-edge"]
    assert (contract.licence, contract.size_multiple) == ("MIT", 16)
    assert "not for diagnosis" in contract.intended_use
    for part in ("validation", "test"):
        metrics = read_json(finished_run / f"metrics_{part}.json")
        assert contract.metrics[part]["pooled"] == metrics["pooled"]
        mean = metrics["per_patient_dice"]["mean"]
        assert contract.metrics[part]["per_patient_dice"]["mean"] == mean


def test_the_contract_carries_the_parity_on_the_validation_patients(exported):
    parity = exported.contract.parity
    assert parity == exported.parity.summary()
    assert parity["subject"] == "1 validation patient"
    assert (parity["patients"], parity["slices"]) == (1, 6)
    assert exported.parity.failures(LIMITS["fp32"]) == []
    assert exported.parity.pytorch["pooled"]["support"]["tumour"] > 0
    assert exported.parity.artifact["pooled"]["recall"] > 0


def test_pytorch_s_side_of_the_parity_is_the_run_s_own_score(exported, finished_run):
    metrics = read_json(finished_run / "metrics_validation.json")
    pooled = exported.parity.pytorch["pooled"]
    assert {key: metrics["pooled"][key] for key in pooled} == pooled


def test_the_contract_is_read_back_from_the_file_and_by_the_runtime(exported):
    assert read_contract(exported.path) == exported.contract
    backend = load_backend(exported.path, BackendSettings("cpu", 1))
    assert backend.contract == exported.contract
    assert list(exported.path.parent.iterdir()) == [exported.path]


def test_the_golden_pair_reproduces(exported):
    golden = exported.contract.golden
    slices = golden_input(golden.shape)
    assert hashlib.sha256(slices.tobytes()).hexdigest() == golden.input_sha256
    found = load_backend(exported.path, BackendSettings("cpu", 1)).run(slices)
    samples = found[0, ::16, ::16].ravel()
    np.testing.assert_allclose(golden.samples, samples, rtol=0, atol=golden.tolerance)
    np.testing.assert_allclose(golden.samples, samples, rtol=0, atol=1e-5)
    assert hashlib.sha256(found.tobytes()).hexdigest() == golden.output_sha256


def test_the_golden_samples_are_pytorch_s_as_well(exported, finished_run):
    network = load_model(finished_run).network
    found = predict_slices(network, golden_input())[0, ::16, ::16].ravel()
    np.testing.assert_allclose(exported.contract.golden.samples, found, rtol=0, atol=1e-5)


def test_the_runtime_segments_as_pytorch_and_the_decision_do(exported, finished_run, phantoms):
    model = load_model(finished_run)
    segmenter = Segmenter.load(exported.path)
    found = 0
    for case in load_cases(find_cases(phantoms)[:4]):
        p = predict_slices(model.network, normalise(case.volume.pixels, model.intensity))
        result = segmenter.segment(case.volume)
        np.testing.assert_allclose(result.probability, p, rtol=0, atol=1e-5)
        assert (result.mask != model.decision.apply(p)).mean() < 1e-4
        found += result.mask.sum()
    assert found > 0


def test_no_patient_and_no_folder_is_named_in_the_artifact(exported, finished_run, phantoms):
    data = exported.path.read_bytes()
    for part in ("train", "validation", "test"):
        for patient in Split.read(finished_run / "split.json").patients(part):
            assert patient.encode() not in data
    for folder in (phantoms, finished_run):
        assert str(folder).encode() not in data


def test_fp16_weights_are_told_judged_by_their_limits_and_make_a_smaller_file(
    exported, finished_run, tmp_path, ready_graph, monkeypatch
):
    # So few pixels make one flipped pixel a large share; what is judged is that it is judged.
    loose = Limits(probability=0.05, flipped=1e-2, metric=5e-2)
    monkeypatch.setitem(LIMITS, "fp16", loose)
    settings = ExportSettings(weights="fp16")
    contract, parity = export_run(finished_run, tmp_path / "half.onnx", settings)
    assert contract.precision == "fp32 with fp16 weights"
    assert parity.largest_probability_difference > exported.parity.largest_probability_difference
    assert contract.golden.tolerance == 0.05
    assert (tmp_path / "half.onnx").stat().st_size < exported.path.stat().st_size


def test_fp16_arithmetic_passes_through_the_gate_too(finished_run, tmp_path, monkeypatch):
    loose = Limits(probability=0.05, flipped=1e-2, metric=5e-2)
    monkeypatch.setitem(LIMITS, "fp16", loose)
    path = tmp_path / "half.onnx"
    contract, parity = export_run(finished_run, path, ExportSettings(precision="fp16"))
    assert contract.precision == "fp16"
    assert parity.artifact["pooled"]["recall"] > 0
    assert read_contract(path) == contract


# The gate.


def assert_nothing_written(folder, old=None):
    left = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert left == ({} if old is None else {"model.onnx": old})


@pytest.mark.parametrize("old", [None, b"an older artifact"])
def test_an_exceeded_limit_writes_nothing_and_names_every_failure(
    finished_run, tmp_path, ready_graph, monkeypatch, old
):
    out = tmp_path / "out"
    out.mkdir()
    if old is not None:
        (out / "model.onnx").write_bytes(old)
    monkeypatch.setitem(LIMITS, "fp32", Limits(-1, -1, -1))
    with pytest.raises(ParityError) as failed:
        export_run(finished_run, out / "model.onnx", FP32)
    message = str(failed.value)
    assert message.startswith("model.onnx is not written: probability difference")
    for name in ("flipped pixels", "metric difference", "Dice difference of a patient"):
        assert name in message
    assert message.endswith("(1 validation patient)")
    assert_nothing_written(out, old)


@pytest.mark.usefixtures("ready_graph")
def test_what_rounds_too_much_is_refused_with_a_remedy(finished_run, tmp_path, monkeypatch):
    monkeypatch.setitem(LIMITS, "fp16", Limits(flipped=-1))
    with pytest.raises(ParityError, match=r"\); train longer, or export plain fp32$"):
        export_run(finished_run, tmp_path / "model.onnx", ExportSettings(weights="fp16"))
    assert_nothing_written(tmp_path)


def test_one_weight_off_writes_nothing(finished_run, tmp_path, ready_graph, monkeypatch):
    def build(*_):
        model = ready_graph()
        tensor = max(model.graph.initializer, key=lambda t: len(t.raw_data))
        values = onnx.numpy_helper.to_array(tensor).copy()
        values.flat[np.abs(values).argmax()] *= -1
        tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
        return model

    monkeypatch.setattr(artifact, "build_graph", build)
    with pytest.raises(ParityError, match="probability difference"):
        export_run(finished_run, tmp_path / "model.onnx", FP32)
    assert_nothing_written(tmp_path)


def test_an_artifact_whose_output_is_no_number_writes_nothing(
    finished_run, tmp_path, ready_graph, monkeypatch
):
    def build(*_):
        model = ready_graph()
        for tensor in model.graph.initializer:
            values = onnx.numpy_helper.to_array(tensor)
            if values.dtype == np.float32 and values.size == 1:
                tensor.CopyFrom(onnx.numpy_helper.from_array(values * np.nan, tensor.name))
        return model

    monkeypatch.setattr(artifact, "build_graph", build)
    with pytest.raises(ParityError, match=r"model\.onnx is not written: .* no number"):
        export_run(finished_run, tmp_path / "model.onnx", FP32)
    assert_nothing_written(tmp_path)


def test_a_run_whose_own_answers_are_no_numbers_writes_nothing(
    run_copy, tmp_path, graph, monkeypatch
):
    # The graph's own numbers are finite: the reference alone shows that something is wrong.
    state = load_checkpoint(run_copy / "model.pt")
    state["weights"]["down.0.1.weight"].fill_(3e38)
    save_checkpoint(run_copy / "model.pt", state)
    clear_scores(run_copy)
    monkeypatch.setattr(artifact, "build_graph", lambda *_: graph)
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(ParityError, match="no number"):
        export_run(run_copy, out / "model.onnx", FP32)
    assert_nothing_written(out)


# What the gate compares on.


def test_without_the_run_s_data_phantoms_stand_in_and_the_contract_says_so(
    run_copy, tmp_path, ready_graph, monkeypatch
):
    config = read_json(run_copy / "config.json")
    config["data"] = str(tmp_path / "gone")
    (run_copy / "config.json").write_text(json.dumps(config))
    small = PhantomSettings(patients=2, slices=3, size=64, seed=1000)
    monkeypatch.setattr(references, "PHANTOMS", small)
    contract, parity = export_run(run_copy, tmp_path / "model.onnx", FP32)
    assert contract.parity["subject"] == "2 phantom patients, the dataset is not there"
    assert (parity.patients, parity.slices) == (2, 6)
    assert set(parity.pytorch["per_patient_dice"]["by_patient"]) == {
        "PHANTOM_A_0001",
        "PHANTOM_B_0002",
    }


def test_any_part_of_the_split_can_be_compared_on(finished_run, phantoms):
    model = load_model(finished_run)
    subject, references = open_references(finished_run, model, phantoms, "test")
    assert subject == "2 test patients"
    names = [reference.patient for reference in references]
    assert names == Split.read(finished_run / "split.json").patients("test")


# What is refused before any work.


def test_an_output_that_cannot_be_written_is_refused_before_a_graph_is_built(
    finished_run, tmp_path, monkeypatch
):
    monkeypatch.setattr(artifact, "build_graph", None)
    with pytest.raises(ResourceError, match=r"x\.onnx: cannot be written: no folder .*; make it"):
        export_run(finished_run, tmp_path / "nowhere" / "x.onnx", FP32)


@pytest.mark.usefixtures("ready_graph")
def test_a_full_folder_of_temporary_files_is_named(finished_run, tmp_path, small_disk, monkeypatch):
    full = small_disk(4096)
    monkeypatch.setattr(tempfile, "tempdir", str(full))
    told = rf"^{full} \(TMPDIR\): trial\.onnx: the disk is full; free some space$"
    with pytest.raises(ResourceError, match=told):
        export_run(finished_run, tmp_path / "model.onnx", FP32)
    assert list(full.iterdir()) == list(tmp_path.glob("*.onnx")) == []


@pytest.mark.usefixtures("ready_graph")
def test_a_machine_without_a_folder_for_temporary_files_is_told(
    finished_run, tmp_path, monkeypatch
):
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/proc/read-only"])
    with pytest.raises(ResourceError, match=r"^TMPDIR: cannot be written: No usable temporary dir"):
        export_run(finished_run, tmp_path / "model.onnx", FP32)


@pytest.mark.parametrize("text", ["{}", "[]", "5", '{"pooled": {}, "per_patient_dice": 5}'])
def test_a_file_that_holds_no_scores_is_refused_by_name(run_copy, tmp_path, text):
    (run_copy / "metrics_validation.json").write_text(text)
    with pytest.raises(InputError, match=r"metrics_validation\.json: holds no scores"):
        export_run(run_copy, tmp_path / "model.onnx", FP32)


def test_scores_of_another_network_do_not_enter_a_contract(run_copy, tmp_path):
    state = load_checkpoint(run_copy / "model.pt")
    state["weights"]["head.bias"] += 1
    save_checkpoint(run_copy / "model.pt", state)
    told = r"metrics_validation\.json: scores of another network than model\.pt beside it; `lgg-tr"
    with pytest.raises(InputError, match=told):
        export_run(run_copy, tmp_path / "model.onnx", FP32)
    assert list(tmp_path.glob("*.onnx")) == []


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"precision": "fp16", "weights": "fp16"}, "leave --weights out"),
        ({"precision": "int4"}, "'int4'"),
        ({"precision": "int8", "weights": "fp16"}, "leave --weights out"),
        ({"precision": "int8", "target": "npu"}, "'npu': expected cpu or tensorrt"),
        ({"target": "tensorrt"}, "is for --precision int8"),
        ({"pixel_mm": 0.049}, "--pixel-mm 0.049: expected from 0.05 to 20"),
        ({"pixel_mm": 20.1}, "--pixel-mm 20.1: expected from 0.05 to 20"),
        ({"licence": " "}, "--licence ' ': expected a line of printable text"),
        ({"licence": "a\nb"}, "--licence .*: expected a line of printable text"),
        ({"weights": "int8"}, "'int8'"),
    ],
)
def test_impossible_precisions_are_usage_errors(options, named):
    with pytest.raises(UsageError, match=named):
        ExportSettings(**options)


@pytest.mark.parametrize("pixel_mm", PIXEL_MM)
def test_pixels_may_be_of_either_end_of_their_range(pixel_mm):
    assert ExportSettings(pixel_mm=pixel_mm).pixel_mm == pixel_mm


@pytest.mark.parametrize("name", ["x" * 56, "a\\b", "a\nb", "", "  "])
def test_a_name_that_dicom_cannot_hold_is_a_usage_error(finished_run, tmp_path, name):
    with pytest.raises(UsageError, match=r"--name: .*: expected at most 55 printable characters"):
        export_run(finished_run, tmp_path / "m.onnx", ExportSettings(name=name))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["model", "model.pt", "model.engine"])
def test_another_suffix_is_a_usage_error(finished_run, tmp_path, name):
    with pytest.raises(UsageError, match=rf"{name}: expected a name that ends in \.onnx"):
        export_run(finished_run, tmp_path / name, FP32)


# Reading a contract.


def test_a_model_with_a_damaged_contract_is_refused_by_name(tmp_path, graph):
    path = tmp_path / "bare.onnx"
    onnx.helper.set_model_props(graph, {METADATA_KEY: '{"name": "x"}'})
    path.write_bytes(graph.SerializeToString())
    with pytest.raises(ModelError, match=r"bare\.onnx: contract: field .* is missing"):
        read_contract(path)


def test_a_contract_that_stands_twice_is_read_no_more_than_run(tmp_path, exported):
    model = onnx.load(str(exported.path))
    other = replace(exported.contract, threshold=0.125)
    model.metadata_props.add(key=METADATA_KEY, value=other.dumps())
    (tmp_path / "two.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match=r"two\.onnx: an entry of its metadata stands twice"):
        read_contract(tmp_path / "two.onnx")
