"""One study's files: volumes by size, reference masks, and the fate of each bad file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lgg_runtime.readers.dicom_series import SeriesChoice
from lgg_runtime.readers.folder import list_studies
from lgg_runtime.readers.study import MIXED_SIZES, LoadedStudy, load_study
from stand_ins.runs import Write

RANDOM = np.random.default_rng(1)


def colour(height: int = 4, width: int = 5) -> np.ndarray:
    return RANDOM.integers(0, 256, (height, width, 3), dtype=np.uint8)


def load(root: Path, with_truth: bool = False) -> LoadedStudy:
    listing = list_studies(root)
    assert len(listing.studies) == 1
    return load_study(listing.studies[0], listing, with_truth, SeriesChoice())


def test_slices_of_one_size_are_one_volume_in_order(tmp_path: Path, write_picture: Write) -> None:
    pictures = {number: colour() for number in (10, 9, 1)}
    for number, pixels in pictures.items():
        write_picture(tmp_path / f"s_{number}.png", pixels)
    loaded = load(tmp_path)
    assert (len(loaded.volumes), loaded.failures) == (1, [])
    volume = loaded.volumes[0].volume()
    assert volume.names == ("s_1", "s_9", "s_10")
    np.testing.assert_array_equal(volume.pixels, np.stack([pictures[n] for n in (1, 9, 10)]))
    (missing,) = loaded.volumes[0].notes[1]
    assert missing == "missing before it: 2 to 8; the slices on both sides are taken as neighbours"
    assert loaded.volumes[0].notes == [(), (missing,), ()]
    assert loaded.volumes[0].truth == [None, None, None]


@pytest.mark.parametrize(
    ("numbers", "missing"),
    [
        ((1, 2, 3), {}),
        ((4, 6, 8), {}),  # numbered in steps of two
        ((1, 2, 4), {4: "3"}),
        ((2, 4, 8, 10), {8: "6"}),
        ((1, 2, 5, 6, 9), {5: "3 to 4", 9: "7 to 8"}),
        ((7,), {}),
        ((1, 2, 10**30), {10**30: f"3 to {10**30 - 1}"}),  # more than a list can hold
    ],
)
def test_a_number_that_is_missing_is_noted_at_the_slice_after_it(
    tmp_path: Path, write_picture: Write, numbers: tuple[int, ...], missing: dict[int, str]
) -> None:
    for number in numbers:
        write_picture(tmp_path / f"s_{number}.png", colour())
    notes = load(tmp_path).volumes[0].notes
    found = {
        number: note[0].split(": ")[1].split(";")[0]
        for number, note in zip(numbers, notes, strict=True)
        if note
    }
    assert found == missing


def test_slices_of_other_sizes_are_volumes_of_their_own_and_say_so(
    tmp_path: Path, write_picture: Write
) -> None:
    for number, size in enumerate([(4, 5), (6, 5), (4, 5)], start=1):
        write_picture(tmp_path / f"s_{number}.png", colour(*size))
    loaded = load(tmp_path)
    names = [[path.name for path in volume.files] for volume in loaded.volumes]
    assert names == [["s_1.png", "s_3.png"], ["s_2.png"]]
    assert [volume.notes for volume in loaded.volumes] == [[(MIXED_SIZES,)] * 2, [(MIXED_SIZES,)]]
    assert loaded.failures == []


def test_a_bad_file_is_a_failure_and_the_others_stay(tmp_path: Path, write_picture: Write) -> None:
    for number in (1, 3):
        write_picture(tmp_path / f"s_{number}.png", colour())
    (tmp_path / "s_2.png").write_bytes(b"")
    loaded = load(tmp_path)
    assert loaded.volumes[0].volume().names == ("s_1", "s_3")
    assert [name for name, _ in loaded.failures] == ["s_2.png"]
    assert loaded.failures[0][1].startswith("s_2.png: ")
    assert loaded.volumes[0].notes[1][0].startswith("missing before it: 2;")


def test_a_study_of_bad_files_alone_has_no_volume(tmp_path: Path) -> None:
    (tmp_path / "s_1.png").write_bytes(b"no picture")
    loaded = load(tmp_path)
    assert (loaded.volumes, len(loaded.failures)) == ([], 1)


def test_notes_stay_with_their_slice(tmp_path: Path, write_picture: Write) -> None:
    write_picture(tmp_path / "s_1.png", colour())
    write_picture(tmp_path / "s_2.png", colour()[..., 0])
    notes = load(tmp_path).volumes[0].notes
    assert notes == [(), ("one channel, taken as FLAIR",)]


@pytest.fixture
def with_masks(tmp_path: Path, write_picture: Write) -> Path:
    """Three slices, masks beside the first two: of row 1 by 255, of row 2 by 1."""
    for number in (1, 2, 3):
        write_picture(tmp_path / f"s_{number}.png", colour())
    for number, value in ((1, 255), (2, 1)):
        mask = np.zeros((4, 5), np.uint8)
        mask[number] = value
        write_picture(tmp_path / f"s_{number}_mask.png", mask)
    return tmp_path


def test_masks_are_read_where_they_are(with_masks: Path) -> None:
    first, second, third = load(with_masks, with_truth=True).volumes[0].truth
    assert first is not None and second is not None
    assert (first.dtype, first.shape, third) == (bool, (4, 5), None)
    assert np.flatnonzero(first.any(axis=1)).tolist() == [1] and first.sum() == 5
    assert np.flatnonzero(second.any(axis=1)).tolist() == [2] and second.sum() == 5


def test_masks_are_not_opened_unless_asked_for(with_masks: Path) -> None:
    (with_masks / "s_1_mask.png").write_bytes(b"damaged")
    loaded = load(with_masks)
    assert (loaded.failures, loaded.volumes[0].truth) == ([], [None, None, None])


def test_a_mask_of_several_values_is_refused(with_masks: Path, write_picture: Write) -> None:
    """As JPEG leaves it: shades around the border, which would count as tumour."""
    mask = np.zeros((4, 5), np.uint8)
    mask[1], mask[2] = 255, 3
    write_picture(with_masks / "s_2_mask.png", mask)
    [(name, reason)] = load(with_masks, with_truth=True).failures
    assert name == "s_2_mask.png"
    assert reason == (
        "s_2_mask.png: mask holds 2 values besides 0, expected one; "
        "write all tumour as one value, without loss (PNG or TIFF)"
    )


@pytest.mark.parametrize("fault", ["damaged", "size"])
def test_a_mask_that_does_not_fit_is_named_and_its_slice_has_none(
    with_masks: Path, write_picture: Write, fault: str
) -> None:
    if fault == "size":
        write_picture(with_masks / "s_2_mask.png", np.zeros((5, 4), np.uint8))
    else:
        (with_masks / "s_2_mask.png").write_bytes(b"damaged")
    loaded = load(with_masks, with_truth=True)
    assert loaded.volumes[0].volume().names == ("s_1", "s_2", "s_3")
    assert [truth is None for truth in loaded.volumes[0].truth] == [False, True, True]
    [(name, reason)] = loaded.failures
    assert name == "s_2_mask.png"
    assert reason.startswith("s_2_mask.png: ")
    if fault == "size":
        assert "(5, 4)" in reason and "(4, 5)" in reason


def test_a_slice_without_a_number_beside_number_0_leaves_no_gap(
    tmp_path: Path, write_picture: Write
) -> None:
    for name in ("s", "s_0"):
        write_picture(tmp_path / f"{name}.png", colour())
    (volume,) = load(tmp_path).volumes
    assert (volume.volume().names, volume.notes) == (("s", "s_0"), [(), ()])
