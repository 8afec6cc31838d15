"""A run in int8: calibrated on its training part, gated, told in its contract, compiled."""

import importlib.util
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch

from lgg_export import int8
from lgg_export.artifact import ExportSettings, export_run, read_contract
from lgg_export.engine import EngineSettings, build_engine
from lgg_export.engine_profiles import make_profiles
from lgg_export.limits import LIMITS, golden_tolerance
from lgg_export.parity import Limits
from lgg_export.quantise import TARGETS
from lgg_export.references import choose_slices
from lgg_runtime.backends import BackendSettings, load_backend
from lgg_runtime.errors import ModelError, ParityError
from lgg_runtime.golden import check_golden
from lgg_train.prediction import Prediction
from lgg_train.run import clear_scores
from lgg_train.trained import load_model, save_model

needs_rtx = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None,
    reason="tensorrt_rtx is not installed; pip install 'lgg-edge[tensorrt-rtx]'",
)


@pytest.fixture(scope="module")
def loose():
    """Six slices of 64 x 64 make one flipped pixel a large share; what is judged is judging."""
    limits = Limits(flipped=0.1, mean_dice_loss=0.2, patient_dice_loss=0.2, recall_loss=0.2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(LIMITS, "int8", limits)
        yield


@pytest.fixture(scope="module", params=["cpu", "tensorrt"])
def made(request, loose, finished_run, tmp_path_factory):
    path = tmp_path_factory.mktemp("int8") / "tiny.onnx"
    settings = ExportSettings("int8", name="tiny", target=request.param)
    contract, parity = export_run(finished_run, path, settings)
    return SimpleNamespace(target=request.param, path=path, contract=contract, parity=parity)


def test_the_contract_names_the_target_and_how_the_ranges_came_about(made):
    words = {"cpu": "int8", "tensorrt": "int8 symmetric"}
    contract = made.contract
    assert contract.precision == words[made.target]
    assert read_contract(made.path) == contract
    held = dict(contract.parity)
    assert held.pop("calibrated_on") == "54 slices of 9 train patients"
    assert held.pop("float_layers") == []
    assert held == made.parity.summary()
    assert held["subject"] == "1 validation patient"


def test_the_artifact_runs_and_finds_what_pytorch_finds(made):
    assert made.parity.artifact["pooled"]["recall"] > 0
    assert made.parity.largest_probability_difference > 0
    backend = load_backend(made.path, BackendSettings("cpu", 1))
    assert made.contract.golden.tolerance == golden_tolerance("int8")
    assert check_golden(backend.run, made.contract.golden) < 1e-5


def test_the_file_is_smaller_than_that_in_float(made, exported):
    assert made.path.stat().st_size < exported.path.stat().st_size


@needs_rtx
def test_rtx_compiles_the_one_that_is_made_for_it_and_says_which_is_not(made, tmp_path):
    output = tmp_path / "m.engine"
    settings = EngineSettings("tensorrt-rtx", ("SM86",))
    if made.target == "cpu":
        with pytest.raises(ModelError, match="export it with --target tensorrt"):
            build_engine(made.path, output, settings)
        assert list(tmp_path.iterdir()) == []
        return
    sidecar = build_engine(made.path, output, settings)
    assert sidecar.key.precision == "int8 symmetric"
    assert [(t.name, t.dtype) for t in sidecar.tensors] == [
        ("slices", "UINT8"),
        ("probability", "FLOAT"),
    ]
    assert sidecar.key.profiles == make_profiles(made.contract, 32, 512)


def test_a_network_that_marks_nothing_cannot_pass(run_copy, tmp_path):
    """What it finds would be the same in int8, whatever that does to it."""
    model = load_model(run_copy)
    with torch.no_grad():
        model.network.head.bias -= 100
    save_model(run_copy, model)
    clear_scores(run_copy)
    with pytest.raises(ParityError, match="the network marks nothing on 9 train patients"):
        export_run(run_copy, tmp_path / "m.onnx", ExportSettings("int8"))
    assert not (tmp_path / "m.onnx").exists()
    export_run(run_copy, tmp_path / "m.onnx", ExportSettings())


@pytest.mark.usefixtures("ready_graph")
def test_what_no_int8_graph_reaches_writes_nothing(finished_run, tmp_path, monkeypatch):
    monkeypatch.setitem(LIMITS, "int8", Limits(flipped=-1))
    monkeypatch.setattr(int8, "SLICES", 1)
    with pytest.raises(ParityError, match=r"m\.onnx is not written: int8: with .* in float") as no:
        export_run(finished_run, tmp_path / "m.onnx", ExportSettings("int8", target="tensorrt"))
    assert no.value.exit_code == 9
    assert list(tmp_path.iterdir()) == []


def test_some_slices_give_the_ranges_and_rank_the_layers_and_whole_patients_judge(monkeypatch):
    shape, asked, seen = (6, 2, 2), [], {}
    patient = Prediction(
        "A", np.zeros((*shape, 3), np.uint8), np.zeros(shape, np.float32), np.zeros(shape, bool),
        tuple(range(6)), np.ones(shape, bool),
    )  # fmt: skip

    def judge(subject, patients, graph):
        asked.append((subject, [len(one.used) for one in patients], graph))

    def keep_sensitive(_quantiser, judge, quick_judge, limits):
        judge("whole"), quick_judge("quick")
        seen["limits"] = limits
        return onnx.ModelProto()

    def calibrate(_graph, slices, *_):
        seen["slices"] = [len(one) for one in slices]

    monkeypatch.setattr(int8, "SLICES", 2)
    monkeypatch.setattr(int8, "Quantiser", calibrate)
    monkeypatch.setattr(int8, "keep_sensitive", keep_sensitive)
    references = ("2 patients", [patient, patient])
    _, told = int8.quantise_run(onnx.ModelProto(), TARGETS["tensorrt"], references, judge)
    whole, quick = ("2 patients", [6, 6], "whole"), ("slices of 2 patients", [2, 2], "quick")
    assert asked == [whole, quick]
    assert seen == {"limits": LIMITS["int8"], "slices": [2, 2]}
    assert told["calibrated_on"] == "4 slices of 2 patients"


def test_slices_are_chosen_from_the_largest_tumour_down():
    truth = np.zeros((6, 2, 2), bool)
    truth[3], truth[1, 0] = True, True
    slices = np.arange(6, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)
    patient = Prediction("A", slices, truth.astype(np.float32), truth, tuple(range(6)), truth)
    chosen = choose_slices(patient, 3)
    assert chosen.slices[:, 0, 0, 0].tolist() == [3, 0, 5]
    assert chosen.truth.sum(axis=(1, 2)).tolist() == [4, 0, 0]
    assert len(choose_slices(patient, 9).slices) == 6
