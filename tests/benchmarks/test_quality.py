"""Quality of what lgg-infer runs: what is lost against the network, recounted, and its verdict."""

import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lgg_bench.artifacts import digest_run, score_differences
from lgg_bench.quality import (
    QualitySettings,
    _load_segmenters,
    _require_run,
    _row,
    _segment,
    measure_quality,
    tabulate,
)
from lgg_bench.record import Record
from lgg_export.artifact import ExportSettings, export_run
from lgg_export.limits import LOSSY
from lgg_runtime.digests import digest_file
from lgg_runtime.errors import InputError, UsageError
from lgg_runtime.intensity import normalise
from lgg_runtime.loading import LoadSettings
from lgg_runtime.metrics import Counts
from lgg_runtime.segmenter import Segmenter
from lgg_train.cases import find_cases, load_cases
from lgg_train.phantom import patient_name
from lgg_train.predict import predict_slices
from lgg_train.report import run_evaluation
from lgg_train.splits import Split
from lgg_train.trained import load_model, save_model

SCORES = ("mean_dice", "median_dice", "recall", "precision")


def score(pairs):
    """Of masks and truths, a pair a patient: Dice of each, and SCORES from NumPy alone."""
    dice = [2 * (m & t).sum() / (m.sum() + t.sum()) for m, t in pairs]
    hits, found, there = (sum(x.sum() for x in part) for part in zip(
        *((m & t, m, t) for m, t in pairs), strict=True))  # fmt: skip
    return dice, dict(
        zip(SCORES, (np.mean(dice), np.median(dice), hits / there, hits / found), strict=True)
    )


def test_what_an_artifact_lost_is_how_much_lower_it_scores_than_the_network(run, data, altered):
    def tolerate(contract):
        return replace(contract, golden=replace(contract.golden, tolerance=0.1))

    other = altered("other.onnx", 1.05, tolerate)
    settings = QualitySettings("test", ("cpu",), None, None)
    record = measure_quality(run, [other], data, settings, progress=False)
    model, segmenter = load_model(run), Segmenter.load(other, LoadSettings("cpu"))
    theirs, ours, names = [], [], Split.read(run / "split.json").patients("test")
    for case in load_cases([file for file in find_cases(data) if file.patient in names]):
        probability = predict_slices(model.network, normalise(case.volume.pixels, model.intensity))
        theirs.append((model.decision.apply(probability), case.masks))
        ours.append((segmenter.segment(case.volume).mask, case.masks))
    (dice, network), (own_dice, own) = score(theirs), score(ours)
    assert record.results["limits"] == {
        "mean_dice": LOSSY.mean_dice_loss,
        "patient_dice": LOSSY.patient_dice_loss,
        "recall": LOSSY.recall_loss,
    }
    assert record.results["slices"] == sum(len(truth) for _, truth in ours)
    first, whole, _ = record.results["rows"]
    for row, expected in ((first, network), (whole, own)):
        assert {name: row[name] for name in SCORES} == pytest.approx(expected)
    assert network["recall"] != own["recall"]
    assert whole["lost"] == pytest.approx({
        "mean_dice": network["mean_dice"] - own["mean_dice"],
        "patient_dice": max(np.subtract(dice, own_dice)),
        "recall": network["recall"] - own["recall"],
    })  # fmt: skip


