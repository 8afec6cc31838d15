"""Engines: compiled for real with TensorRT for RTX where it is installed, which needs no GPU; for
the data-centre library and for running them, against stand-ins with the same calls.
"""

import gc
import hashlib
import importlib.util
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from click.testing import CliRunner

from lgg_bench.slices import phantom_slices
from lgg_export import engine
from lgg_export.cli import command
from lgg_export.engine import EngineSettings, build_engine
from lgg_export.engine_profiles import make_profiles
from lgg_export.graph import build_graph
from lgg_export.quantise import TARGETS, Quantiser
from lgg_runtime.contract import METADATA_KEY
from lgg_runtime.errors import ModelError, ParityError, ProviderError, ResourceError, UsageError
from lgg_runtime.loading import SHIPPED, find_model
from lgg_runtime.sidecar import Profile, read_engine, sidecar_path
from lgg_train.trained import load_model
from stand_ins.artifacts import write_artifact
from stand_ins.cuda import StandInDriver
from stand_ins.tensorrt import StandInTensorRT

needs_rtx = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None,
    reason="tensorrt_rtx is not installed; pip install 'lgg-edge[tensorrt-rtx]'",
)
RTX = EngineSettings("tensorrt-rtx")
DATA_CENTRE = EngineSettings("tensorrt")
SHIPPED_RUN = Path(__file__).parents[2] / "train" / "shipped" / "standard"
# int8 for CPUs is not int8 for TensorRT, see test_int8.
IN_FLOAT = [name for name in SHIPPED if "int8" not in name]


@needs_rtx
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_rtx_compiles_each_precision_without_a_gpu_and_the_sidecar_says_everything(
    tmp_path: Path, precision: str
) -> None:
    model, output = tmp_path / "m.onnx", tmp_path / "m.engine"
    contract = write_artifact(model, precision)

    sidecar = build_engine(model, output, EngineSettings("tensorrt-rtx", ("SM86", "SM120")))

    data, read = read_engine(output)
    assert read == sidecar
    key = read.key
    assert key.engine_sha256 == hashlib.sha256(data).hexdigest()
    assert key.model_sha256 == hashlib.sha256(model.read_bytes()).hexdigest()
    assert key.compute_capabilities == ("SM86", "SM120")
    assert (key.library, key.precision, key.driver) == ("tensorrt-rtx", precision, "")
    assert key.library_version == importlib.import_module("tensorrt_rtx").__version__
    assert read.contract == contract
    assert [(t.name, t.mode, t.dtype, t.shape) for t in read.tensors] == [
        ("slices", "INPUT", "UINT8", (-1, -1, -1, 3)),
        ("probability", "OUTPUT", "FLOAT", (-1, -1, -1)),
    ]
    assert key.profiles == make_profiles(contract, 32, 512)
    assert read.golden_difference is None


@needs_rtx
@pytest.mark.parametrize("name", IN_FLOAT)
def test_rtx_compiles_every_shipped_model(tmp_path: Path, name: str) -> None:
    sidecar = build_engine(find_model(name), tmp_path / "m.engine", RTX)
    assert [t.dtype for t in sidecar.tensors] == ["UINT8", "FLOAT"]
    assert len(sidecar.key.profiles) == 3


@needs_rtx
@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_rtx_compiles_the_shipped_network_in_lower_precisions(
    tmp_path: Path, precision: str
) -> None:
    if precision == "int8":
        exact = onnx.load(str(find_model("standard")))
        graph = Quantiser(exact, [phantom_slices(2, 64)], TARGETS["tensorrt"], tmp_path).build()
    else:
        graph = build_graph(load_model(SHIPPED_RUN).network, torch.float16)
    contract = write_artifact(tmp_path / "other.onnx", precision)
    onnx.helper.set_model_props(graph, {METADATA_KEY: contract.dumps()})
    onnx.save(graph, str(tmp_path / "m.onnx"))
    sidecar = build_engine(tmp_path / "m.onnx", tmp_path / "m.engine", RTX)
    assert sidecar.key.precision == precision
    assert [(t.name, t.dtype) for t in sidecar.tensors] == [
        ("slices", "UINT8"),
        ("probability", "FLOAT"),
    ]
    assert sidecar.key.profiles == make_profiles(contract, 32, 512)
    sizes = [(tmp_path / name).stat().st_size for name in ("m.engine", "m.onnx")]
    assert sizes[0] > sizes[1] / 2  # the weights are in it


@needs_rtx
def test_an_unknown_compute_capability_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    model = tmp_path / "m.onnx"
    write_artifact(model)
    with pytest.raises(UsageError, match=r"SM90: expected one of .*SM86"):
        build_engine(model, tmp_path / "m.engine", EngineSettings("tensorrt-rtx", ("SM90",)))


