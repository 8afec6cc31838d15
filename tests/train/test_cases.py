"""The dataset's layout: pairs in order, every fault of a file named, digests of pixels alone."""

import errno
import re
import shutil
import unicodedata

import cv2
import numpy as np
import pytest

from lgg_runtime.errors import InputError, NoInputError
from lgg_train.cases import digest_cases, find_cases, institution_of, load_case, load_cases

UNCOMPRESSED, LZW = 1, 5


def write_image(path, array, compression=LZW):
    path.parent.mkdir(parents=True, exist_ok=True)
    shown = np.ascontiguousarray(array[..., ::-1]) if array.ndim == 3 else array
    assert cv2.imwrite(str(path), shown, [cv2.IMWRITE_TIFF_COMPRESSION, compression])


def make_pixels(seed, count=3, shape=(16, 24)):
    rng = np.random.default_rng(seed)
    slices = rng.integers(0, 256, (count, *shape, 3), dtype=np.uint8)
    masks = np.zeros((count, *shape), np.uint8)
    masks[1, 2:5, 3:9] = 255
    return slices, masks


def write_patient(root, name, slices, masks, compression=LZW):
    for number, (image, mask) in enumerate(zip(slices, masks, strict=True), start=1):
        write_image(root / name / f"{name}_{number}.tif", image, compression)
        write_image(root / name / f"{name}_{number}_mask.tif", mask, compression)


def load_digest(root):
    return digest_cases(load_cases(find_cases(root)))


def test_pairs_are_in_the_order_of_their_numbers_not_of_their_letters(tmp_path):
    slices, masks = make_pixels(0, count=12)
    write_patient(tmp_path, "P", slices, masks)
    (case,) = find_cases(tmp_path)
    assert [path.name for path in case.slices] == [f"P_{n}.tif" for n in range(1, 13)]
    assert [path.name for path in case.masks] == [f"P_{n}_mask.tif" for n in range(1, 13)]


def test_a_case_holds_the_pixels_in_rgb_order_and_boolean_masks(tmp_path):
    slices, masks = make_pixels(1)
    write_patient(tmp_path, "TCGA_CS_4941_19960909", slices, masks)
    case = load_case(find_cases(tmp_path)[0])
    np.testing.assert_array_equal(case.volume.pixels, slices)
    np.testing.assert_array_equal(case.masks, masks == 255)
    assert case.masks.dtype == bool
    assert case.patient == "TCGA_CS_4941_19960909"
    assert case.volume.names[2] == "TCGA_CS_4941_19960909_3"


def test_the_folder_above_kaggle_3m_serves_as_well(tmp_path):
    write_patient(tmp_path / "kaggle_3m", "P", *make_pixels(0))
    assert find_cases(tmp_path) == find_cases(tmp_path / "kaggle_3m")


def test_files_beside_the_patients_are_passed_over(tmp_path):
    write_patient(tmp_path, "P", *make_pixels(0))
    (tmp_path / "data.csv").write_text("Patient\n")
    (tmp_path / "P" / "README.md").write_text("notes\n")
    (tmp_path / ".cache").mkdir()
    assert [case.patient for case in find_cases(tmp_path)] == ["P"]


def test_folders_without_slices_are_named(tmp_path):
    write_patient(tmp_path, "P", *make_pixels(0))
    (tmp_path / "Q").mkdir()
    (tmp_path / "R" / "series").mkdir(parents=True)
    write_image(tmp_path / "R" / "series" / "R_1.tif", np.zeros((16, 24, 3), np.uint8))
    with pytest.raises(InputError, match=r"no PATIENT_<n>\.tif in Q, R; take these"):
        find_cases(tmp_path)


@pytest.mark.parametrize(
    ("lost", "gaps"),
    [
        ((2, 3), ["P_1.tif and P_4.tif"]),
        ((2, 5), ["P_1.tif and P_3.tif", "P_4.tif and P_6.tif"]),
        ((2, 4, 6), []),
        ((1, 2), []),
    ],
)
def test_slices_that_are_missing_between_others_are_told(tmp_path, capsys, lost, gaps):
    write_patient(tmp_path, "P", *make_pixels(0, count=6))
    for number in lost:
        for end in ("", "_mask"):
            (tmp_path / "P" / f"P_{number}{end}.tif").unlink()
    (case,) = load_cases(find_cases(tmp_path))
    assert case.volume.names == tuple(f"P_{n}" for n in range(1, 7) if n not in lost)
    told = "Warning: slices between {} are missing; those beside are taken as neighbours"
    assert capsys.readouterr().err.splitlines() == [told.format(gap) for gap in gaps]


