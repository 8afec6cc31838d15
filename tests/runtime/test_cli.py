"""lgg-infer from the shell: its files and what it prints."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import tifffile
from scipy import ndimage
from tqdm import tqdm

from lgg_runtime.loading import LoadSettings
from lgg_runtime.run import finishing, inference
from lgg_runtime.run.journal import Journal
from lgg_runtime.segmenter import Segmenter
from lgg_runtime.volume import Volume
from stand_ins.runs import LESION, Draw, Infer, Write, files, read_png, read_rows, read_run


def test_masks_keep_the_folders_the_sizes_and_the_stems_of_the_slices(
    source: Path, out: Path, infer: Infer
) -> None:
    result = infer(source)
    assert (result.code, result.err) == (0, "")
    stems = ("a/a_1", "a/a_2", "a/a_3", "deep/b/b_1")
    assert files(out) == [*(f"{s}_mask.png" for s in stems), "run.json", "summary.csv"]
    for stem in stems:
        mask = read_png(out / f"{stem}_mask.png")
        assert (mask.dtype, mask.shape) == (np.uint8, (40, 48))
        expected = np.zeros((40, 48))
        expected[LESION if stem == "a/a_2" else slice(0)] = 255
        np.testing.assert_array_equal(mask, expected)


def test_the_numbers_agree_with_the_masks_on_disk(source: Path, out: Path, infer: Infer) -> None:
    infer(source, "--save-probabilities")
    rows = read_rows(out)
    assert [row["level"] for row in rows].count("slice") == 4
    totals: dict[str, int] = {}
    for row in (row for row in rows if row["level"] == "slice"):
        stem = out / row["patient"] / row["name"]
        mask = read_png(Path(f"{stem}_mask.png")) > 0
        probability = tifffile.imread(f"{stem}_probability.tif")
        labels, _ = ndimage.label(mask, np.ones((3, 3)))
        assert int(row["area_px"]) == mask.sum()
        assert int(row["largest_component_px"]) == np.bincount(labels.ravel())[1:].max(initial=0)
        assert row["tumour_present"] == ("yes" if mask.any() else "no")
        assert float(row["max_probability"]) == pytest.approx(probability.max(), rel=1e-5)
        if mask.any():
            mean = probability[mask].mean()
            assert float(row["mean_probability"]) == pytest.approx(mean, rel=1e-5)
        totals[row["patient"]] = totals.get(row["patient"], 0) + int(mask.sum())
    patients = {r["patient"]: int(r["area_px"]) for r in rows if r["level"] == "patient"}
    assert patients == totals == {"a": 48, "deep/b": 0}
    run = read_run(out)
    assert (run["state"], run["counts"]["done"], run["counts"]["failed"]) == ("complete", 4, 0)
    assert (run["counts"]["patients"], run["counts"]["patients_with_tumour"]) == (2, 1)
    written = {name for entry in run["inputs"] for name in entry["outputs"]}
    assert written == set(files(out)) - {"run.json", "summary.csv"}


def test_the_run_tells_model_provider_and_settings(
    source: Path, out: Path, infer: Infer, artifact: Path
) -> None:
    infer(source, "--provider", "auto", "--batch", "2", "--flair-only")
    run = read_run(out)
    segmenter = Segmenter.load(artifact)
    assert run["model"]["sha256"] == segmenter.digest
    assert (run["model"]["name"], run["model"]["threshold"]) == ("tiny", 0.5)
    assert run["provider"]["requested"] == "auto"
    assert run["provider"]["ran"] == Segmenter.load(artifact, LoadSettings("auto")).provider
    assert run["versions"]["onnxruntime"] == onnxruntime.__version__
    assert (run["settings"]["batch"], run["settings"]["flair_only"]) == (2, True)
    assert run["use"] == "research use only, not for diagnosis"


def test_the_run_tells_the_batch_that_was_not_given(
    source: Path, out: Path, infer: Infer, artifact: Path
) -> None:
    infer(source, "--provider", "cpu")
    batch = Segmenter.load(artifact, LoadSettings("cpu")).batch
    assert read_run(out)["settings"]["batch"] == batch > 0


def test_probabilities_are_the_segmenters(
    source: Path, out: Path, infer: Infer, artifact: Path, draw_slice: Draw
) -> None:
    infer(source, "--save-probabilities")
    volume = Volume(np.stack([draw_slice(), draw_slice(LESION), draw_slice()]))
    expected = Segmenter.load(artifact, LoadSettings(threads=1)).segment(volume).probability
    for number in (1, 2, 3):
        probability = tifffile.imread(out / "a" / f"a_{number}_probability.tif")
        assert probability.dtype == np.float32
        np.testing.assert_array_equal(probability, expected[number - 1])


def test_pictures_are_written_when_asked_for(source: Path, out: Path, infer: Infer) -> None:
    infer(source, "-p", "--save-heatmap")
    for name in ("overlay", "heatmap"):
        assert read_png(out / "a" / f"a_2_{name}.png").shape == (40, 48, 3)
        text = (out / "a" / f"a_2_{name}.png").read_bytes()
        assert b"tEXtComment\0research use only, not for diagnosis" in text
    assert b"research use only" in (out / "a" / "a_2_mask.png").read_bytes()


def test_another_threshold_gives_other_masks(source: Path, out: Path, infer: Infer) -> None:
    infer(source, "--threshold", "0.002")  # below the head's sigmoid(-6)
    assert (read_png(out / "a" / "a_1_mask.png") > 0).sum() == 32 * 40
    assert read_run(out)["model"]["threshold"] == 0.002


def test_one_file_is_a_run_too(source: Path, out: Path, infer: Infer) -> None:
    assert infer(source / "a" / "a_2.png").code == 0
    assert files(out) == ["a_2_mask.png", "run.json", "summary.csv"]
    assert (read_png(out / "a_2_mask.png") > 0).sum() == 48


def test_a_person_reads_a_table_and_what_it_is_not_for(
    source: Path, out: Path, infer: Infer
) -> None:
    lines = infer(source).out.splitlines()
    assert lines[2].split() == ["a", "3", "1", "48", "48", "1.00"]
    assert lines[3].split() == ["deep/b", "1", "0", "0", "0", "0.00"]
    assert lines[-2] == f"Results: {out}  (summary.csv, run.json)"
    assert lines[-1] == "Research use only, not for diagnosis."


def test_json_prints_the_run(source: Path, out: Path, infer: Infer) -> None:
    result = infer(source, "--json")
    assert json.loads(result.out) == read_run(out)
    assert result.err == ""


@pytest.mark.parametrize("since", ["taken away", "of a run that has begun"])
def test_json_prints_this_run_whatever_became_of_its_file(
    source: Path, out: Path, infer: Infer, monkeypatch: pytest.MonkeyPatch, since: str
) -> None:
    """Once the run is complete, the folder is anybody's."""
    told = []

    def infer_and_lose(*args: Any) -> Journal:
        journal = infer_alone(*args)
        told.append(read_run(out))
        (out / "run.json").unlink()
        if since != "taken away":
            journal.write(out, "running")
        return journal

    infer_alone = inference.infer
    monkeypatch.setattr(inference, "infer", infer_and_lose)
    result = infer(source, "--json")
    assert (result.code, result.err, [json.loads(result.out)]) == (0, "", told)


