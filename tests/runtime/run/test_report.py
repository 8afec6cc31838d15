"""A run's result for a person: what the table and the lines below it say."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from lgg_runtime.metrics import Counts, summarise
from lgg_runtime.readers.sequences import UNSIZED
from lgg_runtime.readers.study import MISSING
from lgg_runtime.redact import short_digest
from lgg_runtime.run.journal import DONE, FAILED, InputRecord, Journal
from lgg_runtime.run.report import describe_failure, describe_notes, describe_run
from lgg_runtime.run.summary import partly_scored, summarise_volume
from lgg_runtime.volume import Segmentation


def journal_of(*patients: str, counts: Counts | None = None) -> Journal:
    """Each patient: two slices of 2 x 3 pixels, tumour on the first pixel of the second."""
    mask = np.zeros((2, 2, 3), bool)
    mask[1, 0, 0] = True
    found = Segmentation(mask, mask * np.float32(0.75), 0.5)
    journal = Journal({}, model={"name": "tiny", "precision": "int8", "threshold": 0.5})
    journal.provider = {"ran": "cpu", "device": "CPU"}
    journal.seconds = {"total": 2.04}
    for patient in patients:
        journal.inputs += [InputRecord(f"{patient}_{n}.png", DONE) for n in (1, 2)]
        journal.rows += summarise_volume(patient, ["1", "2"], found, [counts, None])
    return journal


def test_a_patient_is_a_line_with_its_numbers() -> None:
    lines = describe_run(journal_of("P"), Path("out")).split("\n")
    assert lines[0].split("  ")[0] == "patient" and "Dice" not in lines[0]
    assert lines[2].split() == ["P", "2", "1", "1", "1", "0.75"]


def test_without_a_patient_there_is_no_table() -> None:
    journal = journal_of()
    journal.inputs.append(InputRecord("P_1.png", FAILED, "P_1.png: damaged"))
    assert describe_run(journal, Path("out")).startswith("0 slices on cpu in 2.0 s, 1 failed; ")


def test_a_volume_has_a_column_where_one_is_known() -> None:
    journal = journal_of("P")
    found = Segmentation(np.ones((1, 1, 2), bool), np.ones((1, 1, 2), np.float32), 0.5, (50, 5, 5))
    journal.rows += summarise_volume("Q", ["1"], found, [None])
    header, _, without, known = describe_run(journal, Path("out")).split("\n")[:4]
    assert [line.split()[-1] for line in (header, without, known)] == ["mL", "0.75", "2.50"]


def test_volumes_whose_size_was_not_known_are_named() -> None:
    journal = journal_of("P")
    journal.inputs.append(InputRecord("p.nii.gz", DONE, notes=("grey", UNSIZED)))
    told = f"Warning: p.nii.gz: {UNSIZED}; mm, mL and sides may be wrong"
    assert told in describe_run(journal, Path("out")).split("\n")


def test_slices_that_do_not_follow_the_one_before_are_named() -> None:
    journal = journal_of("P")
    journal.inputs.append(InputRecord("p/P_3.png", DONE, notes=("grey",)))
    assert "missing" not in describe_run(journal, Path("out"))
    note = f"{MISSING}: 3; and so on"
    journal.inputs += [InputRecord(f"p/P_{n}.png", DONE, notes=("grey", note)) for n in (4, 9)]
    told = "Warning: slices are missing before p/P_4.png, p/P_9.png; see run.json"
    assert told in describe_run(journal, Path("out")).split("\n")
    journal.inputs += [InputRecord(f"p/P_{n}.png", DONE, notes=(note,)) for n in range(20, 25)]
    assert "p/P_22.png and 2 more; see run.json" in describe_run(journal, Path("out"))


def test_links_that_were_not_followed_are_told() -> None:
    journal = journal_of("P")
    assert "links" not in describe_run(journal, Path("out"))
    journal.links = 2
    told = (
        "Warning: symbolic links in the input, not followed: 2; give a copy that holds the files "
        "themselves, as cp -rL makes, or what they lead to"
    )
    assert told in describe_run(journal, Path("out")).split("\n")


def test_a_large_region_that_the_clean_up_dropped_is_warned_of() -> None:
    journal = journal_of("P")
    assert "clean-up" not in describe_run(journal, Path("out"))
    mask = np.ones((1, 1, 2), bool)
    for name, fraction in (("Q", 0.9), ("R", 0.25), ("S", 0.2)):
        found = Segmentation(mask, mask * np.float32(1), 0.5, dropped_fraction=fraction)
        journal.rows += summarise_volume(name, ["1"], found, [None])
    told = (
        "Warning: Q, R: the clean-up dropped all, or a region of 0.25 times the largest one's "
        "size or more, which may be tumour; --save-heatmap shows it"
    )
    assert told in describe_run(journal, Path("out")).split("\n")


def test_a_reference_that_covers_more_than_half_of_its_slice_is_warned_of() -> None:
    """Shown as ImageJ's masks of an inverting LUT are: white wherever there is no tumour."""
    journal = journal_of("P", counts=Counts(tp=1, fp=1, fn=2, tn=2))  # half of it
    assert "covers" not in describe_run(journal, Path("out"))
    for name in ("Q", "R"):
        journal.rows += journal_of(name, counts=Counts(fp=1, fn=4, tn=1)).rows
    told = (
        "Warning: Q, R: a reference mask covers more than half of its slice; expected black where "
        "there is no tumour"
    )
    assert told in describe_run(journal, Path("out")).split("\n")