@pytest.mark.parametrize(("white", "told"), [([], 0), ([1], 1), ([0, 2], 2)])
def test_masks_that_cover_most_of_their_slice_are_told_by_patient(tmp_path, capsys, white, told):
    slices, masks = make_pixels(0)
    masks[0, :8] = 255  # half of it
    masks[white, :9] = 255
    write_patient(tmp_path, "P", slices, masks)
    load_cases(find_cases(tmp_path))
    warning = (
        f"Warning: P: in {told} of 3 slices the mask covers more than half of the slice; "
        "expected 255 where there is tumour\n"
    )
    assert capsys.readouterr().err == (warning if told else "")


def test_what_macos_puts_beside_a_file_is_no_slice(tmp_path):
    write_patient(tmp_path, "P", *make_pixels(0))
    before = find_cases(tmp_path)
    for name in ("._P_1.tif", "._P_1_mask.tif", "._P_1.TIFF"):
        (tmp_path / "P" / name).write_bytes(b"attributes")
    assert find_cases(tmp_path) == before


def test_every_unpaired_file_is_named(tmp_path):
    for name in ("A", "B"):
        write_patient(tmp_path, name, *make_pixels(0))
    (tmp_path / "A" / "A_2_mask.tif").unlink()
    (tmp_path / "B" / "B_3.tif").unlink()
    with pytest.raises(InputError) as refused:
        find_cases(tmp_path)
    assert "A_2.tif has no mask" in str(refused.value)
    assert "B_3_mask.tif has no image" in str(refused.value)
    assert "A_1" not in str(refused.value)


def test_a_mask_whose_name_differs_in_the_form_of_accents_is_its_slice_s(tmp_path):
    slices, masks = make_pixels(0)
    composed, copied = (unicodedata.normalize(form, "Zo\u00eb") for form in ("NFC", "NFD"))
    for number in (1, 2, 3):
        image, mask = slices[number - 1], masks[number - 1]
        write_image(tmp_path / "Z" / f"{composed}_{number}.tif", image)
        write_image(tmp_path / "Z" / f"{copied}_{number}_mask.tif", mask)
    (case,) = load_cases(find_cases(tmp_path))
    np.testing.assert_array_equal(case.masks, masks == 255)
    write_image(tmp_path / "Z" / f"{composed}_2_mask.tif", masks[0])
    with pytest.raises(InputError, match=r"unfit files: Zo.*_2_mask\.tif has no image$"):
        find_cases(tmp_path)


def test_a_patient_with_masks_alone_is_named(tmp_path):
    write_patient(tmp_path, "A", *make_pixels(0))
    write_image(tmp_path / "B" / "B_1_mask.tif", np.zeros((16, 24), np.uint8))
    with pytest.raises(InputError, match=r"B_1_mask\.tif has no image"):
        find_cases(tmp_path)


@pytest.mark.parametrize("name", ["scan.tif", "P_1_2024.tif.tif", "P_x_mask.tif", "P_mask.tif"])
def test_a_tiff_that_is_named_otherwise_is_told_and_not_passed_over(tmp_path, name):
    write_patient(tmp_path, "P", *make_pixels(0))
    write_image(tmp_path / "P" / name, np.zeros((16, 24), np.uint8))
    with pytest.raises(InputError, match=rf"{name} is not PATIENT_<n>\.tif$"):
        find_cases(tmp_path)


def test_a_copy_of_a_patient_is_told_and_not_trained_on_and_tested_at_once(tmp_path):
    write_patient(tmp_path, "TCGA_A", *make_pixels(0))
    write_patient(tmp_path, "TCGA_B", *make_pixels(1))
    (tmp_path / "copy").symlink_to(tmp_path / "TCGA_B")
    with pytest.raises(InputError, match=r"TCGA_B and copy hold the same images, .*: 3 slices"):
        load_cases(find_cases(tmp_path))


