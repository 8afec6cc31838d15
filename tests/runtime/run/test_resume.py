"""lgg-infer --resume: what is done is kept, the rest is done, and nothing shows that it broke."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lgg_runtime.loading import LoadSettings
from lgg_runtime.lock import LOCK_FILE
from lgg_runtime.run import finishing
from lgg_runtime.run.ledger import JOURNAL_FILE
from lgg_runtime.segmenter import Segmenter
from stand_ins.runs import LESION, Draw, Infer, Write


@pytest.fixture
def source(tmp_path: Path, draw_slice: Draw, write_picture: Write) -> Path:
    """Patients a to d of two slices, with tumour and a reference mask in the first of each."""
    root = tmp_path / "in"
    truth = np.zeros((40, 48), np.uint8)
    truth[10:16, 24:32] = 255
    for name in "abcd":
        write_picture(root / name / f"{name}_1.png", draw_slice(LESION))
        write_picture(root / name / f"{name}_2.png", draw_slice())
        write_picture(root / name / f"{name}_1_mask.png", truth)
    return root


@pytest.fixture
def infer(call_infer: Infer, source: Path, artifact: Path) -> Infer:
    """Calls lgg-infer on the source with the tiny artifact: output folder, more options."""

    def call(output: Path, *more: str | Path) -> SimpleNamespace:
        return call_infer(source, "-o", output, "-m", artifact, "--threads", "2", *more)

    return call


@pytest.fixture
def stop_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[str | None], list[str]]:
    """Interrupts the run before the named output; lists the outputs that were written."""
    real = finishing.write_atomically

    def arrange(name: str | None) -> list[str]:
        written: list[str] = []

        def watch(path: Path, data: bytes) -> None:
            if path.name == name:
                raise KeyboardInterrupt
            real(path, data)
            written.append(path.name)

        monkeypatch.setattr(finishing, "write_atomically", watch)
        return written

    return arrange


def results(folder: Path) -> dict[str, Any]:
    """Every result by name: its bytes, and of run.json all but the times."""
    found: dict[str, Any] = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in (JOURNAL_FILE, LOCK_FILE)
    }
    found["run.json"] = json.loads(found["run.json"]) | {"seconds": None}
    return found


@pytest.mark.parametrize("evaluate", [(), ("--evaluate", "-p")])
def test_a_resumed_run_gives_what_an_undisturbed_one_gives(
    tmp_path: Path, infer: Infer, stop_at: Callable[..., list[str]], evaluate: tuple[str, ...]
) -> None:
    assert infer(tmp_path / "whole", *evaluate).code == 0
    stop_at("c_2_mask.png")
    assert infer(tmp_path / "out", *evaluate).code == 130
    written = stop_at(None)
    assert infer(tmp_path / "out", "--resume", *evaluate).code == 0
    assert {"c"} <= {name[0] for name in written} <= {"c", "d"}  # d may have been on its way
    assert results(tmp_path / "out") == results(tmp_path / "whole")


def test_doubts_and_what_a_first_look_left_out_stay_as_they_were(
    tmp_path: Path, source: Path, infer: Infer, artifact: Path, draw_slice: Draw,
    write_picture: Write,
) -> None:  # fmt: skip
    write_picture(source / "z" / "z_1.png", draw_slice())
    noise = np.random.default_rng(3).integers(0, 256, (2, 64, 80, 3), dtype=np.uint8)
    for number, pixels in enumerate((noise[0], noise[1], noise[0][:, :60]), start=1):
        write_picture(source / "n" / f"n_{number}.png", pixels)
    infer(tmp_path / "out", "--first-look", artifact)
    before = results(tmp_path / "out")["run.json"]
    assert len(before["doubts"]["n"].split("; ")) == 2, "of both sizes"
    assert before["model"]["first_look"]["left_out"] > 0
    infer(tmp_path / "out", "--first-look", artifact, "--resume")
    assert results(tmp_path / "out")["run.json"] == before


def test_a_complete_run_is_resumed_without_work(
    tmp_path: Path, infer: Infer, stop_at: Callable[..., list[str]]
) -> None:
    infer(tmp_path / "out")
    before, journal = results(tmp_path / "out"), (tmp_path / "out" / JOURNAL_FILE).read_bytes()
    written = stop_at(None)
    done = infer(tmp_path / "out", "--resume")
    assert (done.code, written) == (0, [])
    assert "Taken over unchanged from the earlier run: 4 studies." in done.out
    assert results(tmp_path / "out") == before
    assert (tmp_path / "out" / JOURNAL_FILE).read_bytes() == journal


def test_what_decides_no_result_may_differ_in_a_resumed_run(
    tmp_path: Path, source: Path, artifact: Path, call_infer: Infer
) -> None:
    """The name of the input, and who chose the provider."""
    ran = Segmenter.load(artifact, LoadSettings("auto")).provider
    model = ("-o", tmp_path / "out", "-m", artifact, "--threads", "2")
    call_infer(source, *model, "--provider", ran)
    moved = source.rename(tmp_path / "moved")
    done = call_infer(moved, *model, "--provider", "auto", "--resume")
    assert done.code == 0
    assert "Taken over unchanged from the earlier run: 4 studies." in done.out


def test_only_what_changed_is_done_again(
    tmp_path: Path, source: Path, infer: Infer, stop_at: Callable[..., list[str]], draw_slice: Draw,
    write_picture: Write,
) -> None:  # fmt: skip
    infer(tmp_path / "out")
    write_picture(source / "b" / "b_2.png", draw_slice(LESION))
    (tmp_path / "out" / "d" / "d_1_mask.png").write_bytes(b"torn")
    written = stop_at(None)
    infer(tmp_path / "out", "--resume")
    assert written == [f"{name}_{n}_mask.png" for name in "bd" for n in (1, 2)]
    infer(tmp_path / "whole")
    assert results(tmp_path / "out") == results(tmp_path / "whole")


def test_a_study_whose_reference_was_corrected_is_scored_anew(
    tmp_path: Path, source: Path, infer: Infer, write_picture: Write
) -> None:
    infer(tmp_path / "out", "--evaluate")
    truth = np.zeros((40, 48), np.uint8)
    truth[20:30, 24:32] = 255
    write_picture(source / "b" / "b_1_mask.png", truth)
    done = infer(tmp_path / "out", "--evaluate", "--resume")
    assert "Taken over unchanged from the earlier run: 3 studies." in done.out
    infer(tmp_path / "whole", "--evaluate")
    assert results(tmp_path / "out") == results(tmp_path / "whole")


def test_a_study_with_a_failure_is_tried_again(
    tmp_path: Path, source: Path, infer: Infer, stop_at: Callable[..., list[str]]
) -> None:
    whole = (source / "b" / "b_2.png").read_bytes()
    (source / "b" / "b_2.png").write_bytes(whole[:50])
    for more in ((), ("--resume",)):
        done = infer(tmp_path / "out", *more)
        assert (done.code, done.err.split(":")[0]) == (3, "b/b_2.png")
    written = stop_at(None)
    (source / "b" / "b_2.png").write_bytes(whole)
    assert infer(tmp_path / "out", "--resume").code == 0
    assert written == ["b_1_mask.png", "b_2_mask.png"]


def test_a_study_that_is_gone_leaves_the_results(
    tmp_path: Path, source: Path, infer: Infer
) -> None:
    infer(tmp_path / "out")
    shutil.rmtree(source / "a")
    assert infer(tmp_path / "out", "--resume").code == 0
    names = [entry["name"] for entry in results(tmp_path / "out")["run.json"]["patients"]]
    assert names == ["b", "c", "d"]


def test_what_an_earlier_run_wrote_for_an_input_that_is_gone_is_told(
    tmp_path: Path, source: Path, infer: Infer
) -> None:
    infer(tmp_path / "out")
    shutil.rmtree(source / "a")
    (source / "b" / "b_2.png").write_bytes(b"")
    done = infer(tmp_path / "out", "--resume")
    stale = ["a/a_1_mask.png", "a/a_2_mask.png", "b/b_2_mask.png"]
    assert results(tmp_path / "out")["run.json"]["stale"] == stale
    assert "3 files left by an earlier run beside these results" in done.out
    assert all((tmp_path / "out" / name).is_file() for name in stale)


def test_what_was_written_of_a_study_that_failed_in_part_is_told_when_it_is_left(
    tmp_path: Path, source: Path, infer: Infer
) -> None:
    (source / "b" / "b_3.png").write_bytes(b"")
    assert infer(tmp_path / "out").code == 3
    (source / "b" / "b_2.png").unlink()
    infer(tmp_path / "out")
    assert results(tmp_path / "out")["run.json"]["stale"] == ["b/b_2_mask.png"]


def test_what_is_left_is_told_by_every_later_run_until_it_is_gone(
    tmp_path: Path, source: Path, infer: Infer
) -> None:
    infer(tmp_path / "out")
    shutil.rmtree(source / "a")
    masks = ["a/a_1_mask.png", "a/a_2_mask.png"]
    for options in ((), (), ("--resume",)):
        infer(tmp_path / "out", *options)
        assert results(tmp_path / "out")["run.json"]["stale"] == masks
    (tmp_path / "out" / masks[0]).unlink()
    infer(tmp_path / "out")
    assert results(tmp_path / "out")["run.json"]["stale"] == masks[1:]


def test_pictures_of_an_earlier_run_with_other_options_are_told(
    tmp_path: Path, source: Path, infer: Infer
) -> None:
    shutil.rmtree(source / "a")
    infer(tmp_path / "out", "-p")
    (tmp_path / "out" / "d" / "d_1_overlay.png").unlink()
    infer(tmp_path / "out")
    stale = [f"{name}/{name}_{n}_overlay.png" for name in "bcd" for n in (1, 2)]
    stale.remove("d/d_1_overlay.png")
    assert results(tmp_path / "out")["run.json"]["stale"] == stale


@pytest.mark.parametrize("more", [(), ("--resume",)])
def test_what_an_earlier_run_left_is_told_by_a_run_that_is_cut_off_too(
    tmp_path: Path, source: Path, infer: Infer, stop_at: Callable[..., list[str]],
    more: tuple[str, ...],
) -> None:  # fmt: skip
    infer(tmp_path / "out", "-p")
    for name in "bcd":
        shutil.copy(source / name / f"{name}_1.png", source / name / f"{name}_2.png")
    stop_at("b_1_mask.png")
    assert infer(tmp_path / "out", "-p", *more).code == 130
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    done = {name for entry in run["inputs"] for name in entry["outputs"]}
    left = {name for name in results(tmp_path / "out") if name.endswith(".png")} - done
    assert (run["state"], set(run["stale"])) == ("interrupted", left)
    assert {"b/b_1_mask.png", "d/d_2_overlay.png"} <= left
    assert run["seconds"].keys() == {"total", "run", "read", "finish"}


@pytest.mark.parametrize(
    ("more", "named"),
    [
        (("--threshold", "0.25"), "threshold was 0.5, now it is 0.25"),
        (("--flair-only",), "flair_only was off, now it is on"),
        (("-p",), "outputs was mask, now it is mask, overlay"),
    ],
)
def test_other_options_are_refused_and_nothing_is_touched(
    tmp_path: Path, infer: Infer, more: tuple[str, ...], named: str
) -> None:
    infer(tmp_path / "out")
    before = results(tmp_path / "out")
    done = infer(tmp_path / "out", "--resume", *more)
    assert done.code == 8
    assert named in done.err and done.err.count("\n") == 1
    assert results(tmp_path / "out") == before


@pytest.fixture
def other_model(tmp_path: Path, write_artifact: Callable[..., Path]) -> Path:
    """The same graph, another contract."""
    return write_artifact(tmp_path / "other.onnx", how_decided="otherwise")


def test_another_model_is_refused(tmp_path: Path, infer: Infer, other_model: Path) -> None:
    infer(tmp_path / "out")
    done = infer(tmp_path / "out", "--resume", "-m", other_model)
    assert done.code == 8
    assert "model was" in done.err


def test_nothing_to_resume_is_a_new_run(tmp_path: Path, infer: Infer) -> None:
    assert infer(tmp_path / "out", "--resume").code == 0
    infer(tmp_path / "whole")
    assert results(tmp_path / "out") == results(tmp_path / "whole")


def test_scans_are_resumed_too(
    tmp_path: Path, artifact: Path, call_infer: Infer, stop_at: Callable[..., list[str]]
) -> None:
    for package in ("highdicom", "nibabel", "SimpleITK"):
        pytest.importorskip(package)
    from lgg_train.phantom import PhantomSettings
    from lgg_train.phantom_files import write_scans
    from lgg_train.phantom_scan import ScanSettings

    phantoms = PhantomSettings(patients=2, slices=6, size=48, seed=4)
    write_scans(tmp_path, "dicom", phantoms, ScanSettings())

    def call(output: Path, *more: str) -> SimpleNamespace:
        kinds = ("-ot", "dicom-seg", "-ot", "nifti")
        return call_infer(tmp_path / "dicom", "-o", output, "-m", artifact, *kinds, *more)

    assert call(tmp_path / "whole").code == 0
    stop_at("study_0002_mask.nii.gz")
    assert call(tmp_path / "out").code == 130
    written = stop_at(None)
    chosen = ("--flair", "2", "--series-uid", "2.25.1001435798133328161")
    refused = call(tmp_path / "out", "--resume", *chosen)
    assert refused.code == 8
    assert "series was none, now it is series_uid uid-" in refused.err
    assert " flair 2; repeat" in refused.err and "1001435798133328161" not in refused.err
    assert call(tmp_path / "out", "--resume").code == 0
    assert written == ["study_0002_seg.dcm", "study_0002_mask.nii.gz"]
    assert results(tmp_path / "out") == results(tmp_path / "whole")
    kinds = ("-ot", "nifti", "-ot", "dicom-seg")  # in another order
    done = call_infer(
        tmp_path / "dicom", "-o", tmp_path / "out", "-m", artifact, *kinds, "--resume"
    )
    assert (done.code, len(written)) == (0, 2)
