"""A contract in lines: the facts that decide whether and how to use an artifact."""

import dataclasses

import pytest

from lgg_export.description import describe_contract, describe_engine
from lgg_runtime.contract import Training
from lgg_runtime.errors import ModelError
from lgg_runtime.sidecar import EngineKey, Sidecar

PARITY = ("largest_probability_difference", "flipped_pixels", "largest_dice_difference")


def parse(text):
    """Lines as {name: what follows}; names take the first 20 columns."""
    return {line[:20].strip(): line[21:] for line in text.splitlines()}


def test_the_essential_facts_are_told(exported):
    contract = exported.contract
    rows = parse(describe_contract(contract))
    assert rows["model"] == f"tiny, fp32, made by lgg-edge {contract.tool_version}"
    assert rows["input"] == "slices: uint8 [N, H, W, 3], H and W multiples of 16"
    assert rows["channels"] == "pre-contrast, FLAIR, post-contrast"
    assert rows["output"] == "probability: float32 [N, H, W] in 0..1"
    assert float(rows["threshold"]) == contract.threshold
    assert rows["clean-up"] == contract.cleanup.describe()
    assert rows["decided by"] == contract.how_decided
    assert "80 + 40 z" in rows["intensity"]
    assert contract.training.data[:16] in rows["trained on"]
    assert "split by patient" in rows["trained on"]
    assert rows["licence"] == "MIT"
    assert "research use only, not for diagnosis" in rows["intended use"]


def test_quality_and_parity_are_told_as_they_stand_in_the_contract(exported):
    contract = exported.contract
    rows = parse(describe_contract(contract))
    for part in ("validation", "test"):
        scores = contract.metrics[part]
        text = rows[f"PyTorch, {part}"]
        assert f"mean {scores['per_patient_dice']['mean']:.4f}" in text
        for key, name in (
            ("f1", "F1"),
            ("recall", "recall"),
            ("precision", "precision"),
            ("iou", "IoU"),
        ):
            assert f"{name} {scores['pooled'][key]:.4f}" in text
    assert rows["parity"].startswith("1 validation patient: largest probability difference ")
    difference = contract.parity["largest_probability_difference"]
    assert f"difference {difference:.2g}" in rows["parity"]


def test_each_number_stands_under_its_own_name(exported):
    metrics = {"validation": dict(exported.contract.metrics["validation"])}
    dice = {"mean": 0.25, "median": 0.75, "patients": 3}
    metrics["validation"]["per_patient_dice"] = metrics["validation"]["per_patient_dice"] | dice
    parity = exported.contract.parity | {
        "subject": "somebody", "largest_probability_difference": 1e-3, "flipped_pixels": 2e-3,
        "largest_metric_difference": 3e-3, "largest_dice_difference": 4e-3,
    }  # fmt: skip
    changed = {"threshold": 0.45, "metrics": metrics, "parity": parity}
    rows = parse(describe_contract(dataclasses.replace(exported.contract, **changed)))
    assert rows["threshold"] == "0.45"
    assert "Dice by patient mean 0.2500, median 0.7500 (3 patients)" in rows["PyTorch, validation"]
    assert rows["parity"] == (
        "somebody: largest probability difference 0.001, flipped pixels 0.002, "
        "largest Dice difference 0.004"
    )


@pytest.mark.parametrize(
    ("split_by", "patients", "told"),
    [
        (
            "patient",
            {"train": 44, "validation": 6, "test": 10},
            "44 patients, 6 validated, 10 tested; split by patient; data 0123456789abcdef",
        ),
        (
            "all",
            {"train": 98, "validation": 0, "test": 0},
            "98 patients, none left for validation or test; data 0123456789abcdef",
        ),
        (
            "patient",
            {"train": 5, "validation": 0, "test": 2},
            "5 patients, 0 validated, 2 tested; split by patient; data 0123456789abcdef",
        ),
        ("all", {"train": 1}, "1 patient, none left for validation or test; data 0123456789abcdef"),
    ],
)
def test_who_trained_is_told_in_words(exported, split_by, patients, told):
    training = Training("0123456789abcdef" * 4, "f" * 64, split_by, patients)
    contract = dataclasses.replace(exported.contract, training=training)
    assert parse(describe_contract(contract))["trained on"] == told


@pytest.mark.parametrize(
    "foreign",
    [
        {"metrics": {"validation": {}}},
        {"metrics": {"validation": None}},
        {"parity": {"subject": "x"}},
        {"parity": dict.fromkeys(PARITY, 10**400) | {"subject": "x"}},
    ],
)
def test_a_contract_with_another_s_scores_is_refused(exported, foreign):
    with pytest.raises(ModelError, match="its metrics or parity are not an export's"):
        describe_contract(dataclasses.replace(exported.contract, **foreign))


def test_a_contract_without_scores_leaves_their_lines_out(exported):
    bare = dataclasses.replace(exported.contract, metrics={}, parity={})
    rows = parse(describe_contract(bare))
    assert not [name for name in rows if name.startswith("PyTorch")]
    assert "parity" not in rows
    assert "licence" in rows


@pytest.mark.parametrize(
    ("of_the_key", "golden_difference"),
    [({}, "none"), ({"workspace_bytes": "1"}, 0.0), ({"engine_sha256": 5}, 0.0)],
)
def test_an_engine_whose_sidecar_another_wrote_is_refused(exported, of_the_key, golden_difference):
    key = EngineKey("tensorrt", "10.13.0", "", (), "fp32", (), None, "0" * 64, "1" * 64)
    whole = Sidecar(key, (), exported.contract, 0.0)
    assert "largest difference 0" in describe_engine(whole)
    foreign = dataclasses.replace(
        whole, key=dataclasses.replace(key, **of_the_key), golden_difference=golden_difference
    )
    with pytest.raises(ModelError, match=r"^its engine's key or tensors are not an export's"):
        describe_engine(foreign)