def test_patients_who_share_a_slice_are_told_with_the_slice_and_how_many_do(tmp_path):
    slices, masks = make_pixels(0)
    others = [make_pixels(seed)[0] for seed in (1, 2)]
    write_patient(tmp_path, "A", slices, masks)
    write_patient(tmp_path, "B", [others[0][0], slices[2, :, ::-1], slices[1]], 0 * masks)
    write_patient(tmp_path, "C", [*others[1][1:], slices[0]], masks)
    told = (
        "A and B hold the same images, copied, mirrored or turned: 2 slices, the first A_3.tif and "
        "B_2.tif; other such pairs: 1; keep one of each"
    )
    with pytest.raises(InputError, match=f"^{re.escape(told)}$"):
        load_cases(find_cases(tmp_path))


def test_a_slice_that_stands_twice_in_a_patient_is_told(tmp_path, capsys):
    slices, masks = make_pixels(0)
    write_patient(tmp_path, "P", [*slices, slices[1], slices[0, ::-1]], [*masks, *masks[:2]])
    load_cases(find_cases(tmp_path))
    assert capsys.readouterr().err == (
        "Warning: P: P_2.tif and P_4.tif hold the same image, copied, mirrored or turned, which "
        "counts twice; such copies of this patient: 2\n"
    )


@pytest.mark.parametrize(
    ("empty", "told"),
    [
        ((0,), "pre-contrast; save FLAIR in its place where it is missing"),
        ((0, 1), "pre-contrast, FLAIR; leave the patient out where it is missing"),
    ],
)
def test_sequences_of_one_value_are_told(tmp_path, capsys, empty, told):
    slices, masks = make_pixels(0)
    slices[0, ..., 2] = 0  # in one slice, as at the end of a head
    slices[..., empty] = 0
    write_patient(tmp_path, "P", slices, masks)
    load_cases(find_cases(tmp_path))
    assert capsys.readouterr().err == f"Warning: P: one value in all slices of {told}\n"


@pytest.mark.parametrize(
    ("lacking", "told"),
    [
        ({"P (1)": (1,)}, r"P and P \(1\) hold the same images, .* P_2.tif and P_2.tif; keep one"),
        ({"P": (3,), "P (1)": (1, 2)}, r"P \(1\) holds slices of P, who has a folder too; put"),
    ],
    ids=["part copied", "part moved"],
)
def test_a_patient_of_two_folders_is_told_and_not_trained_on_and_tested_at_once(
    tmp_path, lacking, told
):
    write_patient(tmp_path, "P", *make_pixels(0))
    shutil.copytree(tmp_path / "P", tmp_path / "P (1)")
    for folder, numbers in lacking.items():
        for path in [p for n in numbers for p in (tmp_path / folder).glob(f"P_{n}*")]:
            path.unlink()
    with pytest.raises(InputError, match=f"^{told}"):
        load_cases(find_cases(tmp_path))


def test_slices_may_be_called_alike_in_every_folder(tmp_path):
    for seed, name in enumerate("AB"):
        write_patient(tmp_path, "slice", *make_pixels(seed))
        (tmp_path / "slice").rename(tmp_path / name)
    assert [case.patient for case in load_cases(find_cases(tmp_path))] == ["A", "B"]


def test_a_folder_may_have_another_name_than_its_slices(tmp_path):
    write_patient(tmp_path, "P", *make_pixels(0))
    (tmp_path / "P").rename(tmp_path / "moved")
    (case,) = find_cases(tmp_path)
    assert (case.patient, len(case.slices)) == ("moved", 3)


@pytest.mark.parametrize("closed", [".", "P"])
def test_a_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch, closed):
    write_patient(tmp_path, "P", *make_pixels(0))
    folder, listed = tmp_path / closed, type(tmp_path).iterdir

    def refuse(path):
        if path == folder:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(type(tmp_path), "iterdir", refuse)
    with pytest.raises(NoInputError, match=rf"^{folder}: cannot be read \(Permission denied\)$"):
        find_cases(tmp_path)


def test_a_mask_that_is_turned_is_named_with_both_sizes(tmp_path):
    slices, masks = make_pixels(0)
    write_patient(tmp_path, "P", slices, masks)
    write_image(tmp_path / "P" / "P_2_mask.tif", np.zeros((24, 16), np.uint8))
    told = re.escape("P_2_mask.tif: mask is (24, 16), its slice (16, 24)")
    with pytest.raises(InputError, match=told):
        load_cases(find_cases(tmp_path))