def test_scores_are_the_median_and_mean_of_the_way_that_the_row_names(
    make_run, data, tmp_path, monkeypatch
):
    """Of three patients, since of two the median is the mean."""
    one, other, *judged = (patient_name(number) for number in range(5))
    run = make_run("patient", train=(one,), validation=tuple(judged), test=(other,))
    artifact = tmp_path / "three.onnx"
    export_run(run, artifact, ExportSettings())
    settings = QualitySettings("validation", ("cpu",), None, artifact)
    asked, load = [], Segmenter.load
    with monkeypatch.context() as patch:
        patch.setattr(Segmenter, "load", lambda *given: asked.append(given) or load(*given))
        record = measure_quality(run, [artifact], data, settings, progress=False)
    ways = ({}, {"crop": True}, {"first_look": artifact})
    assert asked == [(artifact, LoadSettings("cpu", **options)) for options in ways]
    digest = digest_file(artifact)
    assert (record.results["artifacts"], record.results["first_look"]) == (
        {"three.onnx": digest}, digest
    )  # fmt: skip
    cases = load_cases([file for file in find_cases(data) if file.patient in judged])
    rows = record.results["rows"][1:]
    assert [row["way"] for row in rows] == ["", "head crop", "first look"]
    assert {row["subject"] for row in rows} == {"three.onnx (fp32) on cpu"}
    for row, given in zip(rows, asked, strict=True):
        way = Segmenter.load(*given)
        _, expected = score([(way.segment(case.volume).mask, case.masks) for case in cases])
        assert expected["median_dice"] != pytest.approx(expected["mean_dice"], abs=1e-3)
        assert {name: row[name] for name in SCORES} == pytest.approx(expected)


def test_slices_that_do_not_count_are_not_scored_and_what_was_left_out_adds_up(run, data):
    names = Split.read(run / "split.json").patients("test")
    members = [file for file in find_cases(data) if file.patient in names]
    marks_all = SimpleNamespace(
        prepare=lambda volume: volume,
        run=lambda _volume: SimpleNamespace(left_out=2),
        finish=lambda volume, _: SimpleNamespace(mask=np.ones(volume.pixels.shape[:3], bool)),
    )
    counting = dict.fromkeys(names, (1, 2))
    slices, theirs, ours = _segment(run, load_model(run), members, counting, {"way": marks_all})
    assert len(members) > 1
    assert slices == ours["way"].left_out == 2 * len(members)
    known = SimpleNamespace(contract=SimpleNamespace(precision="fp32"))
    assert _row(("a", "cpu", "way"), known, ours["way"], theirs)["left_out"] == slices
    for case in load_cases(members):
        truth = case.masks[[1, 2]]
        assert ours["way"].counts[case.patient] == Counts.of(np.ones_like(truth), truth)
        assert theirs[case.patient].total == truth.size


def test_a_limit_takes_the_first_patients_and_is_one_at_least(run, data, artifact, monkeypatch):
    taken = []

    def segment(_run, _model, members, *_):
        taken.extend(file.patient for file in members)
        return 1, {"A": Counts(1, 1, 1, 1)}, {}

    monkeypatch.setattr("lgg_bench.quality._segment", segment)
    monkeypatch.setattr("lgg_bench.quality._load_segmenters", lambda *_: {})
    settings = QualitySettings("test", ("cpu",), 1, None)
    results = measure_quality(run, [artifact], data, settings, progress=False).results
    assert (results["patients"], results["run"]) == (1, digest_run(run))
    assert taken == Split.read(run / "split.json").patients("test")[:1]


def test_data_that_are_not_those_of_the_run_are_refused(run, data, artifact, tmp_path):
    """What a network was trained on it would find better than what it never saw."""
    name = Split.read(run / "split.json").patients("test")[0]
    (file,) = (file for file in find_cases(data) if file.patient == name)
    folder = shutil.copytree(data, tmp_path / "data") / file.slices[0].parent.relative_to(data)
    shutil.copy(folder / file.slices[1].name, folder / file.slices[0].name)
    settings = QualitySettings("test", ("cpu",), None, None)
    with pytest.raises(InputError, match=f"trained on other data: {name} differ"):
        measure_quality(run, [artifact], tmp_path / "data", settings, progress=False)


