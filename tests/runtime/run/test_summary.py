"""A row a slice and a row a patient, with numbers counted by hand."""

from __future__ import annotations

import csv
import io
import math
import os
from dataclasses import replace

import numpy as np
import pytest

from lgg_runtime.metrics import Counts
from lgg_runtime.run.summary import (
    SummaryRow,
    encode_csv,
    join_volumes,
    partly_scored,
    summarise_volume,
)
from lgg_runtime.volume import Segmentation

HEADER = [
    *("level", "patient", "name", "tumour_present", "area_px", "area_mm2", "volume_ml"),
    *("largest_component_px", "dropped_fraction", "mean_probability", "max_probability"),
    *("dice", "recall", "precision", "use", "doubts"),
]


@pytest.fixture
def found() -> Segmentation:
    """Slice 0: components of 3 and 1 pixels; slice 1: one of 2, on the 3; slice 2: none."""
    probability = np.full((3, 4, 5), 0.125, np.float32)
    mask = np.zeros((3, 4, 5), bool)
    mask[0, 0, :3] = mask[0, 3, 4] = mask[1, 0, 1:3] = True
    probability[0, 0, :3], probability[0, 3, 4], probability[1, 0, 1:3] = 0.5, 1.0, 0.75
    return Segmentation(mask, probability, 0.5, spacing_mm=(5.0, 0.5, 0.5))


def test_every_slice_and_the_patient_have_a_row(found: Segmentation) -> None:
    rows = summarise_volume("P", ["P_1", "P_2", "P_3"], found, [None] * 3)
    names = [(row.level, row.patient, row.name) for row in rows]
    assert names == [("slice", "P", f"P_{n}") for n in (1, 2, 3)] + [("patient", "P", "")]
    assert [row.area_px for row in rows] == [4, 2, 0, 6]
    assert [row.area_mm2 for row in rows] == [1.0, 0.5, 0.0, 1.5]
    assert [row.volume_ml for row in rows] == pytest.approx([0.005, 0.0025, 0.0, 0.0075])
    assert [row.tumour_present for row in rows] == [True, True, False, True]
    assert [row.mean_probability for row in rows] == [0.625, 0.75, None, pytest.approx(4 / 6)]
    assert [row.max_probability for row in rows] == [1.0, 0.75, 0.125, 1.0]


def test_all_six_digits_of_a_mean_are_right() -> None:
    probability = np.random.default_rng(0).random((40, 64, 64), np.float32)
    found = Segmentation(probability >= 0.1, probability, 0.1)
    rows = summarise_volume("P", [f"P_{n}" for n in range(40)], found, [None] * 40)
    marked = [p[p >= 0.1].tolist() for p in (*probability, probability)]
    exact = [f"{math.fsum(values) / len(values):.6g}" for values in marked]
    assert [row.cells()["mean_probability"] for row in rows] == exact


def test_the_largest_component_of_a_patient_is_a_3d_one(found: Segmentation) -> None:
    rows = summarise_volume("P", ["P_1", "P_2", "P_3"], found, [None] * 3)
    assert [row.largest_component_px for row in rows] == [3, 2, 0, 5]


def test_what_the_clean_up_dropped_stands_in_the_patients_row(found: Segmentation) -> None:
    of_each = [
        summarise_volume("P", names, replace(found, dropped_fraction=fraction), [None] * 3)
        for names, fraction in ((list("abc"), 0.25), (list("def"), 0.125))
    ]
    assert [row.dropped_fraction for row in of_each[0]] == [None, None, None, 0.25]
    assert [rows[-1].drops_much for rows in of_each] == [True, False]
    joined = join_volumes(of_each[1] + of_each[0], "abcdef")[-1]
    assert (joined.dropped_fraction, joined.cells()["dropped_fraction"]) == (0.25, "0.25")


def test_without_spacing_there_is_no_area_in_mm2_and_no_volume(found: Segmentation) -> None:
    bare = Segmentation(found.mask, found.probability, found.threshold)
    rows = summarise_volume("P", list("abc"), bare, [None] * 3)
    assert {(row.area_mm2, row.volume_ml) for row in rows} == {(None, None)}


def test_the_patients_counts_are_those_of_its_known_slices(found: Segmentation) -> None:
    known = Counts(2, 2, 0, 16)
    rows = summarise_volume("P", list("abc"), found, [known, None, known])
    assert [row.counts for row in rows] == [known, None, known, Counts(4, 4, 0, 32)]
    assert summarise_volume("P", list("abc"), found, [None] * 3)[-1].counts is None