@pytest.mark.parametrize("value", [1, 254])
def test_a_mask_with_a_value_between_is_named(tmp_path, value):
    slices, masks = make_pixels(0)
    masks[2, 7, 7] = value
    write_patient(tmp_path, "P", slices, masks)
    with pytest.raises(InputError, match=rf"P_3_mask\.tif: mask holds {value}; expected 0, and"):
        load_cases(find_cases(tmp_path))


def test_a_mask_of_greys_is_told_by_the_first_three(tmp_path):
    slices, masks = make_pixels(0)
    masks[2, 7, 7:12] = 9, 250, 3, 255, 5
    write_patient(tmp_path, "P", slices, masks)
    with pytest.raises(InputError, match=r"P_3_mask\.tif: mask holds 3, 5, 9 and others; expected"):
        load_cases(find_cases(tmp_path))


@pytest.mark.parametrize(
    ("name", "institution"),
    [
        ("TCGA_CS_4941_19960909", "CS"),
        ("PHANTOM_B_0002", "B"),
        ("patient_7", "-"),
        ("anyone", "-"),
    ],
)
def test_the_institution_is_the_second_part_of_a_barcode(name, institution):
    assert institution_of(name) == institution


def test_the_digest_is_of_the_pixels_not_of_the_files(tmp_path):
    slices, masks = make_pixels(3)
    write_patient(tmp_path / "a", "P", slices, masks, LZW)
    write_patient(tmp_path / "b", "P", slices, masks, UNCOMPRESSED)
    first, second = (tmp_path / side / "P" / "P_1.tif" for side in "ab")
    assert first.read_bytes() != second.read_bytes()
    assert load_digest(tmp_path / "a") == load_digest(tmp_path / "b")


def test_the_digest_does_not_depend_on_the_order_of_the_patients(tmp_path):
    for seed, name in enumerate("ABC"):
        write_patient(tmp_path, name, *make_pixels(seed))
    cases = load_cases(find_cases(tmp_path))
    assert digest_cases(cases) == digest_cases(reversed(cases))
    assert digest_cases(cases) != digest_cases(cases[:2])


@pytest.mark.parametrize("part", ["slice", "mask", "name", "order", "shape"])
def test_one_pixel_or_name_or_the_order_of_slices_changes_the_digest(tmp_path, part):
    slices, masks = make_pixels(4)
    write_patient(tmp_path / "a", "P", slices, masks)
    name = "P"
    if part == "slice":
        slices[2, 15, 23, 2] ^= 1
    elif part == "mask":
        masks[0, 0, 0] = 255
    elif part == "name":
        name = "Q"
    elif part == "shape":  # the same bytes, cut into rows otherwise
        slices, masks = (
            array.reshape(len(array), 24, 16, *array.shape[3:]) for array in (slices, masks)
        )
    else:
        slices, masks = slices[::-1], masks[::-1]
    write_patient(tmp_path / "b", name, slices, masks)
    assert load_digest(tmp_path / "a") != load_digest(tmp_path / "b")


@pytest.mark.parametrize("name", ["P_1.TIF", "P_1.tiff"])
def test_a_slice_that_ends_otherwise_is_named_and_not_left_out(tmp_path, name):
    slices, masks = make_pixels(0)
    write_patient(tmp_path, "Q", slices, masks)
    (tmp_path / "P").mkdir()
    shutil.copy(tmp_path / "Q" / "Q_1.tif", tmp_path / "P" / name)
    with pytest.raises(InputError, match=f"{name} does not end in .tif"):
        find_cases(tmp_path)


def test_two_slices_of_one_number_are_named(tmp_path):
    slices, masks = make_pixels(0)
    write_patient(tmp_path, "P", slices, masks)
    for kind in ("", "_mask"):
        shutil.copy(tmp_path / "P" / f"P_1{kind}.tif", tmp_path / "P" / f"P_01{kind}.tif")
    with pytest.raises(InputError, match=r"P_01\.tif and P_1\.tif have one number"):
        find_cases(tmp_path)