def test_each_artifact_takes_each_way_on_each_provider(tmp_path, monkeypatch):
    monkeypatch.setattr(Segmenter, "load", lambda *given: given)
    look = tmp_path / "look.onnx"
    settings = QualitySettings("test", ("cpu", "openvino"), None, look)
    loaded = _load_segmenters({"a": tmp_path / "a.onnx"}, settings)
    ways = {"": {}, "head crop": {"crop": True}, "first look": {"first_look": look}}
    assert loaded == {
        ("a", provider, way): (tmp_path / "a.onnx", LoadSettings(provider, **options))
        for provider in settings.providers
        for way, options in ways.items()
    }


def test_an_artifact_or_a_first_look_of_another_training_is_refused(run, artifact):
    model, contract = load_model(run), Segmenter.load(artifact, LoadSettings("cpu")).contract
    other = replace(contract, training=replace(contract.training, split="0" * 64))

    def require(of, look):
        look = SimpleNamespace(name="look.onnx", contract=look)
        segmenter = SimpleNamespace(contract=of, first_look=look)
        _require_run(run, model, {("a.onnx", "cpu", ""): segmenter})

    require(contract, contract)
    with pytest.raises(UsageError, match=r"^a\.onnx is not of .*: its contract's training data"):
        require(other, contract)
    with pytest.raises(UsageError, match=r"^first look look\.onnx: its contract's training data"):
        require(contract, other)


def test_an_artifact_of_another_run_that_decides_alike_on_the_same_split_is_refused(
    run, data, tmp_path
):
    one, other = (shutil.copytree(run, tmp_path / name) for name in ("one", "other"))
    artifact, settings = tmp_path / "one.onnx", QualitySettings("test", ("cpu",), None, None)
    run_evaluation(one, data, "test", "cpu")
    export_run(one, artifact, ExportSettings())
    model = load_model(other)
    with torch.no_grad():
        model.network.head.weight.neg_()
    save_model(other, model)
    assert measure_quality(one, [artifact], data, settings, progress=False).results["patients"] == 2
    run_evaluation(other, data, "test", "cpu")
    said = (
        r"one\.onnx is not of .*/other: its contract's scores of the network on test patients are"
    )
    with pytest.raises(UsageError, match=said):
        measure_quality(other, [artifact], data, settings, progress=False)
    contract = Segmenter.load(artifact, LoadSettings("cpu")).contract
    assert score_differences(contract, one) == []
    for foreign in (None, {"pooled": {"iou": "high"}}):
        found = score_differences(replace(contract, metrics={"test": foreign}), one)
        assert found == ["its contract's scores of the network on test patients are not the run's"]


@pytest.mark.parametrize("over", [None, "mean_dice", "patient_dice", "recall"])
def test_a_row_is_within_the_limits_where_none_is_passed(over):
    limits = {"mean_dice": 0.01, "patient_dice": 0.05, "recall": 0.02}
    lost = {name: limit + (0.001 if name == over else 0) for name, limit in limits.items()}
    scores = dict(zip(SCORES, (0.8, 0.9, 0.7, 0.6), strict=True))
    rows = [scores | {"subject": "network", "way": "", "lost": None},
            scores | {"subject": "artifact", "way": "head crop", "lost": lost}]  # fmt: skip
    results = {"patients": 2, "slices": 9, "limits": limits, "rows": rows}
    settings = {"split": "test", "limit": None}
    (table,) = tabulate(Record("quality", settings, {}, results))
    told = [f"{lost[name]:+.4f}" for name in limits]
    assert table.rows[0] == ["network", "0.8000", "0.9000", "0.7000", "0.6000", "", "", "", ""]
    verdict = "within" if over is None else "beyond"
    assert table.rows[1] == ["artifact, head crop", *table.rows[0][1:5], *told, verdict]
    allowed = "at most 0.01 of the mean Dice, 0.05 of a patient's Dice, 0.02 of recall."
    assert " ".join(table.notes).endswith(allowed)
    assert table.title == "Quality on 2 test patients (9 slices)"
    (limited,) = tabulate(Record("quality", settings | {"limit": 2}, {}, results))
    assert limited.title == "Quality on the first 2 test patients (9 slices)"
