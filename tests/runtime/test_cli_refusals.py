"""Inputs, models, outputs and options that lgg-infer cannot use."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lgg_runtime.lock import LOCK_FILE
from stand_ins.runs import BAD, Infer, Write, files, read_run


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
    assert sorted(failed) == list(BAD)
    assert sorted(f"a/{reason}" for reason in failed.values()) == result.err.splitlines()
    assert "16-bit" in failed["a/sixteen.tif"]
    assert (run["state"], run["counts"]["failed"], run["counts"]["done"]) == ("complete", 3, 4)


def test_names_that_the_system_refuses_are_told(source: Path, infer: Infer, out: Path) -> None:
    name = "a" * 300
    for given, option, code in (
        (source, ("-m", name), 5),
        (source, ("--first-look", name), 5),
        (source / name, (), 4),
    ):
        result = infer(given, *option)
        assert (result.code, files(out)) == (code, [])
        assert result.err.startswith("lgg-infer: ") and "File name too long" in result.err


def test_a_model_whose_output_is_no_number_is_refused_by_openvino_too(
    tmp_path: Path, source: Path, out: Path, infer: Infer, write_artifact: Callable[..., Path]
) -> None:
    pytest.importorskip("openvino")
    broken = write_artifact(tmp_path / "nan.onnx", "nan")
    result = infer(source, "-m", broken, "--provider", "openvino")
    assert (result.code, files(out)) == (5, [])
    assert "nan.onnx: the model's output is no number in 0..1" in result.err


@pytest.mark.parametrize("inside", [".", "results", "a/deeper", "../in/a", "new/../results"])
def test_an_output_inside_the_input_is_refused(
    source: Path, artifact: Path, call_infer: Infer, inside: str
) -> None:
    before = files(source)
    result = call_infer(source, "-o", source / inside, "-m", artifact)
    assert result.code == 2
    assert "lies inside the input" in result.err
    assert files(source) == before


@pytest.mark.parametrize("inside", [".", "results", "images"])
def test_an_output_among_what_a_dicomdir_lists_is_refused(
    tmp_path: Path, artifact: Path, call_infer: Infer, inside: str
) -> None:
    (tmp_path / "disc").mkdir()
    (tmp_path / "disc" / "DICOMDIR").touch()
    given = tmp_path / "disc" / "DICOMDIR"
    result = call_infer(given, "-o", given.parent / inside, "-m", artifact)
    assert (result.code, files(tmp_path)) == (2, ["disc/DICOMDIR"])
    assert "lies inside the input" in result.err


def test_a_folder_called_dicomdir_is_a_folder(
    tmp_path: Path, source: Path, artifact: Path, call_infer: Infer
) -> None:
    given = source.rename(tmp_path / "DICOMDIR")
    result = call_infer(given, "-o", tmp_path / "out", "-m", artifact)
    assert result.code == 0, result.err


def test_an_output_beside_a_link_to_a_slice_or_beside_the_slice_is_refused(
    tmp_path: Path, source: Path, artifact: Path, call_infer: Infer
) -> None:
    links = tmp_path / "links"
    links.mkdir()
    (links / "x_1.png").symlink_to(source / "a" / "a_1.png")
    for output in (links, source / "a"):
        assert call_infer(links / "x_1.png", "-o", output, "-m", artifact).code == 2


@pytest.mark.parametrize("option", ["-ot", "-p"])
def test_results_that_would_go_among_the_inputs_are_refused(
    tmp_path: Path, source: Path, artifact: Path, call_infer: Infer, option: str
) -> None:
    """The output holds the input, and a folder of the input has the input's own name."""
    inner = source / "in"
    shutil.copytree(source / "a", inner)
    shutil.copytree(source / "a", inner / "in")
    before = files(tmp_path)
    more = [option, *(["mask"] if option == "-ot" else [])]
    result = call_infer(inner, "-o", source, "-m", artifact, *more)
    assert (result.code, result.out) == (2, "")
    assert "results of in would lie inside the input" in result.err
    assert files(tmp_path) == before


@pytest.mark.parametrize(
    "name", ["run.json", "summary.csv", "report.html", "journal.jsonl", LOCK_FILE]
)
def test_a_folder_named_as_the_runs_own_file_is_refused(
    source: Path, out: Path, infer: Infer, name: str
) -> None:
    shutil.move(source / "a", source / name)
    result = infer(source)
    assert result.code == 8
    assert f"in the place of the run's own {name}" in result.err
    assert not out.exists()


def test_below_another_folder_the_name_of_the_runs_own_file_is_free(
    source: Path, out: Path, infer: Infer
) -> None:
    (source / "b").mkdir(exist_ok=True)
    shutil.move(source / "a", source / "b" / "run.json")
    assert infer(source).code == 0
    assert list((out / "b" / "run.json").glob("*_mask.png"))


@pytest.mark.parametrize("relative", ["input", "output"])
def test_a_current_folder_that_was_deleted_names_no_other(
    source: Path, out: Path, call_infer: Infer, monkeypatch: pytest.MonkeyPatch, relative: str
) -> None:
    gone = out.with_name("gone")
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    result = call_infer(*((".", "-o", out) if relative == "input" else (source, "-o", "out")))
    assert result.code == 2
    assert result.err == "lgg-infer: the current folder is gone; give absolute paths\n"


@pytest.mark.parametrize("empty", ["input", "output"])
def test_an_empty_path_is_not_the_current_folder(
    source: Path, out: Path, call_infer: Infer, empty: str
) -> None:
    given = ("", "-o", out) if empty == "input" else (source, "-o", "")
    result = call_infer(*given)
    assert result.code == 2
    assert "it is empty; '.' names the current folder" in result.err


def test_an_evaluation_by_the_masks_of_other_slices_is_a_usage_error(
    source: Path, out: Path, infer: Infer, write_picture: Write
) -> None:
    write_picture(source / "a" / "other_mask.png", np.zeros((40, 48), np.uint8))
    result = infer(source, "--evaluate")
    assert result.code == 2
    assert "--evaluate: no *_mask file beside the slices" in result.err
    assert not out.exists()


@pytest.mark.parametrize(
    "options",
    [
        ("--threads", "0"),
        ("--threads", "1025"),
    ],
)
def test_an_impossible_option_is_a_usage_error(
    source: Path, out: Path, infer: Infer, options: tuple[str, ...]
) -> None:
    result = infer(source, *options)
    assert (result.code, result.out) == (2, "")
    assert options[0].strip("-") in result.err
    assert not out.exists() or files(out) == []
