"""The words in the names of NIfTI files."""

from __future__ import annotations

from pathlib import Path

import pytest

from lgg_runtime.readers.nifti_names import UNUSED, find_other_word, is_no_scan_name, split_name


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


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("p1_T1_20010203101112_2.nii.gz", "T1"),
        ("p1.t2w.2.nii", "t2w"),
        ("T1CE-registered.nii", "T1CE"),
        ("p1_seg_2.nii", "seg"),
        ("p1_T1post_4.nii", "T1post"),
        ("p1_MPRAGE_post_4.nii", "MPRAGE"),
        ("p1_ep2d_diff_ADC_7.nii", "ep2d"),
        ("WIP_sT1W_3D_TFE_301.nii", "sT1W"),
        ("eT2W_TSE_401.nii", "eT2W"),
        ("dADC_701.nii", "dADC"),
        ("p1_Sag_3D_BRAVO_6.nii", "BRAVO"),
        ("IR_FSPGR_3.nii", "FSPGR"),
        ("p1_mp-rage_5.nii", "mp-rage"),
        ("stir_cor_5.nii", "stir"),
        ("tof_fl3d_tra_4.nii", "tof"),
        ("ep2d_diff_b1000_4.nii", "ep2d"),
        ("p1_tumor_segmentation.nii", "segmentation"),
        ("p1_FLAIR_segmentation.nii", "segmentation"),
        ("p1_flair_seg_2.nii", "seg"),
        ("FLAIR_mask_v2.nii", "mask"),
        ("p1_mask_to_flair.nii", "mask"),
        ("Ax_T1_FLAIR_7.nii", "T1"),
        ("t1_tirm_tra_dark-fluid_5.nii", "t1"),
        ("p1_T1_to_FLAIR.nii", "T1"),
        ("p1_t2_to_flair.nii", "t2"),
        ("p1_ADC_in_FLAIR_brain.nii", "ADC"),
        ("p1_T1_brain_to_FLAIR.nii", "T1"),
        ("DWI_b1000_to_FLAIR.nii", "DWI"),
        ("t2_tirm_cor_stir_5.nii", "t2"),
        ("Ax_T2_FLAIR_7.nii", ""),
        ("p1_T1_T2_FLAIR_5.nii", ""),
        ("p1_T1_T2FLAIR_5.nii", ""),
        ("p1_T1_t2f_5.nii", ""),
        ("p1_T2_visit_2_flair.nii", ""),
        ("t2_tirm_tra_dark-fluid_5.nii", ""),
        ("t2_space_dark_fluid_sag_4.nii", ""),
        ("sT2W_FLAIR_301.nii", ""),
        ("p1_FLAIR_to_T1.nii", ""),
        ("p1_FLAIR_brain_to_T1.nii", ""),
        ("TO_flair.nii", ""),
        ("p1_t2flair_2.nii", ""),
        ("p1_t10.nii", ""),
        ("p1_FLAIR_20010203101112_3.nii.gz", ""),
        ("flair_in_t1_space.nii", ""),
        ("p1_t1_flair.nii", ""),
        ("patient1_st1_2.nii", ""),
    ],
)
def test_a_word_within_a_name_tells_another_sequence(name: str, word: str) -> None:
    assert find_other_word(Path(name)) == word
    assert split_name(Path(name))[1] in ("", "flair"), "its end tells no other"
