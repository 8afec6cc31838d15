"""The parity benchmark on a tiny run: verdicts, limits by precision, what enters the record."""

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from lgg_bench.parity import (
    ParitySettings,
    _differences,
    _quality,
    judge_artifact,
    measure_parity,
    require_parity,
)
from lgg_bench.tables import describe_record
from lgg_export.parity import Limits
from lgg_export.references import open_references
from lgg_runtime.backends import BackendSettings, load_backend
from lgg_runtime.cores import available_cores
from lgg_runtime.digests import digest_file
from lgg_runtime.errors import InputError, ModelError, ParityError, UsageError
from lgg_runtime.intensity import normalise
from lgg_train.cases import find_cases, load_cases
from lgg_train.phantom import patient_name
from lgg_train.predict import predict_slices
from lgg_train.prediction import Prediction
from lgg_train.trained import load_model
from stand_ins.run_folder import read_config

SETTINGS = ParitySettings()


@pytest.fixture(scope="module")
def record(run, artifact, altered):
    """One measurement of a faithful artifact and of three that are not."""
    others = [
        altered("wrong.onnx", factor=1.05),
        altered("nan.onnx", factor=np.nan),
        altered("threshold.onnx", change=lambda contract: replace(contract, threshold=0.4)),
    ]
    return measure_parity(run, [artifact, *others], SETTINGS)


@pytest.fixture(scope="module")
def rows(record):
    return {row["artifact"]: row for row in record.results["artifacts"]}


def test_a_faithful_artifact_passes(rows):
    row = rows["tiny.onnx"]
    assert row["failures"] == []
    assert (row["precision"], row["provider"]) == ("fp32", "cpu")
    limits = {name: limit for name, limit in row["limits"].items() if limit is not None}
    assert limits == {"probability": 1e-3, "flipped": 1e-5, "metric": 1e-4}
    assert row["parity"]["largest_probability_difference"] < 1e-4


def test_other_weights_fail_by_every_limit(rows):
    named = " ".join(rows["wrong.onnx"]["failures"])
    for limit in ("probability", "flipped pixels", "metric", "Dice difference of a patient"):
        assert limit in named


def test_an_output_that_is_no_number_is_a_verdict_and_the_others_are_measured(rows):
    row = rows["nan.onnx"]
    assert row["parity"] is None
    assert len(row["failures"]) == 1 and "no number" in row["failures"][0]
    assert rows["threshold.onnx"]["parity"] is not None


def test_a_contract_that_decides_otherwise_than_the_run_fails(rows):
    assert rows["threshold.onnx"]["failures"] == ["its contract's threshold is not the run's"]


@pytest.mark.parametrize(
    ("precision", "cpu_precision", "failures"),
    [
        ("fp32", "fp32", ["probability difference 0.01 over 0.001"]),
        ("fp32", "bf16", []),
        ("fp16", "fp32", []),
        ("fp32 with fp16 weights", "fp32", []),
    ],
)
def test_each_artifact_is_held_to_the_limits_of_its_precision(
    run, artifact, precision, cpu_precision, failures
):
    model = load_model(run)
    contract = load_backend(artifact, BackendSettings("cpu", 1)).contract
    truth = np.zeros((2, 16, 16), bool)
    truth[0, :8] = True
    expected = np.where(truth, np.float32(0.9), np.float32(0.1))
    backend = SimpleNamespace(
        contract=replace(contract, precision=precision),
        provider="cpu",
        run=lambda slices: expected + np.float32(0.01),
    )
    reference = Prediction("A", np.zeros((2, 16, 16, 3), np.uint8), expected, truth, (0, 1), truth)
    settings = ParitySettings(batch=2, cpu_precision=cpu_precision)
    row = judge_artifact(backend, model, ("one patient", [reference]), settings)
    assert row["failures"] == failures
    assert row["parity"]["artifact"]["pooled"]["f1"] == 1


def test_an_artifact_is_asked_for_as_many_slices_at_a_time_as_the_batch(run, artifact):
    asked, shape = [], (3, 16, 16)
    contract = load_backend(artifact, BackendSettings("cpu", 1)).contract

    def answer(slices):
        asked.append(len(slices))
        return np.zeros(slices.shape[:3], np.float32)

    backend = SimpleNamespace(contract=contract, provider="cpu", run=answer)
    nothing = np.zeros(shape, bool)
    reference = Prediction(
        "A", np.zeros((*shape, 3), np.uint8), np.zeros(shape, np.float32), nothing, (0, 1, 2),
        nothing,
    )  # fmt: skip
    references = ("one patient", [reference])
    judge_artifact(backend, load_model(run), references, ParitySettings(batch=2))
    assert asked == [2, 1]