def test_quiet_prints_nothing(source: Path, infer: Infer) -> None:
    result = infer(source, "-q")
    assert (result.code, result.out, result.err) == (0, "", "")


def test_verbose_prints_the_notes_on_each_input_that_has_some(
    source: Path, out: Path, infer: Infer, draw_slice: Draw, write_picture: Write
) -> None:
    write_picture(source / "grey" / "grey_1.png", draw_slice()[..., 1])
    assert infer(source).err == ""
    told = infer(source, "-v").err
    (record,) = [record for record in read_run(out)["inputs"] if record["notes"]]
    assert told == f"grey/grey_1.png: {'; '.join(record['notes'])}\n"


def test_quiet_and_verbose_contradict_each_other(source: Path, out: Path, infer: Infer) -> None:
    result = infer(source, "-q", "-v")
    assert (result.code, result.err) == (2, "lgg-infer: --quiet and --verbose: leave one out\n")
    assert not out.exists()


@pytest.mark.parametrize(
    ("option", "is_shown"),
    [("-p", True), ("-q", False), ("--json", False), ("--no-progress", False)],
)
def test_progress_is_shown_on_a_terminal_that_wants_it(
    source: Path, infer: Infer, monkeypatch: pytest.MonkeyPatch, option: str, is_shown: bool
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr(tqdm, "monitor_interval", 10)
    monkeypatch.setattr(tqdm, "monitor", None)
    assert ("0/4 [00:00<?, ?slice/s]" in infer(source, option).err) == is_shown
    assert tqdm.monitor is None, "a thread that a run would wait for where the memory ends"


def test_progress_is_shown_while_a_tree_of_dicom_files_is_looked_at(
    study: Any, infer: Infer, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = len(study.files)
    assert "file" not in infer(study.folder).err
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    shown = infer(study.folder).err
    assert shown.index(f"0/{number} [00:00<?, ?file/s]") < shown.index("?slice/s]")


def test_a_long_name_is_cut_on_a_terminal_alone(
    source: Path, infer: Infer, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "n" * 200
    (source / "a").rename(source / name)
    monkeypatch.setenv("COLUMNS", "80")
    assert f"\n{name}" in infer(source).out
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    table, _, _ = infer(source).out.partition(" slices on cpu")
    assert "nnn...nnn" in table and max(map(len, table.split("\n"))) == 80


def test_a_second_run_replaces_the_first(source: Path, out: Path, infer: Infer) -> None:
    infer(source)
    before = files(out)
    assert infer(source, "--threshold", "0.002").code == 0
    assert files(out) == before
    assert (read_png(out / "a" / "a_1_mask.png") > 0).any()


def test_a_run_that_is_killed_does_not_leave_the_success_of_an_earlier_one(
    source: Path, out: Path, infer: Infer, monkeypatch: pytest.MonkeyPatch
) -> None:
    infer(source)
    real = finishing.write_atomically
    states = []

    def watch(path: Path, data: bytes) -> None:
        states.append(read_run(out)["state"])
        real(path, data)

    monkeypatch.setattr(finishing, "write_atomically", watch)
    infer(source)
    assert states == ["running"] * 4
    assert read_run(out)["state"] == "complete"


@pytest.fixture
def with_masks(source: Path, write_picture: Write) -> Path:
    """Reference masks that overlap with a's finding by half, and mark tumour missed in b."""
    for name, where in (
        ("a/a_1", None),
        ("a/a_2", (slice(10, 16), slice(24, 32))),
        ("deep/b/b_1", (slice(30, 33), slice(30, 34))),
    ):
        truth = np.zeros((40, 48), np.uint8)
        if where is not None:
            truth[where] = 255
        write_picture(source / f"{name}_mask.png", truth)
    return source


def test_an_evaluation_is_what_the_masks_on_disk_give(
    with_masks: Path, out: Path, infer: Infer
) -> None:
    result = infer(with_masks, "--evaluate")
    assert result.code == 0
    found, truth = [], []
    for path in sorted(with_masks.rglob("*_mask.png")):
        truth.append(read_png(path) > 0)
        found.append(read_png(out / path.relative_to(with_masks)) > 0)
    tp = sum((f & t).sum() for f, t in zip(found, truth, strict=True))
    both = sum(f.sum() + t.sum() for f, t in zip(found, truth, strict=True))
    metrics = read_run(out)["metrics"]
    assert metrics["pooled"]["f1"] == pytest.approx(2 * tp / both)
    assert metrics["pooled"]["iou"] == pytest.approx(tp / (both - tp))
    assert metrics["pooled"]["support"]["tumour"] == sum(t.sum() for t in truth)
    assert metrics["per_patient_dice"]["by_patient"] == {"a": 0.5, "deep/b": 0.0}
    dice = {row["name"]: row["dice"] for row in read_rows(out) if row["level"] == "slice"}
    assert dice == {"a_1": "1", "a_2": "0.5", "a_3": "", "b_1": "0"}
    assert "Dice of 2 patients: mean 0.2500" in result.out
    assert read_run(out)["counts"]["skipped_masks"] == 3


def test_an_evaluated_overlay_shows_the_reference(
    with_masks: Path, out: Path, infer: Infer
) -> None:
    blue = (255, 190, 0)
    infer(with_masks, "--evaluate", "-p")
    assert (read_png(out / "a" / "a_2_overlay.png") == blue).all(axis=-1).any()
    infer(with_masks, "-p")
    assert not (read_png(out / "a" / "a_2_overlay.png") == blue).all(axis=-1).any()