@needs_rtx
def test_a_model_that_the_library_does_not_take_is_refused_and_nothing_is_written(
    tmp_path: Path,
) -> None:
    model = tmp_path / "m.onnx"
    write_artifact(model, "int8")
    graph = onnx.load(str(model))
    for tensor in graph.graph.initializer:  # asymmetric activations, as CPUs like them
        if tensor.name == "zero":
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.array(5, np.int8), "zero"))
    model.write_bytes(graph.SerializeToString())
    with pytest.raises(ModelError, match="tensorrt-rtx does not take it"):
        build_engine(model, tmp_path / "m.engine", RTX)
    assert [p.name for p in tmp_path.iterdir()] == ["m.onnx"]


def test_the_data_centre_library_compiles_for_its_gpu_and_proves_the_engine(
    tmp_path: Path,
) -> None:
    model, output = tmp_path / "m.onnx", tmp_path / "m.engine"
    write_artifact(model)
    module, driver = StandInTensorRT(), StandInDriver((9, 0))

    sidecar = build_engine(model, output, DATA_CENTRE, module, driver)

    assert sidecar.key.compute_capabilities == ("SM90",)
    assert sidecar.key.driver.endswith("CUDA 13.0")
    assert sidecar.golden_difference is not None
    assert sidecar.golden_difference < 1e-5
    assert module.last_config.cleared == [module.BuilderFlag.TF32]
    assert read_engine(output)[1] == sidecar
    gc.collect()
    taken, given_back = (
        driver.calls.count(f"cuDevicePrimaryCtx{call}") for call in ("Retain", "Release_v2")
    )
    assert taken == given_back > 0


def test_a_full_folder_of_temporary_files_is_named(
    tmp_path: Path, small_disk: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, full = tmp_path / "m.onnx", small_disk(4096)
    write_artifact(model)
    monkeypatch.setattr(tempfile, "tempdir", str(full))
    told = rf"^{full} \(TMPDIR\): the disk is full; free some space$"
    with pytest.raises(ResourceError, match=told):
        build_engine(model, tmp_path / "m.engine", DATA_CENTRE, StandInTensorRT(), StandInDriver())
    assert list(full.iterdir()) == list(tmp_path.glob("*.engine")) == []


def test_an_engine_that_answers_the_golden_input_wrongly_is_not_written(tmp_path: Path) -> None:
    model, output = tmp_path / "m.onnx", tmp_path / "m.engine"
    write_artifact(model, golden_shift=0.1)
    with pytest.raises(ParityError, match=r"differs by 0\.1"):
        build_engine(model, output, DATA_CENTRE, StandInTensorRT(), StandInDriver())
    assert not output.exists()
    assert not sidecar_path(output).exists()


@pytest.mark.parametrize("cache", ["gone/timing.cache", "."])
def test_a_timing_cache_that_cannot_be_kept_is_told_before_minutes_of_compiling(
    tmp_path: Path, cache: str
) -> None:
    model = tmp_path / "m.onnx"
    write_artifact(model)
    module = StandInTensorRT()
    settings = EngineSettings("tensorrt", timing_cache=tmp_path / cache)
    with pytest.raises(ResourceError, match="cannot be written"):
        build_engine(model, tmp_path / "m.engine", settings, module, StandInDriver())
    assert module.last_config is None


def test_a_folder_that_is_not_there_is_told_before_anything_is_compiled(tmp_path: Path) -> None:
    model = tmp_path / "m.onnx"
    write_artifact(model)
    module = StandInTensorRT()
    with pytest.raises(ResourceError, match=r"m\.engine: cannot be written: no folder"):
        build_engine(model, tmp_path / "gone" / "m.engine", DATA_CENTRE, module, StandInDriver())
    assert module.last_config is None


def give_a_second_contract(model: Path) -> None:
    graph = onnx.load(str(model))
    first = graph.metadata_props[0]
    assert first.key == METADATA_KEY
    graph.metadata_props.add(key=first.key, value=first.value.replace("stand-in", "other"))
    model.write_bytes(graph.SerializeToString())


def become_a_pipe(model: Path) -> None:
    model.unlink()
    os.mkfifo(model)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (give_a_second_contract, r"m\.onnx: an entry of its metadata stands twice"),
        (become_a_pipe, r"m\.onnx: no such model"),
    ],
)
def test_what_the_runtime_refuses_is_not_compiled(tmp_path: Path, spoil, reason: str) -> None:
    model = tmp_path / "m.onnx"
    write_artifact(model)
    spoil(model)
    module = StandInTensorRT()
    with pytest.raises(ModelError, match=reason):
        build_engine(model, tmp_path / "m.engine", DATA_CENTRE, module, StandInDriver())
    assert module.last_config is None
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]