def test_references_without_tumour_are_warned_of() -> None:
    """Where nothing is marked, all scores are 1."""
    told = (
        "Warning: the reference masks hold no tumour; the scores tell nothing of tumour found or "
        "missed"
    )
    for counts, is_told in ((Counts(tn=6), True), (Counts(fn=1, tn=5), False)):
        journal = journal_of("P", counts=counts)
        assert told not in describe_run(journal, Path("out")).split("\n")
        journal.metrics = summarise({"P": counts}) | {"partly_scored": {}}
        assert (told in describe_run(journal, Path("out")).split("\n")) == is_told


def test_a_first_look_is_told_with_what_it_left_out() -> None:
    journal = journal_of("P")
    journal.model["first_look"] = {"name": "quick", "precision": "int8", "left_out": 1}
    assert "First look quick in int8 left 1 slice out." in describe_run(journal, Path("out"))


def test_the_lines_below_say_where_it_ran_and_where_to_look() -> None:
    journal = journal_of("P", "Q")
    journal.inputs.append(InputRecord("Q_3.png", FAILED, "Q_3.png: damaged"))
    lines = describe_run(journal, Path("out")).split("\n")
    assert lines[-3:] == [
        "4 slices on cpu in 2.0 s, 1 failed; model tiny in int8, threshold 0.5",
        "Results: out  (summary.csv, run.json)",
        "Research use only, not for diagnosis.",
    ]


def test_masks_that_cannot_be_used_are_not_counted_among_the_slices_that_failed() -> None:
    journal = journal_of("P")
    for name, told in (
        ("p/P_3_mask.png", "0 failed, 1 reference mask unusable;"),
        ("p/P_4.png", "1 failed, 1 reference mask unusable;"),
        ("P_5_mask.tif", "1 failed, 2 reference masks unusable;"),
        ("study_mask.v2", "2 failed, 2 reference masks unusable;"),  # a folder of DICOM images
    ):
        journal.inputs.append(InputRecord(name, FAILED, "damaged"))
        assert f"2 slices on cpu in 2.0 s, {told} model" in describe_run(journal, Path("out"))


def test_a_threshold_is_told_as_it_was_asked_for() -> None:
    journal = journal_of("P")
    journal.model["threshold"] = 0.99999999
    assert "in int8, threshold 0.99999999\n" in describe_run(journal, Path("out"))