def test_what_failed_is_an_error_by_its_names(record):
    with pytest.raises(ParityError, match=r"3 of 4 .*: wrong\.onnx, nan\.onnx, threshold\."):
        require_parity(record)
    rows = record.results["artifacts"]
    for kept, is_fit in ((rows[:1], True), (rows[:2], False)):
        part = replace(record, results=record.results | {"artifacts": kept})
        if is_fit:
            require_parity(part)
            continue
        with pytest.raises(
            ParityError, match=r"1 of 2 artifacts beyond their limits: wrong\.onnx$"
        ):
            require_parity(part)


def test_each_difference_stands_beside_its_own_limit_in_the_units_of_the_column():
    found = {
        "largest_probability_difference": 0.25, "flipped_pixels": 3e-4,
        "largest_metric_difference": 0.1, "largest_dice_difference": 0.2,
        "mean_dice_loss": 0.001, "largest_dice_loss": 0.008, "recall_loss": -0.003,
    }  # fmt: skip
    row = {"artifact": "a.onnx", "precision": "int8", "failures": [], "parity": found}
    limits = Limits(
        flipped=2e-3, metric=0.5, mean_dice_loss=0.004, patient_dice_loss=0.01, recall_loss=0.006
    )
    table = _differences({"artifacts": [row | {"limits": asdict(limits)}]})
    assert dict(zip(table.header[1:], table.rows[0][1:], strict=True)) == {
        "probability": "0.25",
        "flipped in 100,000": "30 / 200",
        "metrics": "0.1 / 0.5",
        "a patient's Dice": "0.2 / 0.5",
        "mean Dice lost": "0.001 / 0.004",
        "a patient's Dice lost": "0.008 / 0.01",
        "recall lost": "-0.003 / 0.006",
        "verdict": "passed",
    }


def test_each_score_stands_in_the_column_of_its_name():
    scores = {
        "pooled": {"iou": 0.1, "recall": 0.2, "precision": 0.3, "f1": 0.4},
        "per_patient_dice": {"mean": 0.5, "median": 0.6},
    }
    results = {
        "subject": "2 patients", "slices": 9, "threshold": 0.5, "pytorch": scores, "artifacts": [],
    }  # fmt: skip
    table = _quality(results, "cpu")
    assert dict(zip(table.header[1:], table.rows[0][1:], strict=True)) == {
        "IoU": "0.10000", "recall": "0.20000", "precision": "0.30000", "F1": "0.40000",
        "mean Dice": "0.50000", "median Dice": "0.60000",
    }  # fmt: skip


def test_pytorch_is_scored_on_the_test_patients_of_the_split(run, data, record):
    model, cases = load_model(run), {c.patient: c for c in load_cases(find_cases(data))}
    dice, hits, either = [], 0, 0
    for name in json.loads((run / "split.json").read_text())["parts"]["test"]:
        slices = normalise(cases[name].volume.pixels, model.intensity)
        found = model.decision.apply(predict_slices(model.network, slices))
        truth = cases[name].masks
        hits, either = hits + (found & truth).sum(), either + (found | truth).sum()
        dice.append(2 * (found & truth).sum() / (found.sum() + truth.sum()))
    scores = record.results["pytorch"]
    assert scores["pooled"]["iou"] == pytest.approx(hits / either)
    assert scores["per_patient_dice"]["mean"] == pytest.approx(np.mean(dice))
    assert 0 < np.mean(dice) < 1
    assert (record.results["slices"], record.results["threshold"]) == (10, 0.6)
    assert record.results["subject"] == "2 test patients"
    assert record.settings["split"] == "test"


def test_no_patient_and_no_path_enters_the_record(record, artifact, data, tmp_path):
    record.write(tmp_path / "a.json")
    text = (tmp_path / "a.json").read_text()
    assert "PHANTOM" not in text
    assert str(data) not in text
    first, *others = (row["sha256"] for row in record.results["artifacts"])
    assert first == digest_file(artifact)
    assert first not in others


def test_the_limit_takes_the_first_patients_and_slices_that_count_are_told(
    run, artifact, monkeypatch
):
    def open_part(*given):
        subject, stream = open_references(*given)
        return subject, (replace(reference, used=(1, 2, 4)) for reference in stream)

    monkeypatch.setattr("lgg_export.references.open_references", open_part)
    record = measure_parity(run, [artifact], replace(SETTINGS, limit=1))
    assert record.results["subject"] == "the first 1 of 2 test patients"
    assert record.results["slices"] == 3
    assert record.results["pytorch"]["per_patient_dice"]["patients"] == 1


