"""Headers that nibabel sets right in silence: refused, plain and compressed, of both versions."""

from __future__ import annotations

import errno
import gzip
import os
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("nibabel")
pytest.importorskip("SimpleITK")

import nibabel

from lgg_runtime.errors import InputError
from lgg_runtime.readers.nifti import read_nifti
from lgg_runtime.readers.nifti_header import open_nifti

AFFINE = np.diag([-0.9, -0.9, 5, 1])
NAN, INFINITE = float("nan"), float("inf")


def save(path: Path, changes: dict[str, Any], kind: Any = nibabel.Nifti1Image) -> Path:
    """A volume, of which header fields are other ones in the file; a dict sets parts of one."""
    image = kind(np.arange(120, dtype=np.int16).reshape(6, 5, 4), AFFINE)
    image.header.set_qform(AFFINE, 1)
    plain = path.with_name("plain.nii")
    nibabel.save(image, plain)
    data = plain.read_bytes()
    size = int(image.header["sizeof_hdr"])
    header = kind.header_class(data[:size], check=False)
    for name, value in changes.items():
        if isinstance(value, dict):
            for index, part in value.items():
                header[name][index] = part
        else:
            header[name] = value
    data = header.binaryblock + data[size:]
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"vox_offset": 0}, "its voxels begin at byte 0, expected 352 and at most 16 MiB more"),
        ({"vox_offset": 348}, "its voxels begin at byte 348, expected 352 and"),
        ({"vox_offset": 2**25}, r"its voxels begin at byte 3.35544e\+07, expected 352 and"),
        ({"bitpix": 8}, "claims 8 bits a voxel, its kind of number has 16"),
        ({"scl_slope": INFINITE}, "its scl_slope is infinite"),
        ({"scl_slope": -INFINITE}, "its scl_slope is infinite"),
        ({"scl_slope": 3e38}, "holds NaN or infinite values; set them to 0"),
        ({"pixdim": {0: 0.5}}, "pixdim.0. is 0.5, expected -1 or 1 beside a qform"),
        ({"pixdim": {0: NAN}}, "pixdim.0. is nan, expected -1 or 1 beside a qform"),
        ({"pixdim": {1: -0.9}}, "pixdim -0.9, 0.9, 5: expected lengths above 0 beside a qform"),
        ({"pixdim": {3: 0}}, "pixdim 0.9, 0.9, 0: expected lengths above 0 beside a qform"),
        ({"pixdim": {2: NAN}}, "pixdim 0.9, nan, 5: expected lengths above 0 beside a qform"),
        ({"pixdim": {2: INFINITE}}, "pixdim 0.9, inf, 5: expected lengths above 0 beside a qform"),
        ({"magic": b"ni1"}, "its header is of a pair of files; convert them to one"),
        ({"sizeof_hdr": 999}, "no NIfTI file, or its header is damaged"),
        ({"datatype": 3}, "no NIfTI file, or its header is damaged"),
    ],
)
def test_a_header_that_contradicts_itself_is_refused(
    tmp_path: Path, name: str, changes: dict[str, Any], told: str
) -> None:
    with pytest.raises(InputError, match=rf"^{name}: {told}"):
        read_nifti([save(tmp_path / name, changes)])


