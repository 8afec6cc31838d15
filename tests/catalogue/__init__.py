"""Bad inputs as tables: each row is a test and a line of docs/failures.md."""

from catalogue import dicom, files, model, nifti, raster, running, training

SECTIONS = (
    raster.SECTION,
    nifti.SECTION,
    dicom.SECTION,
    files.SECTION,
    model.SECTION,
    running.SECTION,
    training.SECTION,
)
