"""lgg-train as the shell sees it: exit codes, one line for an error, results on standard output."""

import subprocess
import sys

import nibabel
import pytest

from lgg_train.cases import find_cases
from lgg_train.cli import train
from stand_ins.run_folder import TINY


def test_training_prints_its_scores_on_standard_output(call_main, phantoms, tmp_path):
    args = ["train", "--data", str(phantoms), "-o", str(tmp_path / "run"), *TINY]
    done = call_main(*args, "--epochs", "0.2")
    assert done.code == 0, done.err
    assert "validation, split by patient; threshold" in done.out
    assert "Research use only, not for diagnosis." in done.out
    assert "Dice of 1 patient: mean" in done.out
    assert (tmp_path / "run" / "model.pt").is_file()


@pytest.mark.parametrize(
    ("given", "features", "depth", "mirror"),
    [
        ([], 16, 4, False),
        (["--recipe", "standard"], 32, 3, True),
        (["--features", "8", "--recipe", "standard"], 8, 3, True),
        (["--recipe", "standard", "--no-mirror"], 32, 3, False),
    ],
)
def test_a_recipe_gives_defaults_that_given_options_override(given, features, depth, mirror):
    context = train.make_context("train", ["--data", "d", "--out", "o", *given])
    found = context.params
    assert (found["features"], found["depth"], found["mirror"]) == (features, depth, mirror)


def test_evaluation_prints_the_scores_of_the_test_part(call_main, run_copy, phantoms):
    done = call_main("evaluate", str(run_copy), "--data", str(phantoms), "--split", "test")
    assert done.code == 0, done.err
    assert "test, split by patient; threshold" in done.out
    assert (run_copy / "metrics_test.json").is_file()


@pytest.mark.parametrize(("options", "is_shown"), [((), True), (("--no-progress",), False)])
def test_an_evaluation_s_progress_is_shown_on_a_terminal_that_wants_it(
    call_main, run_copy, phantoms, monkeypatch, options, is_shown
):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    done = call_main("evaluate", str(run_copy), "--data", str(phantoms), *options)
    assert done.code == 0, done.err
    assert ("read:   0%|" in done.err) == ("predict:   0%|" in done.err) == is_shown


def test_a_batch_may_be_drawn_without_regard_to_tumour_as_the_refusal_says(call_main, phantoms):
    args = ["train", "--data", str(phantoms), "-o", "run", "--epochs", "1", "--batch", "4"]
    assert "--tumour: 10 of a batch of 4: expected 0 to 4" in call_main(*args).err
    done = call_main(*args, "--tumour", "0", "--crop", "33")
    assert done.code == 2
    assert done.err == "lgg-train: crop 33: a depth of 4 expects a multiple of 16\n"


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ((), "either epochs or minutes"),
        (("--epochs", "0"), "--epochs"),
        (("--epochs", "1", "--depth", "5"), "--depth"),
        (("--epochs", "1", "--stride", "3"), "--stride"),
        (("--epochs", "1", "--batch", "8"), "--tumour: 10 of a batch of 8"),
        (("--epochs", "1", "--batch", "1", "--tumour", "1", "--crop", "16"), "leaves one pixel"),
        (("--epochs", "1", "--rate", "0"), "rate 0.0"),
        (("--epochs", "1", "--fold", "3"), "--folds as well"),
        (("--epochs", "1", "--precision", "int8"), "--precision"),
        (("--epochs", "1", "--split-by", "all", "--split-seed", "7"), "leave --split-seed out"),
    ],
)
def test_impossible_options_are_usage_errors(call_main, phantoms, tmp_path, options, named):
    done = call_main("train", "--data", str(phantoms), "-o", str(tmp_path / "run"), *options)
    assert done.code == 2, done.err
    assert named in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("option", "value"),
    [("split-by", "slice"), ("split-seed", "20"), ("folds", "3"), ("fold", "0"), ("split", "s")],
)
def test_a_split_given_beside_resume_is_refused_and_never_ignored(
    call_main, finished_run, phantoms, option, value
):
    args = ["--data", str(phantoms), "-o", str(finished_run), "--epochs", "1", "--resume"]
    done = call_main("train", *args, f"--{option}", value)
    assert done.code == 2
    assert f"--resume goes on with the run's own split; leave --{option} out" in done.err