def test_the_voxels_of_nifti_2_begin_behind_its_own_header(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii", {"vox_offset": 540}, nibabel.Nifti2Image)
    with pytest.raises(InputError, match="begin at byte 540, expected 544"):
        read_nifti([path])


@pytest.mark.parametrize(
    "changes",
    [
        {"scl_slope": NAN},
        {"pixdim": {0: 0}},
        {"qform_code": 0, "pixdim": {0: NAN, 1: 0, 2: -1, 3: INFINITE}},
        {"vox_offset": 352 + 16 * 2**20},
    ],
    ids=["no scale", "no qfac", "no qform", "16 MiB of extensions"],
)
def test_what_means_nothing_else_is_read(tmp_path: Path, changes: dict[str, Any]) -> None:
    expected = read_nifti([save(tmp_path / "b.nii", {})])
    path = save(tmp_path / "a.nii", changes)
    if "vox_offset" in changes:
        data, size = path.read_bytes(), 16 * 2**20
        extension = b"\1\0\0\0" + struct.pack("<ii", size, 6) + bytes(size - 8)
        path.write_bytes(data[:348] + extension + data[352:])
    found = read_nifti([path])
    np.testing.assert_array_equal(found.pixels, expected.pixels)
    np.testing.assert_array_equal(np.abs(found.affine), np.abs(expected.affine))


def extended(path: Path, sizes: list[int], kind: Any, form: str) -> Path:
    """With extensions that claim these sizes and are of 16 bytes each, and a MiB behind voxels."""
    image = kind(np.arange(120, dtype=np.int16).reshape(6, 5, 4), AFFINE)
    image = kind(image.get_fdata(), AFFINE, image.header.as_byteswapped(form))
    image.header.set_data_dtype(np.int16)
    size, data = int(image.header["sizeof_hdr"]), image.to_bytes()
    header = kind.header_class(data[:size], endianness=form)
    header["vox_offset"] = size + 4 + 16 * len(sizes)
    parts = [struct.pack(f"{form}ii8x", claimed, 6) for claimed in sizes]
    start = header.binaryblock + b"\1\0\0\0" + b"".join(parts)
    path.write_bytes(gzip.compress(start + data[size + 4 :] + bytes(2**20)))
    return path


@pytest.mark.parametrize("form", ["<", ">"])
@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("size", [7, 0, -1, 32, 2**31 - 1])
def test_extensions_of_impossible_sizes_are_refused_with_nothing_unpacked_for_them(
    tmp_path: Path, size: int, kind: Any, form: str
) -> None:
    whole = read_nifti([extended(tmp_path / "whole.nii.gz", [16, 32, 16], kind, form)])
    assert int(whole.pixels[-1, -1, -1, 0]) == 119
    path = extended(tmp_path / "a.nii.gz", [16, size], kind, form)
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=rf"^a.nii.gz: an extension of {size} bytes, expected"):
            read_nifti([path])
        assert tracemalloc.get_traced_memory()[1] < 2**19
    finally:
        tracemalloc.stop()


def test_channels_as_the_components_of_vectors_are_the_three_sequences(tmp_path: Path) -> None:
    """NIfTI has a vector's components on the fifth axis."""
    values = np.arange(360, dtype=np.int16).reshape(6, 5, 4, 1, 3)
    nibabel.save(nibabel.Nifti1Image(values, AFFINE), tmp_path / "a.nii")
    found = read_nifti([tmp_path / "a.nii"]).pixels
    np.testing.assert_array_equal(found, values[:, :, :, 0].transpose(2, 1, 0, 3))


@pytest.mark.parametrize(("columns", "is_taken"), [(50, True), (200, False)])
def test_qform_and_sform_may_part_by_half_a_voxel_at_the_far_end_too(
    tmp_path: Path, columns: int, is_taken: bool
) -> None:
    """The third of a degree that the qform is turned is half a pixel at the 86th column."""
    c, s = np.cos(np.radians(1 / 3)), np.sin(np.radians(1 / 3))
    turn = np.array([[c, -s, 0, 0], [s, c, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    image = nibabel.Nifti1Image(np.zeros((columns, 5, 4), np.int16), AFFINE)
    image.set_qform(turn @ AFFINE, 1)
    nibabel.save(image, tmp_path / "a.nii")
    if is_taken:
        assert read_nifti([tmp_path / "a.nii"]).pixels.shape == (4, 5, columns, 3)
        return
    with pytest.raises(InputError, match="qform and sform disagree"):
        read_nifti([tmp_path / "a.nii"])


def test_voxels_are_not_mapped_where_a_failing_disk_would_end_the_process(tmp_path: Path) -> None:
    voxels = np.asanyarray(open_nifti(save(tmp_path / "a.nii", {})).dataobj)
    assert not isinstance(voxels, np.memmap)


@pytest.mark.parametrize("read", ["gzip.GzipFile.read", "nibabel.arrayproxy.array_from_file"])
def test_a_disk_that_fails_is_not_told_as_a_damaged_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: str
) -> None:
    path = save(tmp_path / "a.nii.gz", {})

    def fail(*_: Any, **__: Any) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(read, fail)
    with pytest.raises(InputError, match=r"^a\.nii\.gz: cannot be read: Input/output error$"):
        read_nifti([path])
