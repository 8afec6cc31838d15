"""lgg-export as the shell sees it: exit codes, and what it prints."""

import json
import subprocess
import sys

import onnx
import pytest

from lgg_export.artifact import read_contract
from lgg_export.limits import LIMITS
from lgg_export.parity import Limits
from lgg_runtime.contract import METADATA_KEY, TRAINED_PIXEL_MM, Contract
from lgg_runtime.loading import SHIPPED, find_model


@pytest.mark.parametrize("words", [(), ("run",)])
def test_a_run_is_exported_by_default_and_its_parity_told(
    call_main, finished_run, tmp_path, ready_graph, words
):
    path = tmp_path / "model.onnx"
    done = call_main(*words, finished_run, "-o", path, "--name", "mine")
    assert done.code == 0, done.err
    assert done.out.startswith(f"{path}: fp32, ")
    assert "Parity with PyTorch on 1 validation patient (6 slices)" in done.out
    assert "not for diagnosis" in done.out
    assert read_contract(path).name == "mine"


@pytest.mark.parametrize(("options", "is_shown"), [((), True), (("--no-progress",), False)])
def test_the_gate_s_progress_is_shown_on_a_terminal_that_wants_it(
    call_main, finished_run, tmp_path, ready_graph, monkeypatch, options, is_shown
):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    done = call_main(finished_run, "-o", tmp_path / "model.onnx", *options)
    assert done.code == 0, done.err
    assert ("parity: 0patient [" in done.err) == is_shown


def test_options_may_come_first_and_a_model_is_named_after_its_run(
    call_main, finished_run, tmp_path, ready_graph
):
    done = call_main("-o", tmp_path / "model.onnx", finished_run)
    assert done.code == 0, done.err
    contract = read_contract(tmp_path / "model.onnx")
    assert (contract.name, contract.pixel_mm) == (finished_run.name, TRAINED_PIXEL_MM)


def test_the_size_of_training_pixels_stands_in_the_contract(
    call_main, finished_run, tmp_path, ready_graph
):
    path = tmp_path / "model.onnx"
    done = call_main(finished_run, "-o", path, "--pixel-mm", "0.5")
    assert done.code == 0, done.err
    assert read_contract(path).pixel_mm == 0.5
    assert "pixels of 0.5 mm" in call_main("inspect", path).out


def test_the_weights_licence_stands_in_the_contract(call_main, finished_run, tmp_path, ready_graph):
    path = tmp_path / "model.onnx"
    done = call_main(finished_run, "-o", path, "--licence", "CC BY-NC 4.0")
    assert done.code == 0, done.err
    assert read_contract(path).licence == "CC BY-NC 4.0"
    assert "licence              CC BY-NC 4.0\n" in call_main("inspect", path).out


@pytest.mark.parametrize(
    "words",
    [("-o", "m.engine", "m.onnx"), ("--batch=4", "m.onnx", "-o", "m.engine")],
)
def test_of_an_artifact_an_engine_is_made_whatever_comes_first(call_main, words):
    done = call_main(*words)
    assert done.code == 2
    assert done.err.startswith("Usage: lgg-export engine")


@pytest.mark.parametrize(
    ("name", "told"),
    [("run", "Error: Missing argument 'RUN'."), ("inspect", "Error: No such option")],
)
def test_a_run_s_folder_called_as_a_command_is_told_how_to_be_given(
    call_main, tmp_path, monkeypatch, name, told
):
    monkeypatch.chdir(tmp_path)
    done = call_main(name, "-o", "m.onnx")
    assert done.code == 2 and told in done.err and "./" not in done.err
    (tmp_path / name).mkdir()
    done = call_main(name, "-o", "m.onnx")
    assert done.code == 2 and told in done.err
    assert done.err.startswith(f"Usage: lgg-export {name} ")
    assert done.err.endswith(f" If '{name}' is meant as a path, give './{name}'.\n")


def test_a_timing_cache_is_refused_of_the_library_that_times_nothing(call_main):
    done = call_main(
        "m.onnx", "-o", "m.engine", "--format", "tensorrt-rtx", "--timing-cache", "m.timings"
    )
    assert done.code == 2
    assert done.err == (
        "lgg-export: --timing-cache: tensorrt-rtx times nothing at build; leave it out\n"
    )


