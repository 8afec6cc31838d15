"""The words in the names of NIfTI files."""

from __future__ import annotations

from pathlib import Path

import pytest

from lgg_runtime.readers.nifti_names import UNUSED, is_no_scan_name, split_name


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("p1_flair.nii.gz", ("p1", "flair")),
        ("p1-T1CE.nii", ("p1", "t1c")),
        ("BraTS-1-t2f.nii.gz", ("BraTS-1", "flair")),
        ("BraTS-1-t1n.nii.gz", ("BraTS-1", "t1")),
        ("p1 T1Gd.nii", ("p1", "t1c")),
        ("p1.t1w.nii", ("p1", "t1")),
        ("flair.nii", ("", "flair")),
        ("_flair.nii", ("", "flair")),
        ("BraTS-1_t2.nii.gz", ("BraTS-1", UNUSED)),
        ("BraTS-1-t2w.nii.gz", ("BraTS-1", UNUSED)),
        ("BraTS-1_seg.nii.gz", ("BraTS-1", UNUSED)),
        ("p1_label.nii", ("p1", UNUSED)),
        ("p1_labels.nii", ("p1", UNUSED)),
        ("TCGA-1_1996.09.09_GlistrBoost.nii.gz", ("TCGA-1_1996.09.09", UNUSED)),
        ("TCGA-1_1996.09.09_GlistrBoost_ManuallyCorrected.nii.gz", ("TCGA-1_1996.09.09", UNUSED)),
        ("p1.nii.gz", ("p1", "")),
        ("patient1.nii.gz", ("patient1", "")),
        ("noflair.nii", ("noflair", "")),
        ("p1_T2_FLAIR.nii.gz", ("p1", "flair")),
        ("p1_t2flair.nii.gz", ("p1", "flair")),
        ("p1_t1gad.nii.gz", ("p1", "t1c")),
        ("CT1.nii.gz", ("", "t1c")),
        ("sub-01_ses-02_run-1_FLAIR.nii.gz", ("sub-01_ses-02_run-1", "flair")),
        ("sub-01_ses-02_run-1_T1w.nii.gz", ("sub-01_ses-02_run-1", "t1")),
        ("sub-01_ses-02_ce-GADOLINIUM_run-1_T1w.nii.gz", ("sub-01_ses-02_run-1", "t1c")),
        ("sub-01_ce-none_T1w.nii.gz", ("sub-01_ce-none", "t1")),
        ("sub-01_T2FLAIR.nii.gz", ("sub-01", "flair")),
        ("sub-01_t1ce.nii.gz", ("sub-01", "t1c")),
        ("sub-01_phasediff.nii.gz", ("sub-01", UNUSED)),
        ("sub-01_scan.nii.gz", ("sub-01_scan", "")),
        ("sub-01_ses-02.nii.gz", ("sub-01_ses-02", "")),
        ("sub-01_3.nii.gz", ("sub-01_3", "")),
    ],
)
def test_a_name_tells_its_sequence(name: str, parts: tuple[str, str]) -> None:
    assert split_name(Path(name)) == parts


@pytest.mark.parametrize(
    ("name", "is_none"),
    [
        ("mask.nii", True),
        ("p1_mask.nii.gz", True),
        ("p1_mask_t1.nii", True),
        ("sub-01_desc-brain_mask.nii.gz", True),
        ("sub-01_magnitude1.nii.gz", True),
        ("sub-01_label-lesion_roi.nii.gz", True),
        ("sub-01_T2w.nii.gz", True),
        ("sub-01_ses-1_msk.nii.gz", True),
        ("sub-01_T1w.nii.gz", False),
        ("sub-01_t2flair.nii.gz", False),
        ("sub-01_brain.nii.gz", False),
        ("sub-01_FLAIR.nii.gz", False),
        ("p1_T2w.nii.gz", False),
        ("unmask.nii", False),
    ],
)
def test_masks_and_what_bids_names_otherwise_are_no_scans(name: str, is_none: bool) -> None:
    assert is_no_scan_name(Path(name)) is is_none
