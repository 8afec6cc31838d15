"""NIfTI to volumes: axes, sequences, and refusals in their exact words."""

from __future__ import annotations

import gzip
import os
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lgg_runtime.errors import InputError

pytest.importorskip("nibabel")
pytest.importorskip("SimpleITK")

import nibabel

from lgg_runtime.readers import gzipped
from lgg_runtime.readers.nifti import read_nifti
from lgg_runtime.volume import Volume
from lgg_runtime.writers.nifti import encode_nifti
from stand_ins.results import found_in

RAS = np.array([[-0.9, 0, 0, 20], [0, -0.9, 0, 30], [0, 0, 5, -40], [0, 0, 0, 1.0]])
SHAPE = (6, 5, 4)  # columns, rows, slices


def write(path: Path, values: np.ndarray, affine: np.ndarray = RAS, **header: Any) -> Path:
    image = nibabel.Nifti1Image(values, affine)
    for name, value in header.items():
        image.header[name] = value
    nibabel.save(image, path)
    return path


def ramp(shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return np.arange(np.prod(shape), dtype=np.int16).reshape(shape)


def reason(*paths: Path) -> str:
    with pytest.raises(InputError) as refused:
        read_nifti(paths)
    return str(refused.value)


def test_axes_are_column_row_slice_and_the_world_is_turned_to_lps(tmp_path: Path) -> None:
    volume = read_nifti([write(tmp_path / "a.nii", ramp())])
    assert volume.pixels.shape == (4, 5, 6, 3)
    np.testing.assert_array_equal(volume.pixels[..., 1], ramp().transpose(2, 1, 0))
    assert volume.spacing_mm == pytest.approx((5, 0.9, 0.9))
    assert volume.affine is not None
    # Voxel column 1, row 2, slice 3 lies at RAS (20 - 0.9, 30 - 1.8, -40 + 15).
    np.testing.assert_allclose(volume.affine @ [3, 2, 1, 1], [-19.1, -28.2, -25, 1])
    assert volume.notes == ("one channel, taken as FLAIR",)


@pytest.mark.parametrize(
    ("lengths", "origin", "told"),
    [
        ((1, 1, 1), 0, True),
        ((-1, -1, 1), 0, True),  # the identity in LPS, as SimpleITK has it
        ((1, 1, 1.0001), 0, False),
        ((-1, -1, 1), 0.5, False),
    ],
)
def test_an_affine_that_nobody_set_is_told(
    tmp_path: Path, lengths: tuple[float, ...], origin: float, told: bool
) -> None:
    affine = np.diag([*lengths, 1.0])
    affine[0, 3] = origin
    notes = read_nifti([write(tmp_path / "a.nii", ramp(), affine)]).notes
    expected = "its voxels are of 1 mm from the origin 0, as where size and axes were not known"
    assert (expected in notes) is told


@pytest.mark.parametrize(("unit", "mm"), [(0, 1), (1, 1000), (2, 1), (3, 0.001), (8 | 1, 1000)])
def test_the_headers_spatial_unit_is_brought_to_mm(tmp_path: Path, unit: int, mm: float) -> None:
    given = np.diag([1 / mm, 1 / mm, 1 / mm, 1]) @ RAS
    volume = read_nifti([write(tmp_path / "a.nii", ramp(), given, xyzt_units=unit)])
    assert volume.spacing_mm == pytest.approx((5, 0.9, 0.9))
    assert volume.affine is not None
    np.testing.assert_allclose(volume.affine @ [3, 2, 1, 1], [-19.1, -28.2, -25, 1], rtol=1e-6)


def test_three_channels_are_the_three_sequences(tmp_path: Path) -> None:
    values = np.stack([ramp() + k for k in range(3)], axis=-1)
    volume = read_nifti([write(tmp_path / "a.nii.gz", values)])
    np.testing.assert_array_equal(volume.pixels, values.transpose(2, 1, 0, 3))
    assert volume.notes == ()


def test_scaled_values_are_the_real_ones(tmp_path: Path) -> None:
    path = write(tmp_path / "a.nii", ramp())
    data = bytearray(path.read_bytes())
    data[112:120] = np.array([0.5, 3], "<f4").tobytes()
    path.write_bytes(data)
    expected = ramp().transpose(2, 1, 0) * 0.5 + 3
    np.testing.assert_allclose(read_nifti([path]).pixels[..., 1], expected)


def test_a_slope_of_zero_means_no_scaling(tmp_path: Path) -> None:
    path = write(tmp_path / "a.nii", ramp())
    data = bytearray(path.read_bytes())
    data[112:120] = np.array([0, 3], "<f4").tobytes()
    path.write_bytes(data)
    np.testing.assert_array_equal(read_nifti([path]).pixels[..., 1], ramp().transpose(2, 1, 0))


@pytest.mark.parametrize("other", ["case.nii", "case_t1.nii", "case_0002.nii"])
def test_channels_are_told_as_such_whatever_lies_beside_them(tmp_path: Path, other: str) -> None:
    files = [write(tmp_path / name, ramp()) for name in (other, "case_0000.nii", "case_0001.nii")]
    assert ": with case_000" in reason(*files)


@pytest.mark.parametrize(
    "names", [["p_t2.nii"], ["p_seg.nii"], ["p_t2.nii", "p_t2w.nii"], ["p_flair_seg.nii"]]
)
def test_t2_and_labels_are_not_taken_for_flair(tmp_path: Path, names: list[str]) -> None:
    told = reason(*(write(tmp_path / name, ramp()) for name in names))
    assert told == f"{names[0]}: no FLAIR beside it; expected p_flair.nii.gz in its folder"


@pytest.mark.parametrize(
    ("name", "word"), [("p1_T1_20010203101112_2.nii.gz", "T1"), ("flair_in_t1_space.nii", "")]
)
def test_another_sequence_within_a_name_is_not_taken_for_flair(
    tmp_path: Path, name: str, word: str
) -> None:
    path = write(tmp_path / name, ramp())
    if word:
        assert reason(path) == (
            f"{name}: {word} in its name, so it is not taken for FLAIR; expected a name ending in "
            "_flair, or in _t1 or _t1c beside one that does"
        )
    else:
        assert read_nifti([path]).notes[:1] == ("one channel, taken as FLAIR",)


def test_nifti_2_is_read_too(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti2Image(ramp(), RAS), tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(
        read_nifti([tmp_path / "a.nii.gz"]).pixels[..., 1], ramp().transpose(2, 1, 0)
    )


def test_one_file_a_sequence_on_one_grid(tmp_path: Path) -> None:
    files = [write(tmp_path / f"p_{role}.nii", ramp() + k) for k, role in
             enumerate(("t1", "flair", "t1c"))]  # fmt: skip
    volume = read_nifti(files)
    for channel in range(3):
        np.testing.assert_array_equal(
            volume.pixels[..., channel], ramp().transpose(2, 1, 0) + channel
        )


def test_with_flair_alone_no_other_file_is_read(tmp_path: Path) -> None:
    flair = write(tmp_path / "p_flair.nii", ramp())
    (tmp_path / "p_t1.nii").write_bytes(b"damaged")
    volume = read_nifti([flair, tmp_path / "p_t1.nii"], flair_only=True)
    np.testing.assert_array_equal(volume.pixels, read_nifti([flair]).pixels)
    assert volume.notes == ("FLAIR in the place of the other sequences, as asked",)


@pytest.mark.parametrize("kind", [np.uint8, np.int16])
def test_another_grid_is_resampled_and_a_missing_sequence_replaced(
    tmp_path: Path, kind: type
) -> None:
    moved, values = RAS.copy(), ramp().astype(kind)
    moved[0, 3] += 0.45
    files = [write(tmp_path / "p_flair.nii", values), write(tmp_path / "p_t1.nii", values, moved)]
    volume = read_nifti(files)
    assert volume.notes == (
        "pre-contrast sequence resampled onto FLAIR's grid",
        "no post-contrast sequence; FLAIR in its place",
    )
    # Half a column further: the mean of two neighbours, 20 apart along the first axis.
    np.testing.assert_allclose(
        volume.pixels[:, :, :-1, 0], ramp().transpose(2, 1, 0)[:, :, :-1] + 10, rtol=1e-5
    )


def mask_of(volume: Volume) -> Any:
    """The image that is written of an empty mask."""
    data = encode_nifti(found_in(volume))["mask.nii.gz"]
    assert data[4:8] == bytes(4), "no time of writing: the same bytes for the same mask"
    return nibabel.Nifti1Image.from_bytes(gzip.decompress(data))


def codes_of(image: Any) -> tuple[int, int]:
    return int(image.header["sform_code"]), int(image.header["qform_code"])


def coded(path: Path, codes: tuple[int, int], affine: np.ndarray = RAS) -> Path:
    image = nibabel.Nifti1Image(ramp(), affine)
    image.set_qform(affine, 1)
    image.header["sform_code"], image.header["qform_code"] = codes
    path.write_bytes(image.to_bytes())
    return path


@pytest.mark.parametrize("codes", [(0, 1), (1, 1), (2, 0), (4, 1)])
def test_a_mask_has_its_sources_placements_and_their_codes(
    tmp_path: Path, codes: tuple[int, int]
) -> None:
    files = [coded(tmp_path / "p_flair.nii", codes), coded(tmp_path / "p_t1.nii", (2, 2))]
    for read in (files, files[:1]):
        mask = mask_of(read_nifti(read))
        assert codes_of(mask) == codes
        np.testing.assert_allclose(mask.affine, RAS, atol=1e-5)
    if codes[1]:
        np.testing.assert_allclose(mask.header.get_qform(), RAS, atol=1e-5)


def test_a_mask_of_a_sheared_source_has_no_qform(tmp_path: Path) -> None:
    affine = RAS.copy()
    affine[0, 2] = 0.04
    mask = mask_of(read_nifti([coded(tmp_path / "a.nii", (1, 1), affine)]))
    assert codes_of(mask) == (1, 0)
    np.testing.assert_allclose(mask.affine, affine, atol=1e-6)


def test_a_mask_of_no_nifti_has_both_placements_in_the_scanners_space() -> None:
    affine = np.array([[0, 0, 0.9, 1], [0, 0.9, 0, 2], [5, 0, 0, 3], [0, 0, 0, 1.0]])
    mask = mask_of(
        Volume(np.zeros((4, 5, 6, 3), np.uint8), spacing_mm=(5, 0.9, 0.9), affine=affine)
    )
    assert codes_of(mask) == (1, 1)
    np.testing.assert_allclose(mask.header.get_qform(), mask.header.get_sform(), atol=1e-5)
    assert mask.header.get_xyzt_units()[0] == "mm"
    assert mask.header["descrip"] == b"FLAIR abnormality: none found - research use only"


def sheared() -> np.ndarray:
    affine = RAS.copy()
    affine[0, 2] = 0.06  # of 5: beyond the hundredth that is taken
    return affine


def disagreeing(path: Path, by_mm: float = 10) -> Path:
    image = nibabel.Nifti1Image(ramp(), RAS)
    moved = RAS.copy()
    moved[2, 3] += by_mm
    image.set_sform(RAS, 1)
    image.set_qform(moved, 1)
    nibabel.save(image, path)
    return path


def turned(path: Path) -> Path:
    """qform and sform with two opposite corners in common."""
    sform = np.diag([2.0, 2.0, 2.0, 1.0])
    image = nibabel.Nifti1Image(ramp((4, 4, 4)), sform)
    image.set_sform(sform, 1)
    image.set_qform(sform[:, [1, 2, 0, 3]], 1)
    nibabel.save(image, path)
    return path


def raw(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("a.nii.gz", lambda p: raw(p, gzip.compress(b"x" * 400)), "no NIfTI file, or its header "
         "is damaged"),
        ("a.nii", turned, "qform and sform disagree; set them to one of the two"),
        ("a.nii", lambda p: write(p, ramp(), sheared(), qform_code=0), "its affine is sheared; "
         "resample it onto a rectangular grid"),
    ],
)  # fmt: skip
def test_what_is_no_usable_volume_is_refused(
    tmp_path: Path, name: str, make: Any, message: str
) -> None:
    assert reason(make(tmp_path / name)) == f"{name}: {message}"


def test_qform_and_sform_agree_within_half_of_the_smallest_voxel_side(tmp_path: Path) -> None:
    affine = read_nifti([disagreeing(tmp_path / "a.nii", 0.44)]).affine
    assert affine is not None and affine[2, 3] == -40, "the sform's"
    told = reason(disagreeing(tmp_path / "a.nii", 0.46))
    assert told == "a.nii: qform and sform disagree; set them to one of the two"


def test_a_volume_that_the_memory_does_not_hold_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.nii", ramp())

    def exhaust(_: Any) -> np.ndarray:
        raise MemoryError

    monkeypatch.setattr(np, "asanyarray", exhaust)
    assert reason(path) == "a.nii: the memory does not suffice for its voxels"


def test_a_pipe_named_gz_never_blocks(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.nii.gz")
    expected = "a.nii.gz: expected a regular file, found a folder, pipe, socket or device"
    assert reason(tmp_path / "a.nii.gz") == expected


def test_a_bomb_takes_no_memory_beyond_what_its_header_claims(tmp_path: Path) -> None:
    path = write(tmp_path / "a.nii.gz", ramp())
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()) + bytes(2**24), 1))
    tracemalloc.start()
    try:
        volume = read_nifti([path])
        assert tracemalloc.get_traced_memory()[1] < 2**22
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(volume.pixels[..., 1], ramp().transpose(2, 1, 0))