def test_what_is_compiled_is_the_file_whose_contract_was_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tmp_path / "m.onnx"
    contract = write_artifact(model)
    digest = hashlib.sha256(model.read_bytes()).hexdigest()

    def import_library(_name: str) -> StandInTensorRT:
        write_artifact(model, "fp16")  # exported again meanwhile
        return StandInTensorRT()

    monkeypatch.setattr(engine, "import_library", import_library)
    sidecar = build_engine(model, tmp_path / "m.engine", DATA_CENTRE, driver=StandInDriver())
    assert (sidecar.contract, sidecar.key.model_sha256) == (contract, digest)


def test_the_data_centre_library_without_a_gpu_names_the_driver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lgg_runtime.backends.cuda_driver.LIBRARY", "libno-such-driver.so")
    model = tmp_path / "m.onnx"
    write_artifact(model)
    with pytest.raises(ProviderError, match=r"libno-such-driver.so is missing.*tensorrt-rtx"):
        build_engine(model, tmp_path / "m.engine", DATA_CENTRE, StandInTensorRT())
    assert not (tmp_path / "m.engine").exists()


def test_workspace_and_timing_cache_reach_the_library(tmp_path: Path) -> None:
    model, cache = tmp_path / "m.onnx", tmp_path / "timing.cache"
    write_artifact(model)
    module = StandInTensorRT()
    settings = EngineSettings("tensorrt", workspace_mib=64, timing_cache=cache)
    for written in (b"timed;", b"timed;timed;"):
        sidecar = build_engine(model, tmp_path / "m.engine", settings, module, StandInDriver())
        assert cache.read_bytes() == written
    assert sidecar.key.workspace_bytes == 64 * 2**20
    assert module.last_config.pools == {module.MemoryPoolType.WORKSPACE: 64 * 2**20}


def test_a_timing_cache_of_another_gpu_is_refused(tmp_path: Path) -> None:
    model, cache = tmp_path / "m.onnx", tmp_path / "timing.cache"
    write_artifact(model)
    cache.write_bytes(b"of another GPU")
    settings = EngineSettings("tensorrt", timing_cache=cache)
    with pytest.raises(UsageError, match=r"timing\.cache"):
        build_engine(model, tmp_path / "m.engine", settings, StandInTensorRT(), StandInDriver())


@needs_rtx
def test_a_workspace_that_is_too_small_is_said_with_the_remedy(tmp_path: Path) -> None:
    settings = EngineSettings("tensorrt-rtx", workspace_mib=16)
    with pytest.raises(ResourceError, match="a larger --workspace"):
        build_engine(find_model("lite"), tmp_path / "m.engine", settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"library": "openvino"}, "expected tensorrt or tensorrt-rtx"),
        ({"library": "tensorrt", "compute_capabilities": ("SM86",)}, "leave it out"),
        ({"library": "tensorrt-rtx", "timing_cache": Path("t")}, "leave it out"),
        ({"size": 300}, "steps of 16"),
        ({"size": 128}, "from 256"),
    ],
)
def test_impossible_settings_are_usage_errors(settings: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        EngineSettings(**settings)


def test_profiles_hold_what_the_runtime_runs(tmp_path: Path) -> None:
    contract = write_artifact(tmp_path / "m.onnx")
    one, many, large = make_profiles(contract, batch=32, size=512)
    assert one == Profile((1, 16, 16, 3), (1, 256, 256, 3), (1, 512, 512, 3))
    assert many == Profile((1, 16, 16, 3), (32, 256, 256, 3), (32, 256, 256, 3))
    assert large == Profile((1, 16, 16, 3), (8, 512, 512, 3), (8, 512, 512, 3))
    assert len(make_profiles(contract, batch=1, size=256)) == 2
    *_, fewest = make_profiles(contract, batch=2, size=1024)
    assert fewest == Profile((1, 16, 16, 3), (1, 1024, 1024, 3), (1, 1024, 1024, 3))


@needs_rtx
def test_the_command_compiles_and_inspect_reads_the_sidecar(tmp_path: Path) -> None:
    model, output = tmp_path / "m.onnx", tmp_path / "m.engine"
    write_artifact(model)
    arguments = [str(model), "-o", str(output), "--format", "tensorrt-rtx"]
    result = CliRunner().invoke(command, [*arguments, "--compute-capability", "SM86"])
    assert result.exit_code == 0, result.output
    shown = CliRunner().invoke(command, ["inspect", str(output)])
    assert "runs on              SM86" in shown.output
    assert "1x16x16x3 .. 32x256x256x3" in shown.output
    shutil.copy(output, tmp_path / "alone.engine")
    refused = CliRunner().invoke(command, ["inspect", str(tmp_path / "alone.engine")])
    assert isinstance(refused.exception, ModelError)
