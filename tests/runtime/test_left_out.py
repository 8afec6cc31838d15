"""What of a dataset is no patient's scan, and how that is told."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest

from lgg_runtime.errors import NoInputError
from lgg_runtime.readers.folder import list_studies
from stand_ins.runs import LESION, Draw, Infer
from stand_ins.trees import tree


def test_what_git_annex_keeps_under_other_names_is_not_read(tmp_path: Path) -> None:
    kept = tree(tmp_path, ".git/annex/objects/1/SHA256-1.nii.gz", "sub/.git/a_1.png", "a_1.png")
    assert [study.name for study in list_studies(kept).studies] == ["a"]


def test_folders_of_bids_that_are_no_part_of_the_dataset_are_told(tmp_path: Path) -> None:
    names = ["sub-1/sub-1_FLAIR.nii", "derivatives/x/sub-1_FLAIR.nii", "sourcedata/a_1.png"]
    root = tree(tmp_path, *names)
    assert len(list_studies(root).studies) == 3
    tree(root, "dataset_description.json")
    listing = list_studies(root)
    assert [study.name for study in listing.studies] == ["sub-1"]
    assert listing.notices == (
        "left out of a BIDS dataset: derivatives, sourcedata; to read such a folder, give it alone",
    )
    assert listing.left_out == ("derivatives", "sourcedata")
    assert len(list_studies(root / "derivatives").studies) == 1


def test_a_folder_of_bids_is_told_in_one_line_and_without_uids(tmp_path: Path) -> None:
    for folder in ("1.2.840.113619.2.55.3", "line\nbreak"):
        tree(tmp_path / folder, "derivatives/a", "dataset_description.json")
    listing = list_studies(tree(tmp_path, "a_1.png"))
    line, uid = listing.left_out
    assert (line, uid[:4]) == (r"line\nbreak/derivatives", "uid-")
    assert f": {line}, {uid};" in listing.notices[0]


def test_nifti_beside_its_patients_flair_is_told(tmp_path: Path) -> None:
    listing = list_studies(tree(tmp_path, "p_flair.nii", "p_ADC.nii", "p_tumor.nii"))
    assert [[path.name for path in study.files] for study in listing.studies] == [["p_flair.nii"]]
    assert listing.skipped == 2
    assert listing.notices == (
        "NIfTI files left out, since they lie beside their patient's FLAIR and their names end in "
        "no word for FLAIR or T1: 2, such as p_ADC.nii; to read one as FLAIR, give it alone",
    )
    assert listing.left_out == ("p_ADC.nii", "p_tumor.nii")
    alone = list_studies(tmp_path / "p_tumor.nii")
    assert ([study.name for study in alone.studies], alone.left_out) == (["p_tumor"], ())


def test_where_all_nifti_is_by_name_no_flair_that_is_said(tmp_path: Path) -> None:
    tree(tmp_path, "sub-1_phasediff.nii", "sub-1_T2w.nii", "a_mask.nii")
    told = r"; NIfTI files that are masks or no FLAIR by their names: 3$"
    with pytest.raises(NoInputError, match=told):
        list_studies(tmp_path)


def test_what_another_sequence_is_by_bids_is_refused_alone(tmp_path: Path) -> None:
    tree(tmp_path, "sub-1_bold.nii")
    with pytest.raises(NoInputError, match=r"^sub-1_bold\.nii: by its name a mask, or in BIDS "):
        list_studies(tmp_path / "sub-1_bold.nii")


def test_a_run_names_all_that_was_left_out(tmp_path: Path, infer: Infer, draw_slice: Draw) -> None:
    root = tree(tmp_path / "in", "p_flair.nii", "p_ADC.nii", "q/q_flair.nii", "q/q_2011.nii")
    cv2.imwrite(str(root / "a_1.png"), draw_slice(LESION))
    done = infer(root)
    told = "; to read one as FLAIR, give it alone; see passed_over in run.json"
    assert told in done.out
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    assert run["passed_over"] == ["p_ADC.nii", "q/q_2011.nii"]