def test_a_folder_of_an_odd_name_stays_on_its_line() -> None:
    lines = describe_run(journal_of("P"), Path("out\n\x1b[31m")).split("\n")
    assert lines[-2] == r"Results: out\n\x1b[31m  (summary.csv, run.json)"


def test_a_device_is_named_where_it_says_more_than_the_provider() -> None:
    journal = journal_of("P")
    journal.provider = {"ran": "openvino", "device": "CPU (Core, fp32)"}
    assert "2 slices on openvino (CPU (Core, fp32)) in" in describe_run(journal, Path("out"))


@pytest.mark.parametrize(("number", "told"), [(1, "1 study."), (3, "3 studies.")])
def test_what_an_earlier_run_did_is_counted(number: int, told: str) -> None:
    journal = journal_of("P")
    journal.resumed = number
    lines = describe_run(journal, Path("out")).split("\n")
    assert f"Taken over unchanged from the earlier run: {told}" in lines


def test_an_evaluated_run_shows_dice_by_patient_and_pooled_pixels() -> None:
    counts = Counts(tp=1, fp=1, fn=0, tn=4)
    journal = journal_of("P", counts=counts)
    journal.metrics = summarise({"P": counts}) | {"partly_scored": partly_scored(journal.rows)}
    text = describe_run(journal, Path("out"))
    assert text.split("\n")[2].split()[-1] == "0.6667"
    assert "Dice of 1 patient: mean 0.6667, median 0.6667, worst tenth 0.6667" in text
    assert "IoU 0.5000, precision 0.5000, recall 1.0000, F1 0.6667" in text
    assert "\nOnly slices with a mask are scored: P 1 of 2\n" in text


@pytest.mark.parametrize(
    ("name", "reason", "line"),
    [
        ("1.tif", "1.tif: empty", "1.tif: empty"),
        ("p/q/1.tif", "1.tif: empty", "p/q/1.tif: empty"),
        ("p/1.tif", "1_mask.png: damaged", "1_mask.png: damaged"),
        ("1.2.840.113619.2.1/1.tif", "1.tif: empty", "uid-"),
        ("p\n/1.tif", "1.tif: empty", "p\\n/1.tif: empty"),
        ("p/1\n.tif", "1\\n.tif: empty", "p/1\\n.tif: empty"),
    ],
)
def test_a_failure_is_told_with_the_folder_of_its_file(name: str, reason: str, line: str) -> None:
    assert describe_failure(InputRecord(name, FAILED, reason)).startswith(line)


def test_a_uid_in_a_name_is_told_as_a_digest_with_notes_and_gaps() -> None:
    journal = journal_of("P")
    record = InputRecord("1.2.840.113619.2.1/P_4.png", DONE, notes=(f"{MISSING}: 3", "grey"))
    journal.inputs.append(record)
    digest = short_digest("1.2.840.113619.2.1")
    assert describe_notes(record) == f"uid-{digest}/P_4.png: {MISSING}: 3; grey"
    assert f"missing before uid-{digest}/P_4.png;" in describe_run(journal, Path("out"))


@pytest.mark.parametrize(("patients", "left"), [(40, 0), (41, 1), (100, 60)])
def test_a_long_table_is_cut_and_says_so(patients: int, left: int) -> None:
    text = describe_run(journal_of(*(f"P{n}" for n in range(patients))), Path("out"))
    assert text.count("0.75") == 40
    assert (f"... and {left} more in summary.csv" in text) == (left > 0)


@pytest.mark.parametrize("name", ["a\nb", "a\x1b[2Jb", os.fsdecode(b"caf\xe9")])
def test_a_name_cannot_break_the_table(name: str) -> None:
    lines = describe_run(journal_of(name), Path("out")).split("\n")
    assert len(lines) == 6
    assert lines[2].isprintable()
