"""lgg-infer from the shell: its files, what it prints, and how it ends."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import onnxruntime
import pytest
import tifffile
from scipy import ndimage

from lgg_runtime import results
from lgg_runtime.errors import ResourceError
from lgg_runtime.ledger import JOURNAL_FILE
from lgg_runtime.lock import LOCK_FILE, lock_output
from lgg_runtime.segmenter import LoadSettings, Segmenter
from lgg_runtime.volume import Volume

Draw = Callable[..., np.ndarray]
Write = Callable[[Path, np.ndarray], Path]
Infer = Callable[..., SimpleNamespace]
LESION = (slice(10, 16), slice(20, 28))
DEADLINE_S = 120


@pytest.fixture
def source(tmp_path: Path, draw_slice: Draw, write_picture: Write) -> Path:
    """Patient a of three slices, tumour in the second; patient b of one slice without."""
    root = tmp_path / "in"
    for number in (1, 2, 3):
        pixels = draw_slice(LESION if number == 2 else None)
        write_picture(root / "a" / f"a_{number}.png", pixels)
    write_picture(root / "deep" / "b" / "b_1.png", draw_slice())
    return root


@pytest.fixture
def infer(call_infer: Infer, tmp_path: Path, artifact: Path) -> Infer:
    """Calls lgg-infer with the tiny artifact and the folder `out`."""

    def call(source: Path, *more: str | Path) -> SimpleNamespace:
        return call_infer(source, "-o", tmp_path / "out", "-m", artifact, "--threads", "1", *more)

    return call


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def files(folder: Path) -> list[str]:
    """Results below a folder, without the lock and the journal of lines."""
    found = (p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    return sorted(name for name in found if name not in (LOCK_FILE, JOURNAL_FILE))


def read_run(folder: Path) -> Any:
    return json.loads((folder / "run.json").read_bytes())


def read_rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "summary.csv").open(newline="", encoding="utf-8") as table:
        return list(csv.DictReader(table))


def read_png(path: Path) -> np.ndarray:
    pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert pixels is not None, path
    return pixels


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


def test_quiet_prints_nothing(source: Path, infer: Infer) -> None:
    result = infer(source, "-q")
    assert (result.code, result.out, result.err) == (0, "", "")


@pytest.mark.parametrize(
    ("option", "is_shown"),
    [("-p", True), ("-q", False), ("--json", False), ("--no-progress", False)],
)
def test_progress_is_shown_on_a_terminal_that_wants_it(
    source: Path, infer: Infer, monkeypatch: pytest.MonkeyPatch, option: str, is_shown: bool
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert ("0/4 [" in infer(source, option).err) == is_shown


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
    real = results.write_atomically
    states = []

    def watch(path: Path, data: bytes) -> None:
        states.append(read_run(out)["state"])
        real(path, data)

    monkeypatch.setattr(results, "write_atomically", watch)
    infer(source)
    assert states == ["running"] * 4
    assert read_run(out)["state"] == "complete"


BAD = ("corrupt.png", "empty.tif", "sixteen.tif")


@pytest.fixture
def with_bad_files(source: Path, draw_slice: Draw) -> Path:
    """Three files that cannot be used beside the good ones."""
    whole = (source / "a" / "a_1.png").read_bytes()
    (source / "a" / "corrupt.png").write_bytes(whole[: len(whole) // 2])
    (source / "a" / "empty.tif").write_bytes(b"")
    tifffile.imwrite(source / "a" / "sixteen.tif", draw_slice().astype(np.uint16) * 256)
    return source


@pytest.mark.parametrize("option", ["--no-progress", "-q", "--json"])
def test_bad_files_are_named_and_the_good_ones_done(
    with_bad_files: Path, out: Path, infer: Infer, option: str
) -> None:
    result = infer(with_bad_files, option)
    assert result.code == 3
    assert [line.split(":")[0] for line in result.err.splitlines()] == list(BAD)
    assert len([name for name in files(out) if name.endswith("_mask.png")]) == 4
    run = read_run(out)
    failed = {e["name"]: e["reason"] for e in run["inputs"] if e["fate"] == "failed"}
    assert sorted(failed) == [f"a/{name}" for name in BAD]
    assert sorted(failed.values()) == sorted(result.err.splitlines())
    assert "16-bit" in failed["a/sixteen.tif"]
    assert (run["state"], run["counts"]["failed"], run["counts"]["done"]) == ("complete", 3, 4)


def test_bad_files_alone_are_no_usable_input(tmp_path: Path, out: Path, infer: Infer) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "x.png").write_bytes(b"no picture")
    result = infer(tmp_path / "in")
    assert result.code == 4
    assert result.err.startswith("x.png: ")
    assert read_run(out)["counts"]["failed"] == 1


@pytest.mark.parametrize("name", ["gone", "empty", "masks"])
def test_no_slice_is_no_input(tmp_path: Path, out: Path, infer: Infer, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "a_mask.png").touch()
    result = infer(tmp_path / name)
    assert result.code == 4
    assert result.err.startswith("lgg-infer: ") and name in result.err
    assert not out.exists()


def test_a_model_that_is_not_there_is_refused(source: Path, out: Path, infer: Infer) -> None:
    result = infer(source, "-m", "missing.onnx")
    assert result.code == 5
    assert result.err.startswith("lgg-infer: missing.onnx: no such model")
    assert files(out) == []


def test_a_model_without_a_contract_is_refused(
    tmp_path: Path,
    source: Path,
    out: Path,
    infer: Infer,
    build_model: Callable[..., Any],
    save_artifact: Callable[..., Path],
) -> None:
    bare = save_artifact(build_model(), tmp_path / "bare.onnx", None)
    result = infer(source, "-m", bare)
    assert (result.code, files(out)) == (5, [])
    assert result.err.startswith("lgg-infer: bare.onnx: no contract in its metadata")


@pytest.fixture
def broken(
    tmp_path: Path,
    build_model: Callable[..., Any],
    save_artifact: Callable[..., Path],
    make_contract: Callable[..., Any],
) -> Path:
    """An artifact with a valid contract that answers NaN."""
    return save_artifact(build_model("nan"), tmp_path / "nan.onnx", make_contract().dumps())


def test_a_model_whose_output_is_no_number_fails_its_inputs(
    source: Path, out: Path, infer: Infer, broken: Path
) -> None:
    result = infer(source, "-m", broken)
    assert result.code == 4
    assert result.err.count("no number in 0..1") == 4
    assert files(out) == ["run.json", "summary.csv"]


@pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(),
    reason="onnxruntime-gpu is installed on this machine",
)
def test_cuda_that_cannot_run_is_an_error_and_leaves_nothing(
    source: Path, out: Path, infer: Infer
) -> None:
    result = infer(source, "--device", "cuda")
    assert result.code == 6
    assert result.err.startswith("lgg-infer: provider cuda: ")
    assert files(out) == []


@pytest.mark.parametrize("inside", [".", "results", "a/deeper", "../in/a", "new/../results"])
def test_an_output_inside_the_input_is_refused(
    source: Path, artifact: Path, call_infer: Infer, inside: str
) -> None:
    before = files(source)
    result = call_infer(source, "-o", source / inside, "-m", artifact)
    assert result.code == 2
    assert "lies inside the input" in result.err
    assert files(source) == before


def test_an_output_inside_the_input_through_a_link_is_refused(
    tmp_path: Path, source: Path, artifact: Path, call_infer: Infer
) -> None:
    (tmp_path / "elsewhere").symlink_to(source, target_is_directory=True)
    result = call_infer(source, "-o", tmp_path / "elsewhere" / "out", "-m", artifact)
    assert result.code == 2


def test_the_reference_mask_beside_a_single_slice_is_never_replaced(
    source: Path, artifact: Path, call_infer: Infer
) -> None:
    (source / "a" / "a_2_mask.png").write_bytes(b"the reference")
    result = call_infer(source / "a" / "a_2.png", "-o", source / "a", "-m", artifact)
    assert result.code == 2
    assert (source / "a" / "a_2_mask.png").read_bytes() == b"the reference"


def test_slices_that_would_share_a_mask_are_refused(source: Path, out: Path, infer: Infer) -> None:
    shutil.copy(source / "a" / "a_1.png", source / "a" / "a_1.tif")
    result = infer(source)
    assert result.code == 8
    assert "a/a_1.png and a/a_1.tif" in result.err
    assert not out.exists()


def test_a_folder_that_another_run_writes_to_is_left_alone(
    source: Path, out: Path, infer: Infer
) -> None:
    out.mkdir()
    with lock_output(out):
        result = infer(source)
        assert (result.code, files(out)) == (8, [])
    assert "another run is writing there" in result.err
    assert infer(source).code == 0


def test_an_output_that_cannot_be_made_is_told_before_the_model_is_loaded(
    tmp_path: Path, source: Path, call_infer: Infer
) -> None:
    (tmp_path / "file").touch()
    result = call_infer(source, "-o", tmp_path / "file" / "out", "-m", "missing.onnx")
    assert result.code == 7
    assert "cannot be written" in result.err


def test_a_disk_that_fills_up_ends_the_run_and_what_was_done_is_recorded(
    source: Path, out: Path, infer: Infer, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = results.write_atomically

    def fill_up(path: Path, data: bytes) -> None:
        if path.name == "b_1_mask.png":
            raise ResourceError(f"{path.name}: the disk is full; free some space")
        real(path, data)

    monkeypatch.setattr(results, "write_atomically", fill_up)
    result = infer(source)
    assert (result.code, result.out) == (7, "")
    assert result.err == "lgg-infer: b_1_mask.png: the disk is full; free some space\n"
    run = read_run(out)
    assert run["state"] == "stopped: b_1_mask.png: the disk is full; free some space"
    assert sorted(n for e in run["inputs"] for n in e["outputs"]) == files(out)[:-2]


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
    assert "Dice by patient: mean 0.2500" in result.out
    assert read_run(out)["counts"]["skipped_masks"] == 3


def test_an_evaluated_overlay_shows_the_reference(
    with_masks: Path, out: Path, infer: Infer
) -> None:
    green = (80, 220, 80)
    infer(with_masks, "--evaluate", "-p")
    assert (read_png(out / "a" / "a_2_overlay.png") == green).all(axis=-1).any()
    infer(with_masks, "-p")
    assert not (read_png(out / "a" / "a_2_overlay.png") == green).all(axis=-1).any()


@pytest.mark.parametrize("mask", [None, "a/other_mask.png"])
def test_an_evaluation_without_reference_masks_is_a_usage_error(
    source: Path, out: Path, infer: Infer, write_picture: Write, mask: str | None
) -> None:
    if mask is not None:
        write_picture(source / mask, np.zeros((40, 48), np.uint8))
    result = infer(source, "--evaluate")
    assert result.code == 2
    assert "--evaluate: no *_mask file beside the slices" in result.err
    assert not out.exists()


@pytest.mark.parametrize(
    "options",
    [
        ("--provider", "tpu"),
        ("--threads", "0"),
        ("--batch", "0"),
        ("--threshold", "0"),
        ("--threshold", "1"),
        ("--threshold", "nan"),
        ("--nonsense",),
        ("extra",),
    ],
)
def test_an_impossible_option_is_a_usage_error(
    source: Path, out: Path, infer: Infer, options: tuple[str, ...]
) -> None:
    result = infer(source, *options)
    assert (result.code, result.out) == (2, "")
    assert options[0].strip("-") in result.err
    assert not out.exists() or files(out) == []


def test_the_output_is_to_be_given(source: Path, call_infer: Infer) -> None:
    result = call_infer(source)
    assert result.code == 2
    assert "--output" in result.err


@pytest.mark.parametrize("option", ["", "--json", "-q"])
def test_a_name_that_is_no_text_is_done_and_recorded(
    tmp_path: Path, out: Path, infer: Infer, draw_slice: Draw, write_picture: Write, option: str
) -> None:
    name = os.fsdecode(b"caf\xe9_1.png")
    try:
        write_picture(tmp_path / "in" / name, draw_slice(LESION))
    except OSError:
        pytest.skip("this file system takes text alone")
    result = infer(tmp_path / "in", *([option] if option else []))
    assert (result.code, result.err) == (0, "")
    assert (out / os.fsdecode(b"caf\xe9_1_mask.png")).is_file()
    assert [entry["name"] for entry in read_run(out)["inputs"]] == [name]
    assert read_rows(out)[0]["patient"] == "caf\\udce9"
    if option == "--json":
        assert json.loads(result.out) == read_run(out)


def test_help_tells_the_use_and_the_exit_codes(call_infer: Infer) -> None:
    result = call_infer("--help")
    assert result.code == 0
    assert "Research use only, not for diagnosis." in result.out
    assert "3 some inputs failed" in result.out


def installed_command() -> str:
    command = shutil.which("lgg-infer", path=str(Path(sys.executable).parent))
    assert command is not None, "lgg-infer is not installed beside this Python"
    return command


def test_the_installed_command_ends_with_its_code(
    with_bad_files: Path, out: Path, artifact: Path
) -> None:
    args = [installed_command(), str(with_bad_files), "-o", str(out), "-m", str(artifact)]
    done = subprocess.run(args, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert done.returncode == 3
    assert [line.split(":")[0] for line in done.stderr.splitlines()] == list(BAD)
    assert done.stdout.splitlines()[-1] == "Research use only, not for diagnosis."


def test_the_installed_command_prints_a_name_that_is_no_text(
    tmp_path: Path, out: Path, artifact: Path, draw_slice: Draw, write_picture: Write
) -> None:
    try:
        write_picture(tmp_path / "in" / os.fsdecode(b"caf\xe9.png"), draw_slice())
    except OSError:
        pytest.skip("this file system takes text alone")
    args = [installed_command(), str(tmp_path / "in"), "-o", str(out), "-m", str(artifact)]
    done = subprocess.run(args, capture_output=True, timeout=DEADLINE_S, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert rb"caf\udce9" in done.stdout


def test_sigterm_ends_a_run_with_what_was_done_recorded_and_nothing_torn(
    tmp_path: Path, out: Path, artifact: Path, draw_slice: Draw, write_picture: Write
) -> None:
    first = write_picture(tmp_path / "in" / "p0x.png", draw_slice(LESION, size=(512, 512)))
    for number in range(1, 2000):  # far more than is done when its first mask is seen
        os.link(first, first.with_name(f"p{number}x.png"))
    args = [installed_command(), str(tmp_path / "in"), "-o", str(out), "-m", str(artifact)]
    args += ["--threads", "1"]
    with subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + DEADLINE_S
        while not list(out.glob("*_mask.png")) and time.monotonic() < deadline:
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(timeout=0.02)
        process.terminate()
        printed, said = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, printed, said) == (143, b"", b"lgg-infer: terminated\n")
    run = read_run(out)
    assert run["state"] == "interrupted"
    masks = [name for name in files(out) if name.endswith("_mask.png")]
    assert sorted(name for entry in run["inputs"] for name in entry["outputs"]) == masks
    assert 0 < len(masks) < 2000
    assert set(files(out)) == {*masks, "run.json", "summary.csv"}
    assert all(read_png(out / name).shape == (512, 512) for name in masks)
    with lock_output(out):
        assert out.is_dir()


def test_the_version_is_told_without_loading_a_library() -> None:
    code = (
        "import sys; sys.argv = ['lgg-infer', '--version']\n"
        "from lgg_runtime.cli import main\n"
        "try: main()\n"
        "finally: print([m for m in ('numpy', 'cv2', 'onnxruntime', 'torch', 'tqdm')"
        " if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    version, loaded = done.stdout.splitlines()
    assert version.startswith("lgg-infer, version 0.")
    assert loaded == "[]"