@pytest.mark.parametrize("words", [("-o", "m.onnx"), ("--output", "m.onnx"), ("--output=m.onnx",)])
def test_an_artifact_s_name_as_an_option_s_value_makes_no_engine(call_main, tmp_path, words):
    done = call_main(*words, tmp_path / "gone")
    assert done.code == 3
    assert done.err == f"lgg-export: {tmp_path / 'gone'}: no such folder\n"


def test_a_failed_gate_exits_9_and_leaves_the_older_artifact(
    call_main, finished_run, tmp_path, ready_graph, monkeypatch
):
    monkeypatch.setitem(LIMITS, "fp32", Limits(-1, 1, 1))
    path = tmp_path / "model.onnx"
    path.write_bytes(b"older")
    done = call_main(finished_run, "-o", path)
    assert done.code == 9
    assert done.out == ""
    (line,) = done.err.splitlines()
    assert line.startswith("lgg-export: model.onnx is not written: probability difference")
    assert path.read_bytes() == b"older"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--precision", "int4"), "--precision"),
        (("--target", "tensorrt"), "is for --precision int8"),
        (("--licence", "one\ntwo"), r"--licence 'one\ntwo': expected"),
        (("--pixel-mm", "nan"), "--pixel-mm nan: expected from 0.05 to 20"),
    ],
)
def test_impossible_options_exit_2(call_main, finished_run, tmp_path, options, named):
    done = call_main(finished_run, "-o", tmp_path / "model.onnx", *options)
    assert done.code == 2
    assert named in done.err
    assert not list(tmp_path.iterdir())


def test_the_help_says_what_the_gate_runs_on_where_the_data_are_gone(call_main):
    told = " ".join(call_main("run", "--help").out.split())
    assert "[default: the run's own; phantoms where it is not there]" in told


def test_a_missing_output_exits_2(call_main, finished_run):
    assert call_main(finished_run).code == 2


def test_a_run_that_is_not_there_exits_3_though_its_artifact_should_go_into_it(call_main, tmp_path):
    done = call_main(tmp_path / "gone", "-o", tmp_path / "gone" / "model.onnx")
    assert done.code == 3
    assert "gone: no such folder" in done.err


def test_inspecting_prints_the_contract_for_a_person(call_main, exported):
    done = call_main("inspect", exported.path)
    assert done.code == 0, done.err
    assert "slices: uint8 [N, H, W, 3]" in done.out
    assert "research use only" in done.out


def test_inspecting_what_another_wrote_names_the_file(call_main, exported, tmp_path):
    model = onnx.load(str(exported.path))
    held = json.loads(model.metadata_props[0].value) | {"parity": {"subject": "x"}}
    onnx.helper.set_model_props(model, {METADATA_KEY: json.dumps(held)})
    (tmp_path / "foreign.onnx").write_bytes(model.SerializeToString())
    done = call_main("inspect", tmp_path / "foreign.onnx")
    assert done.code == 5
    assert "foreign.onnx: its metrics or parity are not an export's" in done.err


def test_inspecting_as_json_prints_the_contract_itself(call_main, exported):
    done = call_main("inspect", exported.path, "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out) == json.loads(exported.contract.dumps())


@pytest.mark.parametrize("name", SHIPPED)
def test_inspecting_a_shipped_model_s_name_prints_its_contract(call_main, name):
    done = call_main("inspect", name, "--json")
    assert done.code == 0, done.err
    assert Contract.loads(done.out) == read_contract(find_model(name))


def test_an_engine_is_known_by_its_suffix_in_capitals_too(call_main, tmp_path):
    (tmp_path / "M.ENGINE").write_bytes(b"code")
    done = call_main("inspect", tmp_path / "M.ENGINE")
    assert done.code == 5
    assert "M.ENGINE: its sidecar M.ENGINE.json cannot be read" in done.err


def run_apart(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_without_torch_exporting_names_the_package():
    done = run_apart(
        "import sys; sys.modules['torch'] = None\n"
        "sys.argv = ['lgg-export', 'run', 'folder', '-o', 'model.onnx']\n"
        "from lgg_export.cli import main; main()"
    )
    assert done.returncode == 6
    assert done.stderr == "lgg-export: torch is not installed; pip install 'lgg-edge[export]'\n"


def test_the_version_is_told_before_anything_heavy_is_loaded():
    done = run_apart(
        "import sys; sys.modules['torch'] = sys.modules['onnx'] = sys.modules['numpy'] = None\n"
        "sys.argv = ['lgg-export', '--version']\n"
        "from lgg_export.cli import main; main()"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("lgg-export, version ")