def test_evaluating_what_is_no_run_exits_3(call_main, phantoms, tmp_path):
    done = call_main("evaluate", str(tmp_path), "--data", str(phantoms))
    assert done.code == 3
    assert "no model.pt in it" in done.err


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (("train", "--data", "CLOSED", "-o", "NEW", "--epochs", "1"), 4),
        (("train", "--data", "DATA", "-o", "CLOSED", "--epochs", "1"), 7),
        (("train", "--data", "DATA", "-o", "CLOSED", "--resume"), 3),
        (("train", "--data", "DATA", "-o", "NEW", "--epochs", "1", "--start", "CLOSED"), 3),
        (("train", "--data", "DATA", "-o", "NEW", "--epochs", "1", "--decision", "CLOSED"), 3),
        (("cv", "--data", "DATA", "-o", "CLOSED", "--epochs", "1"), 7),
        (("decide", "CLOSED", "--data", "DATA"), 3),
        (("evaluate", "CLOSED", "--data", "DATA"), 3),
        (("data", "-o", "CLOSED"), 7),
        (("phantom", "-o", "CLOSED"), 7),
    ],
)
def test_a_folder_that_may_not_be_looked_into_is_no_traceback(
    call_main, phantoms, tmp_path, args, code
):
    """As that of another user; a name that no disk takes is refused in the same places, to root
    too.
    """
    closed = tmp_path / ("n" * 300) / "it"
    stands_for = {"CLOSED": closed, "DATA": phantoms, "NEW": tmp_path / "new"}
    done = call_main(*(str(stands_for.get(arg, arg)) for arg in args))
    assert done.code == code, done.err
    assert done.err.startswith("lgg-train: ")
    assert done.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_phantoms_are_made_in_the_public_layout(call_main, tmp_path):
    done = call_main("phantom", "-o", str(tmp_path), "--patients", "1", "--slices", "2")
    assert done.code == 0, done.err
    assert done.out.startswith("1 phantom patient of 2 slices in ")
    (case,) = find_cases(tmp_path)
    assert len(case.slices) == 2


def test_a_scan_s_columns_are_made_twice_as_wide(call_main, tmp_path):
    zooms = []
    for options in ((), ("--anisotropic",)):
        words = ("--patients", "1", "--slices", "2", "--size", "64", "--format", "nifti", *options)
        out = tmp_path / str(len(zooms))
        done = call_main("phantom", "-o", str(out), *words)
        assert done.code == 0, done.err
        first = min((out / "nifti").rglob("*.nii.gz"))
        zooms.append(sorted(nibabel.load(first).header.get_zooms()[:2]))
    square, wide = zooms
    assert square[0] == square[1]
    assert wide[1] == 2 * wide[0]


def test_impossible_phantoms_are_a_usage_error(call_main, tmp_path):
    done = call_main("phantom", "-o", str(tmp_path), "--slices", "1")
    assert done.code == 2
    assert "slices" in done.err


def test_data_without_kagglehub_names_the_package(call_main, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    done = call_main("data", "-o", str(tmp_path / "data"))
    assert done.code == 6
    assert done.err.startswith("lgg-train: kagglehub is not installed; pip install")


def run_apart(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_without_torch_training_names_the_package(tmp_path):
    options = ["train", "--data", str(tmp_path), "-o", str(tmp_path / "run"), "--epochs", "1"]
    done = run_apart(
        "import sys; sys.modules['torch'] = None\n"
        f"sys.argv = ['lgg-train', *{options}]\n"
        "from lgg_train.cli import main; main()"
    )
    assert done.returncode == 6
    assert done.stderr == "lgg-train: torch is not installed; pip install 'lgg-edge[train]'\n"


def test_the_version_is_told_before_anything_heavy_is_loaded():
    done = run_apart(
        "import sys; sys.modules['torch'] = sys.modules['cv2'] = sys.modules['numpy'] = None\n"
        "sys.argv = ['lgg-train', '--version']\n"
        "from lgg_train.cli import main; main()"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("lgg-train, version ")


@pytest.mark.parametrize("value", ["-1", str(2**63)])
@pytest.mark.parametrize("option", ["--seed", "--split-seed"])
def test_a_seed_that_no_generator_takes_is_a_usage_error(call_main, tmp_path, option, value):
    done = call_main(
        "train", "--data", "d", "-o", str(tmp_path / "r"), "--epochs", "1", option, value
    )
    assert done.code == 2
    assert f"{option}" in done.err and f"{value} is not in the range" in done.err


@pytest.mark.parametrize("form", ["nifti", "tiff"])
@pytest.mark.parametrize("option", ["--gap", "--reversed"])
def test_dicom_s_options_of_a_phantom_are_refused_for_others(call_main, tmp_path, option, form):
    done = call_main("phantom", "-o", str(tmp_path / "p"), "--format", form, option)
    assert done.code == 2
    assert "--gap and --reversed: for --format dicom" in done.err
    assert not (tmp_path / "p").exists()


def test_a_gap_is_between_slices(call_main, tmp_path):
    few = ("phantom", "-o", str(tmp_path / "p"), "--format", "dicom", "--patients", "1")
    done = call_main(*few, "--gap", "--slices", "3")
    assert done.code == 2 and "--gap: expected at least 4 slices" in done.err
    assert not (tmp_path / "p").exists()
    assert call_main(*few, "--gap", "--slices", "4").code == 0
