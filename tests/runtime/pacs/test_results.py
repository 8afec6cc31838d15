"""What the node tells of a result that its clean-up made smaller, of a study that is doubted, and
of images that the disk does not give.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pynetdicom")
pytest.importorskip("highdicom")

from pydicom import dcmread

from lgg_runtime.cleanup import CleanupSettings
from lgg_runtime.pacs import results
from lgg_runtime.pacs.arrival import Arrival
from lgg_runtime.pacs.results import ResultMaker
from lgg_runtime.pacs.retries import queue_again
from lgg_runtime.pacs.tally import Tally
from lgg_runtime.pacs.worker import Worker
from lgg_runtime.readers.dicom import read_dicom
from lgg_runtime.segmenter import Segmenter
from lgg_runtime.volume import Volume
from stand_ins.pacs import draw_studies
from stand_ins.records import Records


@pytest.mark.parametrize(("columns", "is_told"), [(8, True), (1, False)])
def test_a_doubt_and_a_large_region_that_is_left_out_are_told_in_the_log_and_the_segmentation(
    records: Records,
    write_artifact: Callable[..., Path],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    columns: int,
    is_told: bool,
) -> None:
    session = records.associate()
    for path in draw_studies(tmp_path / "drawn", slices=3)[0].iterdir():
        image = dcmread(path)
        if "FLAIR" in image.SeriesDescription:
            pixels = np.minimum(image.pixel_array, image.pixel_array.max() // 4)
            pixels[20:28, 15:30] = pixels[20:28, 40 : 40 + columns] = 4 * pixels.max()
            image.PixelData = pixels.tobytes()
        image.save_as(path)
        arrival = Arrival(image.StudyInstanceUID, image.SOPInstanceUID, path.read_bytes(), b"")
        records.intake.keep(session, arrival)
    records.intake.release(session)
    records.intake.settle()
    model = write_artifact(tmp_path / "one.onnx", cleanup=CleanupSettings(smallest_fraction=1.0))
    make = ResultMaker(Segmenter.load(model), records.spool).make
    with caplog.at_level(logging.WARNING):
        Worker(records.jobs, make, [], Tally(), attempts=5).step()
    (path,) = (records.spool.root / "results").iterdir()
    (segment,) = dcmread(path).SegmentSequence
    (line,) = caplog.messages
    for text in (segment.SegmentDescription, line):
        assert "does not look like brain MRI of the training data (" in text
        assert ("the clean-up dropped a region of 0." in text) == is_told


@pytest.mark.parametrize("is_looked_at", [False, True])
def test_a_study_whose_images_a_failing_disk_does_not_give_is_done_at_a_retry(
    records: Records,
    artifact: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    is_looked_at: bool,
) -> None:
    """is_looked_at: and was found whole before the disk failed."""
    session = records.associate()
    for path in draw_studies(tmp_path / "drawn", slices=3)[0].iterdir():
        image = dcmread(path)
        arrival = Arrival(image.StudyInstanceUID, image.SOPInstanceUID, path.read_bytes(), b"")
        records.intake.keep(session, arrival)
    records.intake.release(session)
    records.intake.settle()
    make = ResultMaker(Segmenter.load(artifact), records.spool).make
    worker = Worker(records.jobs, make, [], Tally(), attempts=5)
    image_path = next((records.spool.root / "images").rglob("*.dcm"))
    aside = tmp_path / "aside"

    def fail() -> None:
        image_path.rename(aside)
        image_path.symlink_to("/proc/self/mem")  # whose first byte no disk gives: EIO

    def fail_and_read(files: Sequence[Path]) -> Volume:
        fail()
        return read_dicom(files)

    if is_looked_at:
        monkeypatch.setattr(results, "read_dicom", fail_and_read)
    else:
        fail()
    worker.step()
    monkeypatch.undo()
    (row,) = records.state.rows("SELECT state, reason FROM study")
    assert tuple(row) == (
        "failed",
        "1 image in the spool cannot be read (Input/output error); see to the disk, then lgg-node "
        "retry",
    )
    aside.replace(image_path)
    assert queue_again(records.state, (), True, ()) == 1
    worker.step()
    (row,) = records.state.rows("SELECT state, reason FROM study")
    assert row["state"] == "done"