def test_no_flipped_bit_of_a_compressed_file_changes_a_voxel(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    values = np.random.default_rng(0).integers(0, 900, SHAPE, np.int16)
    whole = write(path, values).read_bytes()
    expected = read_nifti([path]).pixels
    refused = 0
    for bit in np.random.default_rng(1).permutation(8 * len(whole))[:300]:
        data = bytearray(whole)
        data[bit >> 3] ^= 1 << (bit & 7)
        path.write_bytes(data)
        try:
            np.testing.assert_array_equal(read_nifti([path]).pixels, expected)
        except InputError:
            refused += 1
    assert refused > 250


@pytest.mark.parametrize("end", [slice(None, -8), slice(None, -1)])
def test_a_compressed_file_without_its_check_sum_is_cut(tmp_path: Path, end: slice) -> None:
    path = write(tmp_path / "a.nii.gz", ramp())
    path.write_bytes(path.read_bytes()[end])
    assert reason(path) == "a.nii.gz: cut short or damaged; copy the file again"


def test_what_goes_on_far_behind_its_voxels_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gzipped, "_MOST_SURPLUS", 1 << 20)
    path = write(tmp_path / "a.nii.gz", ramp())
    whole = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(whole + bytes(1 << 20)))
    read_nifti([path])
    path.write_bytes(gzip.compress(whole + bytes(1 + (1 << 20))))
    assert reason(path) == "a.nii.gz: goes on for more than 1 MiB behind its voxels"
