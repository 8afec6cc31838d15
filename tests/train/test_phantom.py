"""Synthetic patients: reproducible, readable as the public dataset, with findable lesions."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from lgg_runtime.errors import OutputConflictError, ResourceError, UsageError
from lgg_runtime.intensity import IntensitySettings, head_mask
from lgg_runtime.readers.raster import read_raster
from lgg_runtime.volume import FLAIR
from lgg_train.cases import CaseFiles, find_cases, institution_of, load_cases
from lgg_train.phantom import PhantomSettings, make_phantom, patient_name, write_phantoms
from lgg_train.splits import PARTS, SplitSettings, make_split

SMALL = PhantomSettings(patients=12, slices=10, size=64, seed=3)
HEALTHY = 9


@pytest.fixture(scope="module")
def population():
    return [make_phantom(index, SMALL) for index in range(SMALL.patients)]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    root = tmp_path_factory.mktemp("phantoms")
    return root, write_phantoms(root, SMALL)


def test_has_the_shapes_and_types_of_a_case(population):
    for pixels, mask in population:
        assert (pixels.shape, pixels.dtype) == ((10, 64, 64, 3), np.uint8)
        assert (mask.shape, mask.dtype) == ((10, 64, 64), bool)


def test_the_same_seed_and_index_draw_the_same_patient(population):
    pixels, mask = make_phantom(2, SMALL)
    np.testing.assert_array_equal(pixels, population[2][0])
    np.testing.assert_array_equal(mask, population[2][1])


def test_the_number_of_patients_does_not_change_a_patient(population):
    alone = PhantomSettings(patients=1, slices=10, size=64, seed=3)
    np.testing.assert_array_equal(make_phantom(0, alone)[0], population[0][0])


def test_another_index_or_seed_draws_another_patient(population):
    assert (population[0][0] != population[1][0]).mean() > 0.2
    other = make_phantom(0, PhantomSettings(slices=10, size=64, seed=4))
    assert (population[0][0] != other[0]).mean() > 0.2


def test_every_tenth_patient_has_no_lesion_and_every_other_one_has(population):
    without = [index for index, (_, mask) in enumerate(population) if not mask.any()]
    assert without == [HEALTHY]


def test_some_slices_of_a_patient_show_tumour_and_the_last_shows_none(population):
    for index, (_, mask) in enumerate(population):
        if index != HEALTHY:
            assert 0 < mask.any(axis=(1, 2)).mean() < 0.8
        assert not mask[-1].any()


def test_the_lesion_lies_in_the_head(population):
    for pixels, mask in population:
        head = head_mask(pixels, IntensitySettings())
        assert head[mask].all()


def test_the_lesion_is_brighter_than_the_tissue_around_it_in_flair_above_all(population):
    for index, (pixels, mask) in enumerate(population):
        if index == HEALTHY:
            continue
        near = np.stack([cv2.dilate(m.astype(np.uint8), np.ones((9, 9))) > 0 for m in mask])
        near &= ~mask & head_mask(pixels, IntensitySettings())
        contrast = np.median(pixels[mask], axis=0) / np.median(pixels[near], axis=0)
        assert contrast[FLAIR] > 1.3
        assert contrast[0] < contrast[FLAIR] / 1.2


def test_background_is_dark_and_scales_differ_between_patients(population):
    medians = []
    for pixels, _ in population:
        assert pixels[:, :4, :4].mean() < 8
        flair = pixels[..., FLAIR]
        medians.append(np.median(flair[head_mask(pixels, IntensitySettings())]))
    assert max(medians) > 1.5 * min(medians)


def test_a_larger_picture_shows_the_same_head_with_more_pixels():
    areas = [
        head_mask(make_phantom(0, PhantomSettings(slices=6, size=s))[0], IntensitySettings()).mean()
        for s in (64, 128)
    ]
    assert areas[0] == pytest.approx(areas[1], rel=0.15)


def test_written_patients_read_back_as_they_were_drawn(written, population):
    root, folders = written
    found = find_cases(root)
    assert [case.patient for case in found] == sorted(folder.name for folder in folders)
    cases = {case.patient: case for case in load_cases(found[:2] + found[-1:])}
    assert len(cases) == 3
    for index in range(SMALL.patients):
        if case := cases.get(patient_name(index)):
            np.testing.assert_array_equal(case.volume.pixels, population[index][0])
            np.testing.assert_array_equal(case.masks, population[index][1])


def test_files_are_numbered_from_one(written):
    root, folders = written
    name = "PHANTOM_A_0001"
    assert folders[0] == root / "kaggle_3m" / name
    numbers = range(1, SMALL.slices + 1)
    expected = {f"{name}_{n}{kind}.tif" for n in numbers for kind in ("", "_mask")}
    assert {path.name for path in folders[0].iterdir()} == expected


def test_institutions_are_spread_evenly_and_patients_without_lesion_have_their_own(written):
    groups = [institution_of(case.patient) for case in find_cases(written[0])]
    assert {name: groups.count(name) for name in groups} == {"A": 3, "B": 2, "C": 3, "D": 3, "E": 1}
    assert patient_name(HEALTHY) == "PHANTOM_E_0010"


def test_each_part_of_a_split_of_sixty_has_a_patient_without_lesion():
    names = [patient_name(index) for index in range(60)]
    files = [CaseFiles(name, (Path("1.tif"),), (Path("1_mask.tif"),)) for name in names]
    split = make_split(files, SplitSettings())
    for part in PARTS:
        assert "E" in {institution_of(name) for name in split.patients(part)}


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "kaggle_3m").write_text("in the way")
    with pytest.raises(ResourceError, match="PHANTOM_A_0001"):
        write_phantoms(tmp_path, SMALL)


def test_the_folder_may_have_a_name_that_is_not_text(tmp_path):
    words = [sys.executable, "-m", "lgg_train.cli", "phantom", "--patients", "1", "--slices", "2"]
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    subprocess.run([*words, "--size", "32", "-o", folder], check=True, capture_output=True)
    assert len(find_cases(folder)[0].slices) == 2


def test_a_full_disk_is_told_and_leaves_no_torn_slice(small_disk):
    root = small_disk(64 * 1024)
    with pytest.raises(ResourceError, match=r"^PHANTOM_A_0001_\d+\.tif: the disk is full; free"):
        write_phantoms(root, PhantomSettings(patients=1, slices=10, size=96))
    written = sorted(root.rglob("*.tif"))
    assert written
    assert [read_raster(path).pixels.shape[:2] for path in written] == [(96, 96)] * len(written)


def test_phantoms_never_mix_with_others_and_replace_their_own(tmp_path):
    few = PhantomSettings(patients=2, slices=2, size=32)
    second = write_phantoms(tmp_path, replace(few, slices=4))[1]
    before = {path.name: path.read_bytes() for path in tmp_path.rglob("*.tif")}
    for path in tmp_path.rglob("PHANTOM_A_0001_[34]*"):
        path.unlink()
    with pytest.raises(OutputConflictError, match=r"B_0002: holds PHANTOM_B_0002_3\.tif, which is"):
        write_phantoms(tmp_path, replace(few, seed=1))
    assert (second / "PHANTOM_B_0002_1.tif").read_bytes() == before["PHANTOM_B_0002_1.tif"]
    (second / ".DS_Store").touch()
    write_phantoms(tmp_path, replace(few, slices=4))
    assert {path.name: path.read_bytes() for path in tmp_path.rglob("*.tif")} == before


def test_a_dataset_never_holds_patients_who_were_not_asked_for(tmp_path):
    few = PhantomSettings(patients=3, slices=2, size=32)
    write_phantoms(tmp_path, few)
    before = {path.name: path.read_bytes() for path in tmp_path.rglob("*.tif")}
    with pytest.raises(OutputConflictError, match=r"kaggle_3m: holds PHANTOM_B_0002, which is"):
        write_phantoms(tmp_path, replace(few, patients=1, seed=1))
    assert {path.name: path.read_bytes() for path in tmp_path.rglob("*.tif")} == before
    write_phantoms(tmp_path, few)
    write_phantoms(tmp_path, replace(few, patients=4))
    assert len(find_cases(tmp_path)) == 4


@pytest.mark.parametrize(
    ("name", "value"), [("patients", 0), ("slices", 1), ("size", 31), ("seed", -1)]
)
def test_impossible_settings_are_refused_by_name(name, value):
    with pytest.raises(UsageError, match=f"{name} {value}: expected at least {value + 1}"):
        PhantomSettings(**{name: value})


def test_importing_phantom_loads_neither_torch_nor_albumentations():
    code = (
        "import sys, lgg_train.phantom; "
        "print([m for m in ('torch', 'albumentations', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
