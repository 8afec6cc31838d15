"""Folder in, folder out: what is written and recorded, whatever happens to an input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile

from lgg_runtime.errors import InputError, LggError, ModelError, ResourceError
from lgg_runtime.loading import LoadSettings
from lgg_runtime.readers.folder import list_studies
from lgg_runtime.readers.study import MIXED_SIZES
from lgg_runtime.run import finishing
from lgg_runtime.run.finishing import STUDIES_PENDING
from lgg_runtime.run.job import Job
from lgg_runtime.run.journal import DONE, FAILED, SKIPPED_MASK, Journal
from lgg_runtime.run.pending import SLICES_PENDING
from lgg_runtime.run.pipeline import run_job
from lgg_runtime.segmenter import Prepared, Segmenter
from lgg_runtime.volume import Volume
from lgg_runtime.writers.formats import OUTPUTS
from stand_ins.runs import LESION, Draw, Write, files


@pytest.fixture(scope="module")
def segmenter(artifact: Path) -> Segmenter:
    return Segmenter.load(artifact, LoadSettings(threads=2))


def run(
    source: Path, output: Path, segmenter: Segmenter, evaluate: bool = False
) -> tuple[Journal, list[int]]:
    """Runs a job with every output, and returns its journal and what `advance` was told."""
    journal, steps = Journal({}), []
    job = Job(list_studies(source), output, tuple(OUTPUTS), evaluate)
    run_job(job, segmenter, journal, steps.append)
    return journal, steps


def test_every_output_of_every_slice_is_written_where_its_input_was(
    tmp_path: Path, source: Path, segmenter: Segmenter
) -> None:
    journal, steps = run(source, tmp_path / "out", segmenter)
    ends = ("_heatmap.png", "_mask.png", "_overlay.png", "_probability.tif")
    stems = ("a/a_1", "a/a_2", "a/a_3", "deep/b/b_1")
    assert files(tmp_path / "out") == [stem + end for stem in stems for end in ends]
    assert sum(steps) == 4
    recorded = {record.name: record for record in journal.inputs}
    assert set(recorded) == {f"{stem}.png" for stem in stems}
    assert {record.fate for record in journal.inputs} == {DONE}
    assert sorted(recorded["a/a_2.png"].outputs) == [f"a/a_2{end}" for end in ends]
    assert set(journal.seconds) == {"read", "run", "finish", "total"}
    assert journal.metrics is None


def test_what_is_written_is_what_the_segmenter_says_of_the_volume(
    tmp_path: Path, source: Path, segmenter: Segmenter, draw_slice: Draw
) -> None:
    journal, _ = run(source, tmp_path / "out", segmenter)
    expected = segmenter.segment(Volume(np.stack([draw_slice(), draw_slice(LESION), draw_slice()])))
    assert expected.mask.sum(axis=(1, 2)).tolist() == [0, 48, 0]
    for index in range(3):
        stem = tmp_path / "out" / "a" / f"a_{index + 1}"
        mask = cv2.imread(f"{stem}_mask.png", cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(mask, expected.mask[index] * 255)
        probability = tifffile.imread(f"{stem}_probability.tif")
        assert probability.dtype == np.float32
        np.testing.assert_array_equal(probability, expected.probability[index])
    assert [(row.level, row.patient, row.area_px) for row in journal.rows] == [
        ("slice", "a", 0),
        ("slice", "a", 48),
        ("slice", "a", 0),
        ("patient", "a", 48),
        ("slice", "deep/b", 0),
        ("patient", "deep/b", 0),
    ]


def test_an_overlay_is_on_the_slices_own_flair(
    tmp_path: Path, segmenter: Segmenter, draw_slice: Draw, write_picture: Write
) -> None:
    for number, flair in enumerate((100, 80, 60), start=1):
        pixels = draw_slice((slice(8, 11), slice(8, 11)), bright=flair)
        write_picture(tmp_path / "in" / f"a_{number}.png", pixels)
    run(tmp_path / "in", tmp_path / "out", segmenter)
    shown = [cv2.imread(str(tmp_path / "out" / f"a_{n}_overlay.png"))[9, 9] for n in (1, 2, 3)]
    assert np.array(shown).tolist() == [[255] * 3, [204] * 3, [153] * 3]


def test_a_bad_file_is_recorded_and_the_others_are_done(
    tmp_path: Path, source: Path, segmenter: Segmenter
) -> None:
    (source / "a" / "a_2.png").write_bytes(b"")
    (source / "deep" / "b" / "b_1.png").write_bytes(b"no picture")
    journal, steps = run(source, tmp_path / "out", segmenter)
    fates = {record.name: record.fate for record in journal.inputs}
    assert fates == {
        "a/a_1.png": DONE,
        "a/a_2.png": FAILED,
        "a/a_3.png": DONE,
        "deep/b/b_1.png": FAILED,
    }
    assert all(r.reason.startswith(Path(r.name).name + ": ") for r in journal.failures)
    assert [row.patient for row in journal.patients] == ["a"]
    assert sum(steps) == 4
    assert not any("a_2" in name or "b_1" in name for name in files(tmp_path / "out"))


class Refusing:
    """A segmenter of which one step cannot handle patient a, whose volume has three slices."""

    def __init__(self, segmenter: Segmenter, step: str, error: LggError):
        self._segmenter, self._step, self._error = segmenter, step, error

    def __getattr__(self, name: str) -> Any:
        step = getattr(self._segmenter, name)

        def refuse(given: Volume | Prepared, *more: Any) -> Any:
            slices = given.pixels if isinstance(given, Volume) else given.slices
            if len(slices) == 3:
                raise self._error
            return step(given, *more)

        return refuse if name == self._step else step


@pytest.mark.parametrize("step", ["prepare", "run", "finish"])
@pytest.mark.parametrize("error", [ModelError("no number"), InputError("no volume")])
def test_a_volume_that_is_refused_fails_with_all_its_slices(
    tmp_path: Path, source: Path, segmenter: Segmenter, error: LggError, step: str
) -> None:
    refusing: Any = Refusing(segmenter, step, error)
    journal, _ = run(source, tmp_path / "out", refusing)
    reasons = {record.name: record.reason for record in journal.failures}
    assert reasons == {f"a/a_{n}.png": f"a_{n}.png: {error}" for n in (1, 2, 3)}
    assert [r.name for r in journal.inputs if r.fate == DONE] == ["deep/b/b_1.png"]


def test_reference_masks_are_passed_over_and_recorded(
    tmp_path: Path, source: Path, segmenter: Segmenter, write_picture: Write
) -> None:
    write_picture(source / "a" / "a_1_mask.png", np.zeros((40, 48), np.uint8))
    (source / "notes.txt").touch()
    (source / "link").symlink_to(source / "a")
    journal, _ = run(source, tmp_path / "out", segmenter)
    assert [r.name for r in journal.inputs if r.fate == SKIPPED_MASK] == ["a/a_1_mask.png"]
    assert (journal.skipped_files, journal.links) == (2, 1)
    assert journal.metrics is None


def test_metrics_are_over_the_slices_that_have_a_reference(
    tmp_path: Path, source: Path, segmenter: Segmenter, write_picture: Write
) -> None:
    truth = np.zeros((40, 48), np.uint8)
    truth[10:16, 24:32] = 255  # half of the 48 pixels found, and as many beside them
    write_picture(source / "a" / "a_2_mask.png", truth)
    write_picture(source / "a" / "a_3_mask.png", np.zeros_like(truth))
    journal, _ = run(source, tmp_path / "out", segmenter, evaluate=True)
    assert journal.metrics is not None
    pooled = journal.metrics["pooled"]
    assert (pooled["iou"], pooled["f1"]) == (24 / 72, 0.5)
    assert pooled["support"] == {"tumour": 48, "background": 2 * 40 * 48 - 48}
    assert journal.metrics["per_patient_dice"]["by_patient"] == {"a": 0.5}
    dice = {(r.patient, r.name): r.counts and r.counts.dice for r in journal.rows}
    assert dice == {
        ("a", "a_1"): None,
        ("a", "a_2"): 0.5,
        ("a", "a_3"): 1.0,
        ("a", ""): 0.5,
        ("deep/b", "b_1"): None,
        ("deep/b", ""): None,
    }


def test_slices_of_other_sizes_are_volumes_of_their_own_and_one_patient(
    tmp_path: Path, source: Path, segmenter: Segmenter, draw_slice: Draw, write_picture: Write
) -> None:
    write_picture(source / "a" / "a_4.png", draw_slice(LESION, size=(33, 41)))
    journal, _ = run(source, tmp_path / "out", segmenter)
    patients = [(row.patient, row.area_px) for row in journal.patients]
    assert patients == [("a", 96), ("deep/b", 0)]
    notes = {record.name: record.notes for record in journal.inputs}
    assert notes["a/a_4.png"] == notes["a/a_1.png"] == (MIXED_SIZES,)
    mask = cv2.imread(str(tmp_path / "out" / "a" / "a_4_mask.png"), cv2.IMREAD_UNCHANGED)
    assert mask.shape == (33, 41)


def test_a_failed_write_ends_the_run_and_nothing_is_recorded_that_is_not_there(
    tmp_path: Path, source: Path, segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = finishing.write_atomically

    def fill_up(path: Path, data: bytes) -> None:
        if path.name == "a_2_overlay.png":
            raise ResourceError(f"{path.name}: the disk is full")
        real(path, data)

    monkeypatch.setattr(finishing, "write_atomically", fill_up)
    journal = Journal({})
    job = Job(list_studies(source), tmp_path / "out", tuple(OUTPUTS))
    with pytest.raises(ResourceError, match="a_2_overlay"):
        run_job(job, segmenter, journal, lambda _n: None)
    done = [record for record in journal.inputs if record.fate == DONE]
    assert "a/a_1.png" in {record.name for record in done}
    assert "a/a_2.png" not in {record.name for record in done}
    assert {name for record in done for name in record.outputs} <= set(files(tmp_path / "out"))


def test_an_interruption_records_exactly_what_is_on_disk(
    tmp_path: Path, segmenter: Segmenter, draw_slice: Draw, write_picture: Write
) -> None:
    for number in range(3 * SLICES_PENDING):
        write_picture(tmp_path / "in" / f"{number}x.png", draw_slice())

    finished = []

    def interrupt(slices: int) -> None:
        finished.append(slices)
        if len(finished) == 2 * SLICES_PENDING + STUDIES_PENDING:
            raise KeyboardInterrupt

    journal = Journal({})
    job = Job(list_studies(tmp_path / "in"), tmp_path / "out")
    with pytest.raises(KeyboardInterrupt):
        run_job(job, segmenter, journal, interrupt)
    done = [name for record in journal.inputs for name in record.outputs]
    assert len(done) >= SLICES_PENDING
    assert sorted(done) == files(tmp_path / "out")
    assert {record.fate for record in journal.inputs} == {DONE}


def test_a_pending_write_is_waited_for(
    tmp_path: Path, segmenter: Segmenter, draw_slice: Draw, write_picture: Write
) -> None:
    for number in range(SLICES_PENDING + 5):
        write_picture(tmp_path / "in" / f"s_{number}.png", draw_slice())
    journal, _ = run(tmp_path / "in", tmp_path / "out", segmenter)
    assert len(journal.inputs) == SLICES_PENDING + 5
    assert sorted(n for r in journal.inputs for n in r.outputs) == files(tmp_path / "out")
