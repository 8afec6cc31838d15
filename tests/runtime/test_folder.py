"""From names to studies: what belongs together, in which order, and what is passed over."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lgg_runtime.errors import InputError, NoInputError, OutputConflictError
from lgg_runtime.readers.folder import list_studies
from lgg_runtime.readers.listing import Listing
from lgg_runtime.readers.scans import find_scans
from lgg_runtime.redact import without_uids
from stand_ins.trees import tree


def studies(listing: Listing) -> dict[str, list[str]]:
    return {s.name: [listing.relative(path) for path in s.files] for s in listing.studies}


def test_numbered_slices_of_one_stem_are_one_study_in_the_order_of_numbers(tmp_path: Path) -> None:
    listing = list_studies(tree(tmp_path, "P_1.tif", "P_10.tif", "P_2.tif", "P_009.tif"))
    assert studies(listing) == {"P": ["P_1.tif", "P_2.tif", "P_009.tif", "P_10.tif"]}
    assert listing.studies[0].folder == Path()
    assert list_studies(str(tmp_path)) == listing


def test_other_stems_are_other_studies(tmp_path: Path) -> None:
    listing = list_studies(tree(tmp_path, "a_1.png", "b_1.png", "a_2.jpg", "scan.png"))
    assert studies(listing) == {
        "a": ["a_1.png", "a_2.jpg"],
        "b": ["b_1.png"],
        "scan": ["scan.png"],
    }


@pytest.mark.parametrize(
    ("names", "stem"),
    [
        (["s1.png", "s2.png"], "s"),
        (["s-1.png", "s-2.png"], "s"),
        (["s 1.png", "s 2.png"], "s"),
        (["s.1.png", "s.2.png"], "s"),
        (["s_t1_01.png", "s_t1_02.png"], "s_t1"),
        (["1.png", "02.png", "10.png"], "slices"),
        (["_1.png", "_2.png"], "slices"),
        (["-1.png"], "slices"),
        (["new\nline_1.png", "new\nline_2.png"], "new\nline"),
        (["S_1.PNG", "S_2.TIFF", "S_3.JPEG"], "S"),
    ],
)
def test_what_a_number_is(tmp_path: Path, names: list[str], stem: str) -> None:
    assert studies(list_studies(tree(tmp_path, *names))) == {stem: names}


def test_the_layout_of_the_public_dataset_is_a_study_a_folder(tmp_path: Path) -> None:
    first, second = "TCGA_CS_4941_19960909", "TCGA_DU_5851_19950428"
    names = [f"{p}/{p}_{n}{m}.tif" for p in (first, second) for n in (1, 2) for m in ("", "_mask")]
    listing = list_studies(tree(tmp_path, *names, "data.csv", "README.md"))
    assert studies(listing) == {p: [f"{p}/{p}_1.tif", f"{p}/{p}_2.tif"] for p in (first, second)}
    assert [study.folder for study in listing.studies] == [Path(first), Path(second)]
    assert (len(listing.masks), listing.skipped) == (4, 2)


def test_one_stem_in_two_folders_is_two_studies(tmp_path: Path) -> None:
    listing = list_studies(tree(tmp_path, "x/s_1.png", "x/y/s_1.png", "s_1.png"))
    assert studies(listing) == {
        "s": ["s_1.png"],
        "x/s": ["x/s_1.png"],
        "x/y/s": ["x/y/s_1.png"],
    }


@pytest.mark.parametrize(
    "names",
    [
        ["a_1.png", "a/a_1.png"],
        ["x/b_1.png", "x/b/b_1.png"],
        ["a_1.png", "a/a_1.png", "a/a/a_1.png"],
    ],
)
def test_no_two_studies_share_a_name(tmp_path: Path, names: list[str]) -> None:
    found = studies(list_studies(tree(tmp_path, *names)))
    assert sorted(found.values()) == sorted([name] for name in names)


def test_reference_masks_are_no_slices_and_are_found_by_their_slice(tmp_path: Path) -> None:
    names = ["a_1.png", "a_1_mask.tif", "a_2.tif", "a_2_MASK.PNG", "a_3.png", "a_9_mask.png"]
    listing = list_studies(tree(tmp_path, *names, "b/a_3_mask.png"))
    assert studies(listing) == {"a": ["a_1.png", "a_2.tif", "a_3.png"]}
    masks = [listing.mask_of(path) for path in listing.studies[0].files]
    assert masks == [tmp_path / "a_1_mask.tif", tmp_path / "a_2_MASK.PNG", None]
    assert len(listing.masks) == 4


@pytest.mark.parametrize("name", ["_mask.png", "x_mask.old.png", "İ_mask.png"])
def test_a_mask_of_an_odd_name_belongs_to_no_other_slice(tmp_path: Path, name: str) -> None:
    listing = list_studies(tree(tmp_path, "s.png", "x_mas.png", name))
    assert studies(listing) == {"s": ["s.png"], "x_mas": ["x_mas.png"]}
    assert all(listing.mask_of(path) is None for s in listing.studies for path in s.files)
    assert list(listing.masks.values()) == [(tmp_path / name,)]


def test_a_mask_of_no_slice_s_name_is_not_that_of_the_picture_called_as_its_folder(
    tmp_path: Path,
) -> None:
    listing = list_studies(tree(tmp_path, "a.png", "a/_mask.png"))
    assert listing.mask_of(tmp_path / "a.png") is None
    assert list(listing.masks.values()) == [(tmp_path / "a/_mask.png",)]


def test_letters_that_are_folded_to_those_of_mask_make_no_mask(tmp_path: Path) -> None:
    names = ["a_mas\N{KELVIN SIGN}.png", "a_ma\N{LATIN SMALL LETTER LONG S}k.png"]
    listing = list_studies(tree(tmp_path, *names))
    assert [file.name for study in listing.studies for file in study.files] == names
    assert not listing.masks


def test_links_are_counted_and_not_followed(tmp_path: Path) -> None:
    outside = tree(tmp_path / "outside", "secret_1.png")
    root = tree(tmp_path / "in", "a_1.png")
    (root / "b_1.png").symlink_to(outside / "secret_1.png")
    (root / "folder").symlink_to(outside, target_is_directory=True)
    (root / "loop").symlink_to(root, target_is_directory=True)
    (root / "broken.png").symlink_to(root / "nowhere")
    listing = list_studies(root)
    assert studies(listing) == {"a": ["a_1.png"]}
    assert (listing.skipped, listing.links) == (4, 4)


def test_other_files_are_counted(tmp_path: Path) -> None:
    root = tree(tmp_path, "a.png", "notes.txt", "x/not.dcm", "x/a_mask.nii.gz", ".hidden", "png")
    (root / "folder.png").mkdir()
    assert list_studies(root).skipped == 5


def test_nifti_files_are_studies_of_their_own(tmp_path: Path) -> None:
    root = tree(tmp_path, "a.png", "p/p.nii.gz", "x/q_flair.nii", "x/q_t1.nii")
    scans = [study for study in list_studies(root).studies if study.kind == "nifti"]
    assert [(study.name, study.folder) for study in scans] == [
        ("p", Path("p")),
        ("x/q", Path("x")),
    ]
    assert [path.name for path in scans[1].files] == ["q_flair.nii", "q_t1.nii"]


@pytest.mark.parametrize("name", [".nii", "..nii", "...nii.gz", "_flair.nii", "flair.nii.gz"])
def test_nifti_files_of_no_name_are_called_by_their_folder(tmp_path: Path, name: str) -> None:
    root = tree(tmp_path / "scan", name, f"p/{name}")
    found = {study.name: study.base for study in list_studies(root).studies}
    assert found == {"scan": Path("scan"), "p": Path("p/p")}


def test_nor_need_their_folder_have_one() -> None:
    found = find_scans([Path("/flair.nii")], Path("/"))
    assert [(study.name, study.base) for study in found.studies] == [("study", Path("study"))]


def test_t2_and_labels_beside_a_scan_are_left_out_and_counted(tmp_path: Path) -> None:
    names = [f"p_{role}.nii" for role in ("flair", "t1", "t2", "seg")]
    listing = list_studies(tree(tmp_path, *names, "q_seg.nii"))
    assert studies(listing) == {"p": ["p_flair.nii", "p_t1.nii"], "q": ["q_seg.nii"]}
    assert listing.skipped == 2


@pytest.mark.parametrize("name", ["mask.nii.gz", "Mask.nii"])
def test_a_nifti_file_called_mask_is_no_patient(tmp_path: Path, name: str) -> None:
    listing = list_studies(tree(tmp_path, "p/flair.nii", f"p/{name}", "q/q_1.png", f"q/{name}"))
    assert studies(listing) == {"p": ["p/flair.nii"], "q": ["q/q_1.png"]}
    assert listing.skipped == 2
    with pytest.raises(NoInputError, match=f"^{name}: by its name a mask, .*; give its scan$"):
        list_studies(tmp_path / "p" / name)


def test_what_macos_puts_beside_a_file_is_no_slice(tmp_path: Path) -> None:
    listing = list_studies(tree(tmp_path, "a_1.png", "._a_1.png", "._p_flair.nii"))
    assert (studies(listing), listing.skipped) == ({"a": ["a_1.png"]}, 2)


def test_links_alone_are_named(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a_1.png").symlink_to(tmp_path / "elsewhere.png")
    with pytest.raises(NoInputError, match=r"; symbolic links, not followed: 1; give a copy .*"):
        list_studies(tmp_path / "in")


def test_no_uid_or_broken_line_is_told_of_files_that_would_share_an_output(
    tmp_path: Path,
) -> None:
    with pytest.raises(OutputConflictError) as error:
        list_studies(tree(tmp_path, "1.2.840.99.7\n.nii", "1.2.840.99.7\n.nii.gz"))
    assert "1.2.840" not in str(error.value)
    assert str(error.value).isprintable()


@pytest.mark.parametrize(
    ("names", "shared"),
    [
        (["p1/p1_001.tif", "p1/p1.nii.gz"], "p1"),
        (["p1/p1.1.png", "p1/p1_flair.nii"], "p1"),
        (["q_1.png", "q_t1c.nii"], "q"),
        (["x/q_1.png", "x/q.nii"], "x/q"),
        (["p/1.png", "p/slices.nii"], "p/slices"),
        (["p.nii", "p/p.nii"], "p"),
        (["p_1.png", "p/flair.nii"], "p"),
        (["1.2.3.4.5.6/a_1.png", "1.2.3.4.5.6/a.nii"], "uid-ffaff041/a"),
    ],
)
def test_slices_and_scans_that_would_share_a_name_are_refused(
    tmp_path: Path, names: list[str], shared: str
) -> None:
    with pytest.raises(OutputConflictError) as refused:
        list_studies(tree(tmp_path, *names))
    first, second = (without_uids(name) for name in names)
    assert str(refused.value) == (
        f"{first} and {second} would share the name {shared} in the results; rename one, or move "
        "it to a folder of its own"
    )


def test_outputs_that_begin_alike_are_refused_where_the_studies_names_differ(
    tmp_path: Path,
) -> None:
    names = ["a/a_1.png", "a/a/a_1.png", "a/a/a.nii"]
    with pytest.raises(OutputConflictError, match=r"^a/a/a_1\.png and a/a/a\.nii would share the"):
        list_studies(tree(tmp_path, *names))


def test_slices_and_scans_of_other_names_share_a_folder(tmp_path: Path) -> None:
    root = tree(tmp_path, "p/p_1.png", "p/q.nii", "p/q2_flair.nii", "p.nii.txt", "r/p_1.png")
    assert sorted(studies(list_studies(root))) == ["p", "p/q", "p/q2", "r/p"]


def test_one_name_in_two_folders_shares_nothing(tmp_path: Path) -> None:
    assert len(list_studies(tree(tmp_path, "x/a.tif", "y/a.png")).studies) == 2


def test_one_file_is_one_study_with_its_own_mask_alone(tmp_path: Path) -> None:
    root = tree(tmp_path, "p_1.png", "p_2.png", "p_1_mask.png", "p_2_mask.png", "x/p_1_mask.png")
    listing = list_studies(root / "p_1.png")
    assert studies(listing) == {"p": ["p_1.png"]}
    assert listing.masks == {root / "p_1": (root / "p_1_mask.png",)}
    assert listing.skipped == 0
    assert list_studies(tree(root, "q.png") / "q.png").masks == {}


def test_links_and_folders_are_no_masks_of_one_file_either(tmp_path: Path) -> None:
    root = tree(tmp_path, "P_1.PNG", "elsewhere/truth.png", "P_1_mask.tif/p_1.png")
    (root / "P_1_mask.png").symlink_to(root / "elsewhere" / "truth.png")
    listing = list_studies(root / "P_1.PNG")
    assert (studies(listing), listing.masks) == ({"P": ["P_1.PNG"]}, {})


def test_one_file_may_be_given_without_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tree(tmp_path, "p_1.png", "p_1_mask.png"))
    listing = list_studies(Path("p_1.png"))
    assert studies(listing) == {"p": ["p_1.png"]}
    assert listing.mask_of(Path("p_1.png")) == Path("p_1_mask.png")


def test_a_file_named_png_is_no_slice(tmp_path: Path) -> None:
    with pytest.raises(NoInputError, match="png: not a slice; expected"):
        list_studies(tree(tmp_path, "png") / "png")


def test_a_link_that_is_given_by_name_is_followed(tmp_path: Path) -> None:
    tree(tmp_path / "real", "a_1.png")
    (tmp_path / "link").symlink_to(tmp_path / "real", target_is_directory=True)
    assert studies(list_studies(tmp_path / "link")) == {"a": ["a_1.png"]}


def test_a_name_that_is_no_text_is_listed(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9_1.png")
    try:
        tree(tmp_path, name)
    except OSError:
        pytest.skip("this file system takes text alone")
    assert studies(list_studies(tmp_path)) == {os.fsdecode(b"caf\xe9"): [name]}


def test_the_order_of_studies_does_not_hang_on_the_file_system(tmp_path: Path) -> None:
    names = [f"{folder}/{stem}.png" for folder in "cab" for stem in ("z", "m")]
    expected = sorted(Path(name).with_suffix("").as_posix() for name in names)
    assert list(studies(list_studies(tree(tmp_path, *names)))) == expected


def test_two_masks_of_one_slice_are_both_kept_and_neither_is_the_truth(tmp_path: Path) -> None:
    listing = list_studies(tree(tmp_path, "a_1.png", "a_1_mask.png", "a_1_mask.tif"))
    (path,) = listing.studies[0].files
    assert len(listing.masks_of(path)) == 2
    assert sum(map(len, listing.masks.values())) == 2
    with pytest.raises(InputError) as refused:
        listing.mask_of(path)
    expected = "a_1_mask.png: a_1_mask.tif claims the same slice; keep one"
    assert str(refused.value) == expected


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder named `closed` cannot be listed; tests may run as root, whom nothing keeps out."""
    real = os.scandir

    def refuse(folder: Path) -> object:
        if folder.name == "closed":
            raise PermissionError(13, "Permission denied")
        return real(folder)

    monkeypatch.setattr(os, "scandir", refuse)


