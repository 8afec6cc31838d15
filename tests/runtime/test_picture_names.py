"""Which pictures of a folder are other sequences or labels by their names, and which are slices."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest

from lgg_runtime.errors import OutputConflictError
from lgg_runtime.readers.folder import list_studies
from lgg_runtime.readers.listing import Listing
from stand_ins.runs import LESION, Draw, Infer
from stand_ins.trees import tree


def kept(listing: Listing) -> set[str]:
    return {listing.relative(path) for study in listing.studies for path in study.files}


@pytest.mark.parametrize(
    ("slices", "others"),
    [
        (["B_1_flair_75.png"], ["B_1_t1_75.png", "B_1_t1ce_75.png", "B_1_T2_75.png"]),
        (["B_1_flair_75.png"], ["B_1_seg_75.png"]),
        (["p/75_flair.png"], ["p/75_t1.png", "p/75_t2.png"]),
        (["p/flair/1.png", "p/flair/2.png"], ["p/t1/1.png", "p/seg/3.png"]),
        (["FLAIR/p_1.png"], ["T1/p_1.png", "T1 post/p_1.png"]),
        (["p_T2_FLAIR_1.png"], ["p_T2_1.png"]),
        (["flair data/p_flair_1.png"], ["flair data/p_t1_1.png"]),
        (["p_1.png"], ["p_1_seg.png", "p_1_Label.png", "p_1-mask.png", "p_1_mask_0.png"]),
        (["p_1.png"], ["masks/p_1.png"]),
        (["images/p_1.png"], ["masks/p_1.png"]),
        (["train/images/p_1.png"], ["train/labels/p_1.png"]),
        (["image_1.png"], ["mask_1.png"]),
        (["images/p_1.png"], ["labels/p_1_seg.png"]),
        (["images/p_1.png"], ["ground truth/p_1.png", "Ground_truth/p_1_gt.png"]),
        (["flair/p/image_1.png"], ["t1/p/image_1.png"]),
        (["p_flair_1.png"], ["p_T1-Gd_1.png", "p_T1post_1.png", "p_T1 post contrast_1.png"]),
        (["sub-01_FLAIR_1.png"], ["sub-01_ce-gd_T1w_1.png"]),
    ],
)
def test_what_lies_beside_its_flair_or_slice_is_left_out(
    tmp_path: Path, slices: list[str], others: list[str]
) -> None:
    listing = list_studies(tree(tmp_path, *slices, *others))
    assert kept(listing) == {*slices}
    assert {*listing.left_out} == {*others}
    assert listing.skipped == len(others)


@pytest.mark.parametrize(
    "names",
    [
        ["p_t1_1.png", "p_t2_1.png"],
        ["t1/flair_1.png", "t2/flair_1.png"],
        ["p_1.png", "p_t2_1.png"],
        ["p_flair_1.png", "q_t1_1.png"],
        ["image_1.png", "t1_1.png"],
        ["a/masks/p_1.png", "b/p_1.png"],
        ["seg.png", "flair_1/a.png"],
        ["patient1.png", "patientt1.png", "flair.png"],
    ],
)
def test_a_word_that_may_be_anything_else_leaves_nothing_out(
    tmp_path: Path, names: list[str]
) -> None:
    listing = list_studies(tree(tmp_path, *names))
    assert (kept(listing), listing.left_out, listing.notices) == ({*names}, (), ())


def test_alone_each_is_read(tmp_path: Path) -> None:
    tree(tmp_path, "flair/p_1.png", "t1/p_1.png", "p_1_flair.png", "p_1_t1.png")
    assert kept(list_studies(tmp_path)) == {"flair/p_1.png", "p_1_flair.png"}
    assert kept(list_studies(tmp_path / "t1")) == {"p_1.png"}
    assert kept(list_studies(tmp_path / "p_1_t1.png")) == {"p_1_t1.png"}


def test_a_run_tells_what_was_left_out(tmp_path: Path, infer: Infer, draw_slice: Draw) -> None:
    for name in ("p_flair_1", "p_seg_1", "p_t1_1"):
        (tmp_path / "in").mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / "in" / f"{name}.png"), draw_slice(LESION))
    done = infer(tmp_path / "in")
    assert (
        "Warning: pictures left out, since by their names they are labels or other sequences than "
        "the slices beside them: 2, such as p_seg_1.png; to read such as FLAIR, give a folder of "
        "them alone; see passed_over in run.json\n" in done.out
    )
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    assert run["passed_over"] == ["p_seg_1.png", "p_t1_1.png"]
    assert [each["name"] for each in run["inputs"]] == ["p_flair_1.png"]


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_channels_of_nnunet_are_no_slices(tmp_path: Path, channels: int) -> None:
    names = [f"in/{case}_{n:04}.png" for case in ("p_1", "p_2") for n in range(channels)]
    with pytest.raises(OutputConflictError, match=r"^in/p_1_0000\.png and in/p_1_0001\.png are "):
        list_studies(tree(tmp_path, *names))


@pytest.mark.parametrize(
    "names",
    [
        ["p_0000.png", "p_0001.png"],
        ["p_0001.png", "p_0002.png", "q_0001.png", "q_0002.png"],
        ["p_0000.png", "p_0001.png", "q_0000.png", "q_0001.png", "q_0002.png"],
        ["p_0.png", "p_1.png", "q_0.png", "q_1.png"],
        ["p/0000.png", "p/0001.png", "q/0000.png", "q/0001.png"],
        [f"{case}_{n:04}.png" for case in "pq" for n in range(5)],
    ],
)
def test_slices_of_four_digits_are_read(tmp_path: Path, names: list[str]) -> None:
    assert kept(list_studies(tree(tmp_path, *names))) == {*names}
