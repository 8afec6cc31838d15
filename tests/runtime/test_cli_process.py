"""lgg-infer as a process: names, signals, exit codes and what it loads."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lgg_runtime.loading import SHIPPED
from lgg_runtime.lock import lock_output
from stand_ins.runs import BAD, LESION, Draw, Infer, Write, files, read_png, read_rows, read_run

DEADLINE_S = 120


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


def test_help_names_the_shipped_models(call_infer: Infer) -> None:
    told = " ".join(call_infer("--help").out.split())
    assert "A shipped model (standard, lite or tiny, in int8 with -int8 behind it)" in told
    named = ("standard", "lite", "tiny")
    assert set(SHIPPED) == {*named, *(f"{name}-int8" for name in named)}


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


@pytest.mark.parametrize(
    ("where", "code"),
    [
        ("> /dev/full", 7),
        ("2> /dev/full", 7),
        ("| true", 3),
        ("2>&1 | true", 3),
        ("2>&-", 3),
        (">&- 2>&-", 3),
    ],
)
def test_where_it_is_told_changes_no_result(
    with_bad_files: Path, out: Path, artifact: Path, where: str, code: int
) -> None:
    tool, *args = map(
        shlex.quote, (installed_command(), str(with_bad_files), str(out), str(artifact))
    )
    line = f"{tool} {args[0]} -o {args[1]} -m {args[2]} {where}; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", line], capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    run = read_run(out)
    assert (run["state"], run["counts"]["done"], run["counts"]["failed"]) == ("complete", 4, 3)


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


def test_a_run_on_a_cpu_loads_nothing_of_a_gpu_a_server_or_a_progress_bar(
    source: Path, out: Path, artifact: Path
) -> None:
    code = (
        f"import sys; sys.argv = ['lgg-infer', {str(source)!r}, '-o', {str(out)!r}, '-m', "
        f"{str(artifact)!r}, '-q']\n"
        "from lgg_runtime.cli import main\n"
        "try: main()\n"
        "finally: print([m for m in sys.modules if m.split('.')[-1] in"
        " ('gpu_session', 'engine', 'pull', 'dicomweb', 'tqdm', 'pydicom')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert read_run(out)["state"] == "complete"