@pytest.mark.usefixtures("closed")
def test_a_folder_that_cannot_be_listed_is_named_and_the_others_are_listed(tmp_path: Path) -> None:
    listing = list_studies(tree(tmp_path, "a.png", "closed/b.png"))
    assert studies(listing) == {"a": ["a.png"]}
    why = "closed: cannot be listed: Permission denied"
    assert listing.unreadable == {tmp_path / "closed": why}


@pytest.mark.usefixtures("closed")
def test_nothing_but_a_folder_that_cannot_be_listed_is_no_input(tmp_path: Path) -> None:
    tree(tmp_path, "closed/b.png")
    reason = "closed: cannot be listed: Permission denied"
    with pytest.raises(NoInputError, match=f"no slice in it; expected .*; {reason}$"):
        list_studies(tmp_path)
    with pytest.raises(NoInputError, match=f"^{reason}$"):
        list_studies(tmp_path / "closed")


def refuse_open(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    real = os.open

    def refuse(path: Path, flags: int, *more: int) -> int:
        if Path(path).name == name:
            raise PermissionError(13, "Permission denied")
        return real(path, flags, *more)

    monkeypatch.setattr(os, "open", refuse)


def test_a_file_that_may_be_a_scan_and_cannot_be_opened_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree(tmp_path, "a.png", "x/IM1", "y/IM2")
    refuse_open(monkeypatch, "IM1")
    listing = list_studies(tmp_path)
    assert listing.unreadable == {
        tmp_path / "x" / "IM1": "IM1: cannot be opened: Permission denied"
    }
    assert listing.skipped == 1
    with pytest.raises(NoInputError, match=r"^IM1: cannot be opened: Permission denied$"):
        list_studies(tmp_path / "x" / "IM1")


def test_a_path_below_a_file_is_no_input(tmp_path: Path) -> None:
    with pytest.raises(NoInputError, match=r"below: no such file"):
        list_studies(tree(tmp_path, "file") / "file" / "below")


@pytest.mark.parametrize(
    "names",
    [["p-1.png", "p_2.png"], ["p1.png", "p_2.png"], ["p_01.png", "p_1.png"], ["01.png", "1.png"]],
)
def test_slices_that_may_be_of_two_people_are_refused(tmp_path: Path, names: list[str]) -> None:
    with pytest.raises(OutputConflictError, match="may be of two people") as error:
        list_studies(tree(tmp_path, *names))
    assert all(name in str(error.value) for name in names)


def test_a_slice_without_a_number_comes_before_its_numbered_ones(tmp_path: Path) -> None:
    found = studies(list_studies(tree(tmp_path, "p_2.png", "p.png", "p_1.png")))
    assert found == {"p": ["p.png", "p_1.png", "p_2.png"]}
