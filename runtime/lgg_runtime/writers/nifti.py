"""The mask as NIfTI, on the grid that was read."""

from __future__ import annotations

import gzip

import numpy as np

from lgg_runtime.errors import InputError
from lgg_runtime.extras import import_extra
from lgg_runtime.readers.nifti import RAS_LPS, NiftiSource
from lgg_runtime.readers.resample import Lattice, is_same
from lgg_runtime.writers.scan import ScanResult

SCANNER = 1  # NIFTI_XFORM_SCANNER_ANAT


def encode_nifti(result: ScanResult) -> dict[str, bytes]:
    """`mask.nii.gz`: uint8, 1 where there is tumour; the same bytes for the same mask.

    sform and qform have the codes that they had in a NIfTI source, else that of a scanner's
    space; a qform holds no shear, and is not set where that would move a corner.
    Raises InputError where the volume does not know its place.
    """
    nibabel = import_extra("nibabel", "nifti")
    affine, source = result.volume.affine, result.volume.source
    if affine is None:
        raise InputError("no position and orientation, so no NIfTI")
    codes = source if isinstance(source, NiftiSource) else NiftiSource(SCANNER, SCANNER)
    mask = np.ascontiguousarray(result.segmentation.mask.transpose(2, 1, 0)).astype(np.uint8)
    place = RAS_LPS @ affine[:, [2, 1, 0, 3]]
    image = nibabel.Nifti1Image(mask, None)  # with an affine, nibabel would choose the codes
    header = image.header
    header.set_sform(place)
    header.set_qform(place)
    is_shear_free = is_same(Lattice(header.get_qform(), mask.shape), Lattice(place, mask.shape))
    header["sform_code"] = codes.sform_code
    header["qform_code"] = codes.qform_code if is_shear_free else 0
    header.set_xyzt_units("mm")
    header["descrip"] = result.verdict.encode("ascii")
    return {"mask.nii.gz": gzip.compress(image.to_bytes(), mtime=0)}
