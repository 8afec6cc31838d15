"""NIfTI files that lie together: one patient's, several patients', or nobody's FLAIR."""

from __future__ import annotations

from pathlib import Path

import pytest

from lgg_runtime.readers.nifti_studies import group_nifti

ROOT = Path("/data")


def group(*names: str) -> tuple[dict[str, set[str]], set[str]]:
    """The studies' names with their files, and the files that were left out."""
    studies, beside = group_nifti([ROOT / name for name in names], ROOT)
    found = {
        study.name: {path.relative_to(ROOT).as_posix() for path in study.files} for study in studies
    }
    return found, {path.relative_to(ROOT).as_posix() for path in beside}


@pytest.mark.parametrize("given", ["..", "link"])
def test_a_bare_word_is_of_the_folder_whatever_it_is_called_by(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    inner = tmp_path / "p1" / "inner"
    inner.mkdir(parents=True)
    (inner / "link").symlink_to("..")
    monkeypatch.chdir(inner)
    root = Path(given)
    studies, beside = group_nifti([root / "flair.nii", root / "x.nii"], root)
    assert [study.name for study in studies] == ["p1"]
    assert beside == (root / "x.nii",)


@pytest.mark.parametrize("ends", [("FLAIR",), ("FLAIR", "T1")])
def test_t2_as_the_second_of_several_times_is_no_part_of_the_sequence(ends: list[str]) -> None:
    times = {f"P1_T{time}": {f"P1_T{time}_{end}.nii" for end in ends} for time in range(1, 4)}
    assert group(*times["P1_T1"], *times["P1_T2"], *times["P1_T3"]) == (times, set())
    assert len(group(*times["P1_T2"])[0]) == 1


@pytest.mark.parametrize("other", ["p1_T2.nii", "p1_T1_FLAIR.nii", "p1_T2_seg.nii"])
def test_t2_before_flair_is_of_the_sequence_where_it_is_no_time(other: str) -> None:
    files = {f"p1_{end}.nii" for end in ("T2_FLAIR", "T1", "T1c")}
    assert group(*files, other)[0]["p1"] == files


def test_the_t1_of_bids_after_contrast_is_of_its_session() -> None:
    files = {f"a/sub-1_{end}.nii" for end in ("FLAIR", "T1w", "ce-gad_T1w")}
    assert group(*files) == ({"a/sub-1": files}, set())


@pytest.mark.parametrize(
    "names",
    [
        ("p1_ADC.nii", "p1_FLAIR_bias.nii", "p1_brain_segmentation.nii", "p1_T2_bias.nii"),
        ("p1.lesion.nii", "p1-1.nii"),
    ],
)
def test_what_begins_with_a_patients_name_is_not_a_patient(names: tuple[str, ...]) -> None:
    assert group("p1_FLAIR.nii", *names) == ({"p1": {"p1_FLAIR.nii"}}, set(names))


@pytest.mark.parametrize("flair", ["p1/FLAIR.nii", "p1/p1_flair.nii"])
def test_in_a_patients_folder_no_other_file_is_a_patient(flair: str) -> None:
    assert group(flair, "p1/W39_Segm.nii") == ({"p1": {flair}}, {"p1/W39_Segm.nii"})


def test_labels_that_are_called_after_a_flair_are_beside_it() -> None:
    files = ("p1_flair.nii", "p1_flair_seg.nii", "q/FLAIR.nii", "q/FLAIR_label.nii")
    found, beside = group(*files)
    assert (found, beside) == ({"p1": {files[0]}, "q": {files[2]}}, {files[1], files[3]})


def test_other_patients_beside_one_stay() -> None:
    files = ("p1_flair.nii", "p10.nii", "p2.nii", "q/p1_1.nii")
    assert group(*files) == (
        {"p1": {files[0]}, "p10": {files[1]}, "p2": {files[2]}, "q/p1_1": {files[3]}},
        set(),
    )


def test_what_may_be_a_t1_that_is_missing_stays_to_be_refused() -> None:
    whole = {f"p1_{end}.nii" for end in ("flair", "t1", "t1c")}
    assert group(*whole, "p1_t1_bias.nii") == ({"p1": whole}, {"p1_t1_bias.nii"})
    part = whole - {"p1_t1c.nii"}
    assert group(*part, "p1_t1_post_4.nii") == (
        {"p1": part, "p1_t1_post_4": {"p1_t1_post_4.nii"}},
        set(),
    )


def test_what_dcm2niix_adds_to_a_flair_is_no_second_one() -> None:
    flairs = ("p1_FLAIR_5.nii", "p1_FLAIR_50.nii")
    more = ("p1_FLAIR_5_ph.nii", "p1_FLAIR_5a.nii", "p1_FLAIR_5_ROI1.nii")
    assert group(*flairs, *more) == (
        {"p1_FLAIR_5": {flairs[0]}, "p1_FLAIR_50": {flairs[1]}},
        set(more),
    )


def test_flair_of_names_that_begin_alike_is_of_several_patients() -> None:
    names = ("flair_smith.nii", "flair_smithson.nii", "FLAIR_A.nii", "FLAIR_AB.nii", "FLAIR_1.nii")
    more = ("FLAIR_1ab.nii", "FLAIR_12.nii")
    found, beside = group(*names, *more)
    assert (len(found), beside) == (len(names + more), set())


def test_numbered_channels_of_a_case_are_one_study() -> None:
    channels = {f"case_000{n}.nii" for n in range(4)}
    alone = {"sole_0000.nii", "p_0007.nii", "p_0008.nii"}
    found, beside = group(*channels, *alone)
    assert (found.pop("case"), beside) == (channels, set())
    assert sorted(map(sorted, found.values())) == [[name] for name in sorted(alone)]


def test_numbered_files_beside_a_flair_are_left_out() -> None:
    names = ("case_0000.nii", "case_0001.nii")
    assert group("case_flair.nii", *names) == ({"case": {"case_flair.nii"}}, set(names))


def test_patients_with_such_numbers_and_sequences_stay_apart() -> None:
    files = {f"p_000{n}_{role}.nii" for n in range(2) for role in ("t1", "flair")}
    assert {name: len(found) for name, found in group(*files)[0].items()} == {
        "p_0000": 2,
        "p_0001": 2,
    }