def test_another_part_of_the_split_can_be_measured(run, artifact):
    record = measure_parity(run, [artifact], replace(SETTINGS, part="validation"))
    assert record.results["subject"] == "1 validation patient"
    assert record.settings["split"] == "validation"


def test_patients_who_trained_are_recorded_as_such(make_run, artifact):
    everyone = make_run("all", train=[patient_name(index) for index in range(5)])
    record = measure_parity(everyone, [artifact], SETTINGS)
    assert (record.settings["split"], record.results["subject"]) == ("train", "5 train patients")
    with pytest.raises(UsageError, match=r"--split test: all patients of .* trained; leave"):
        measure_parity(everyone, [artifact], replace(SETTINGS, part="test"))


@pytest.fixture
def run_without_data(run, tmp_path):
    """The run, on a machine that its dataset is not on."""
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    config = read_config(copy)
    (copy / "config.json").write_text(json.dumps(config | {"data": str(tmp_path / "gone")}))
    return copy


def test_phantoms_are_of_no_part_of_the_split(run_without_data, artifact):
    record = measure_parity(run_without_data, [artifact], replace(SETTINGS, limit=1))
    assert record.settings["split"] is None
    assert "6 phantom patients, the dataset is not there" in record.results["subject"]


def test_a_part_of_a_dataset_that_is_gone_is_refused(run_without_data, artifact):
    with pytest.raises(UsageError, match=r"--split test: the dataset .* name it with --data"):
        measure_parity(run_without_data, [artifact], replace(SETTINGS, part="test"))


def test_the_tables_show_pytorch_first_and_each_verdict(record):
    text = describe_record(record)
    quality, differences = text.split("\n\n")[1], text.split("\n\n")[3]
    names = [line.split()[0] for line in quality.splitlines()[2:]]
    assert names[:2] == ["PyTorch", "tiny.onnx"]
    for line in quality.splitlines()[3:5]:
        row = next(r for r in record.results["artifacts"] if r["artifact"] == line.split()[0])
        scores = row["parity"]["artifact"]["pooled"]
        assert line.split()[2:6] == [
            f"{scores[key]:.5f}" for key in ("iou", "recall", "precision", "f1")
        ]
    verdicts = {line.split()[0]: line.split()[-1] for line in differences.splitlines()[2:6]}
    assert verdicts == {
        "tiny.onnx": "passed",
        "wrong.onnx": "FAILED",
        "nan.onnx": "FAILED",
        "threshold.onnx": "FAILED",
    }
    assert "threshold.onnx FAILED: its contract's threshold is not the run's" in text


@pytest.mark.parametrize("cpu_precision", ["fp32", "bf16"])
def test_the_tables_say_where_the_artifacts_ran(record, cpu_precision):
    settings = record.settings | {"provider": "openvino", "cpu_precision": cpu_precision}
    text = describe_record(replace(record, settings=settings))
    said = "on openvino." if cpu_precision == "fp32" else "on openvino in bf16."
    assert f"Artifacts: {said}" in text
    assert "Artifacts: on cpu." in describe_record(record)


def test_artifacts_are_loaded_where_and_in_what_is_asked_for(run, artifact, monkeypatch):
    asked = []

    def load(_path, chosen):
        asked.append(chosen)
        raise ModelError("enough")

    monkeypatch.setattr("lgg_bench.parity.load_backend", load)
    with pytest.raises(ModelError, match="enough"):
        measure_parity(run, [artifact], ParitySettings(provider="openvino", cpu_precision="bf16"))
    assert asked == [BackendSettings("openvino", available_cores(), cpu_precision="bf16")]


def test_a_dataset_without_the_patients_of_the_split_is_an_error(run, artifact, tmp_path):
    folder = tmp_path / "kaggle_3m"
    for case in ("PHANTOM_A_0001", "PHANTOM_B_0002"):
        (folder / case).mkdir(parents=True)
        for source in sorted(_case_folder(run, case).iterdir()):
            (folder / case / source.name).write_bytes(source.read_bytes())
    with pytest.raises(InputError, match="split names of PHANTOM_C_0003, PHANTOM_D_0004"):
        measure_parity(run, [artifact], replace(SETTINGS, data=tmp_path))


def _case_folder(run, case):
    return Path(read_config(run)["data"]) / "kaggle_3m" / case


def test_an_artifact_of_unknown_precision_is_refused(run, altered):
    odd = altered("odd.onnx", change=lambda contract: replace(contract, precision="int1"))
    with pytest.raises(ModelError, match="precision 'int1': expected fp32, fp16"):
        measure_parity(run, [odd], replace(SETTINGS, limit=1))