def test_volumes_of_one_patient_share_a_row(found: Segmentation) -> None:
    none = Segmentation(np.zeros((1, 2, 2), bool), np.full((1, 2, 2), 0.25, np.float32), 0.5)
    first = summarise_volume("P", list("abc"), found, [Counts(2, 2, 0, 16), None, None])
    second = summarise_volume("P", ["d"], none, [Counts(0, 0, 1, 3)])
    for each in (first + second, second + first):
        rows = join_volumes(each, "adbc")
        assert [row.name for row in rows if row.level == "slice"] == list("adbc")
        (patient,) = (row for row in rows if row.level == "patient")
        assert rows[-1] == patient
        assert (patient.area_px, patient.largest_component_px) == (6, 5)
        assert patient.mean_probability == pytest.approx(4 / 6)
        assert (patient.max_probability, patient.tumour_present) == (1.0, True)
        assert patient.counts == Counts(2, 2, 1, 19)
    assert join_volumes(first, "abc") == first
    assert join_volumes(second + second, "d")[-1].mean_probability is None
    assert join_volumes([], "") == []


def test_a_shared_row_weighs_volumes_by_their_tumour_and_names_the_largest_component(
    found: Segmentation,
) -> None:
    sure = Segmentation(np.ones((1, 1, 2), bool), np.ones((1, 1, 2), np.float32), 0.5)
    parts = (found, list("abc")), (sure, ["d"])
    rows = [r for part, names in parts for r in summarise_volume("P", names, part, [None] * 3)]
    patient = join_volumes(rows, "abcd")[-1]
    assert (patient.area_px, patient.largest_component_px) == (8, 5)
    assert patient.mean_probability == pytest.approx((6 * (4 / 6) + 2 * 1.0) / 8)


def test_the_table_reads_back_with_empty_cells_for_what_is_unknown(found: Segmentation) -> None:
    rows = summarise_volume("P", list("abc"), found, [Counts(2, 2, 0, 16), None, None])
    read = list(csv.reader(io.StringIO("".join(encode_csv(rows, {})), newline="")))
    end = ["research use only, not for diagnosis", ""]
    score, bare = ["0.666667", "1", "0.5", *end], ["", "", "", *end]
    assert read == [
        HEADER,
        ["slice", "P", "a", "yes", "4", "1", "0.005", "3", "", "0.625", "1", *score],
        ["slice", "P", "b", "yes", "2", "0.5", "0.0025", "2", "", "0.75", "0.75", *bare],
        ["slice", "P", "c", "no", "0", "0", "0", "0", "", "", "0.125", *bare],
        ["patient", "P", "", "yes", "6", "1.5", "0.0075", "5", "0", "0.666667", "1", *score],
    ]


def test_doubts_stand_in_the_row_of_their_patient_alone(found: Segmentation) -> None:
    rows = [r for name in "PQ" for r in summarise_volume(name, list("abc"), found, [None] * 3)]
    text = "".join(encode_csv(rows, {"P": "a head is not round; too bright"}))
    read = list(csv.DictReader(io.StringIO(text, newline="")))
    doubts = ["", "", "", "a head is not round; too bright", "", "", "", ""]
    assert [row["doubts"] for row in read] == doubts


def test_a_table_without_rows_has_its_header() -> None:
    assert "".join(encode_csv([], {})) == ",".join(HEADER) + "\r\n"


@pytest.mark.parametrize("name", ['a,"b"', "a\nb", "ä", os.fsdecode(b"caf\xe9")])
def test_any_name_reads_back(found: Segmentation, name: str) -> None:
    rows = summarise_volume(name, list("abc"), found, [None] * 3)
    read = list(csv.DictReader(io.StringIO("".join(encode_csv(rows, {})), newline="")))
    assert {row["patient"] for row in read} == {name}


def test_a_patient_is_partly_scored_with_some_masks_not_with_none_and_not_with_all() -> None:
    known = Counts(tn=4)
    scored = {"none": (None, None), "some": (known, None), "all": (known, known)}
    rows = [
        SummaryRow("slice", patient, f"{n}", False, 0, None, 0, 0.0, 0.0, None, None, counts)
        for patient, given in scored.items()
        for n, counts in enumerate(given)
    ]
    assert partly_scored(rows) == {"some": {"scored": 1, "slices": 2}}
