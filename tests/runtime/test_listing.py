"""Which reference mask is whose."""

from __future__ import annotations

from pathlib import Path
from unicodedata import normalize

import pytest

from lgg_runtime.readers.folder import list_studies

NFC, NFD = (normalize(form, "Jörg") for form in ("NFC", "NFD"))


def masks_of(root: Path, *names: str, given: str = "") -> dict[str, list[str]]:
    """The names of each slice's masks, by the slice's; root: where files of these names are made.

    given: the file that is listed alone, in place of the folder.
    """
    for name in names:
        (root / name).touch()
    if len(list(root.iterdir())) < len(names):
        pytest.skip("this file system takes both forms for one name")
    listing = list_studies(root / given)
    slices = [path for study in listing.studies for path in study.files]
    found = {path.name: [mask.name for mask in listing.masks_of(path)] for path in slices}
    assert sum(map(len, found.values())) <= sum(map(len, listing.masks.values()))
    return found


@pytest.mark.parametrize(("ours", "other"), [(NFC, NFD), (NFD, NFC)])
@pytest.mark.parametrize("is_alone", [False, True])
def test_a_mask_whose_name_has_its_accents_in_another_form_is_its_slices(
    tmp_path: Path, ours: str, other: str, is_alone: bool
) -> None:
    name, mask = f"{ours}_1.png", f"{other}_1_mask.tif"
    given = name if is_alone else ""
    assert masks_of(tmp_path, name, mask, f"{other}_2_mask.tif", given=given) == {name: [mask]}


@pytest.mark.parametrize("is_alone", [False, True])
def test_two_slices_whose_names_differ_in_the_form_of_accents_keep_their_own_masks(
    tmp_path: Path, is_alone: bool
) -> None:
    own = {f"{form}_1.png": [f"{form}_1_mask.png"] for form in (NFC, NFD)}
    names = [*own, f"{NFC}_1_mask.png"]
    expected = own | {f"{NFD}_1.png": []}
    for _ in range(2):
        for given in own if is_alone else [""]:
            found = masks_of(tmp_path, *names, given=given)
            assert found == {name: expected[name] for name in found} and found
        names, expected = [*names, f"{NFD}_1_mask.png"], own


def test_a_mask_that_could_be_of_two_slices_is_of_neither(tmp_path: Path) -> None:
    forms = [normalize("NFD", "é") + "é", "é" + normalize("NFD", "é"), "éé"]
    slices = [f"{form}_1.png" for form in forms[:2]]
    assert masks_of(tmp_path, *slices, f"{forms[2]}_1_mask.png") == {name: [] for name in slices}


def test_a_second_mask_in_another_form_is_told(tmp_path: Path) -> None:
    names = [f"{NFC}_1.png", f"{NFC}_1_mask.png", f"{NFD}_1_mask.png"]
    assert sorted(masks_of(tmp_path, *names)[names[0]]) == sorted(names[1:])
