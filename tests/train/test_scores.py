"""Scores are read back as they were written, and what cannot be of one evaluation is refused."""

import json

import pytest

from lgg_runtime.errors import InputError
from lgg_runtime.metrics import Counts, summarise
from lgg_train.scores import count_pixels, read_own_scores, read_scores

COUNTS = {"A": Counts(tp=30, fp=4, fn=6, tn=60), "B": Counts(fp=1, tn=99)}
SCORES = summarise(COUNTS) | {
    "decision": {"threshold": 0.4, "cleanup": {}, "how": "by hand"},
    "assessment": {"calibration": {"expected_error": 0.01}},
}


@pytest.fixture
def write(tmp_path):
    path = tmp_path / "metrics_test.json"

    def write_altered(*place, value):
        held = json.loads(json.dumps(SCORES))
        part = held
        for name in place[:-1]:
            part = part[name]
        part[place[-1]] = value
        path.write_text(json.dumps(held))
        return path

    return write_altered


def test_scores_come_back_whole(write):
    assert read_scores(write("use", value="research")) == SCORES | {"use": "research"}


def test_the_counts_are_those_of_all_patients():
    assert count_pixels(SCORES["pooled"]) == sum(COUNTS.values(), Counts())


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("pooled",), {}),
        (("pooled", "f1"), SCORES["pooled"]["f1"] + 0.001),
        (("pooled", "accuracy"), 10**400),
        (("pooled", "recall"), 2),
        (("pooled", "support", "tumour"), ""),
        (("per_patient_dice",), 5),
        (("per_patient_dice", "patients"), 3),
        (("per_patient_dice", "patients"), "2"),
        (("per_patient_dice", "mean"), 0.99),
        (("per_patient_dice", "by_patient"), {}),
        (("per_patient_dice", "by_patient", "A"), "0.8"),
        (("per_patient_dice", "by_patient", "A"), 1.5),
        (("per_patient_dice", "by_patient", "C"), 0.5),
        (("assessment", "calibration", "expected_error"), None),
    ],
)
def test_numbers_that_are_not_of_one_evaluation_are_refused(write, place, value):
    path = write(*place, value=value)
    with pytest.raises(InputError) as refused:
        read_scores(path)
    assert str(refused.value) == f"{path}: holds no scores; `lgg-train evaluate` scores anew"


@pytest.mark.parametrize("decision", ["none", {"threshold": 1e308, "cleanup": {}, "how": ""}])
def test_a_decision_that_no_run_can_have_is_refused(write, decision):
    path = write("decision", value=decision)
    with pytest.raises(InputError, match=r"metrics_test\.json: no decision: .*; take it away$"):
        read_scores(path, "take it away")


def test_scores_are_the_model_s_beside_them_alone(write, tmp_path):
    (tmp_path / "model.pt").write_bytes(b"weights")
    assert read_own_scores(write("use", value="")) == SCORES | {"use": ""}  # nor told whose
    with pytest.raises(InputError, match=r"scores of another network than model\.pt beside it; `l"):
        read_own_scores(write("model", value="0" * 64))
