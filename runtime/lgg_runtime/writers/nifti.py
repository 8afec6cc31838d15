"""The mask as NIfTI, on the grid that was read."""

from __future__ import annotations

import gzip

import numpy as np

from lgg_runtime.errors import InputError
from lgg_runtime.extras import import_extra
from lgg_runtime.readers.nifti import RAS_LPS
from lgg_runtime.writers.scan import ScanResult


def encode_nifti(result: ScanResult) -> dict[str, bytes]:
    """`mask.nii.gz`: uint8, 1 where there is tumour; the same bytes for the same mask.

    Raises InputError where the volume does not know its place.
    """
    nibabel = import_extra("nibabel", "nifti")
    affine = result.volume.affine
    if affine is None:
        raise InputError("no position and orientation, so no NIfTI")
    mask = np.ascontiguousarray(result.segmentation.mask.transpose(2, 1, 0)).astype(np.uint8)
    ours = affine[:, [2, 1, 0, 3]]
    image = nibabel.Nifti1Image(mask, RAS_LPS @ ours)
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = result.verdict.encode("ascii")
    return {"mask.nii.gz": gzip.compress(image.to_bytes(), mtime=0)}
