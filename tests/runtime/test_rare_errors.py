"""Errors that no input alone brings about: memory that ends, files that change between two reads,
libraries that fail. A patched call stands for each.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import cv2
import numpy as np
import pytest

from lgg_runtime import backends
from lgg_runtime.backends import BackendSettings, GpuSettings, load_backend, onnx_session
from lgg_runtime.backends.cuda_driver import CudaDevice
from lgg_runtime.backends.within_memory import is_memory_limited
from lgg_runtime.errors import (
    InputError,
    ModelError,
    OutOfMemoryError,
    ProviderError,
    ResourceError,
    UsageError,
)
from lgg_runtime.loading import find_model
from lgg_runtime.readers import dicom_pixels
from lgg_runtime.readers.folder import list_studies
from lgg_runtime.writers import dicom_sc, dicom_seg, dicom_sr, images

pytest.importorskip("pydicom")
pytest.importorskip("highdicom")
pytest.importorskip("SimpleITK")

import pydicom

from lgg_runtime.readers import dicom
from lgg_runtime.readers.dicom import read_dicom
from lgg_runtime.volume import Volume
from lgg_runtime.writers.nifti import encode_nifti
from stand_ins.cuda import StandInDriver
from stand_ins.dicom_study import Study, reason
from stand_ins.results import found_in
from stand_ins.tensorrt import StandInTensorRT

CPU = BackendSettings("cpu", 1)


def fail_with(error: Exception) -> Callable[..., NoReturn]:
    def fail(*_arguments: Any, **_options: Any) -> NoReturn:
        raise error

    return fail


# What a library raises while a model is loaded, and what becomes of it.


def test_auto_that_can_start_nowhere_tells_every_reason(
    artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_path: Path, settings: BackendSettings) -> NoReturn:
        raise ProviderError(f"no {settings.provider} here")

    monkeypatch.setattr(backends, "_open", fail)
    with pytest.raises(
        ProviderError, match=r"^provider auto: no cuda here; no cpu here; no openvino here$"
    ):
        backends.open_backend(artifact, BackendSettings("auto", 1))
    monkeypatch.setattr(backends, "_open", fail_with(ProviderError("not here")))
    with pytest.raises(ProviderError, match=r"^provider auto: not here$"):
        load_backend(artifact, BackendSettings("auto", 1))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"device": -1}, "GPU -1: expected 0"),
        ({"memory_limit_mib": 0}, "expected at least 1"),
        ({"device": "0"}, "device '0': expected a whole number"),
        ({"memory_limit_mib": 0.5}, "memory_limit_mib 0.5: expected a whole number"),
        ({"cuda_graph": "no"}, "cuda_graph 'no': expected True or False"),
        ({"engine_cache": "cache"}, "engine_cache 'cache': expected a Path"),
        ({"tell": None}, "tell None: expected a function"),
    ],
)
def test_impossible_settings_of_a_gpu_are_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        GpuSettings(**options)


def test_a_model_that_does_not_fit_into_memory_is_exhausted_memory(
    artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail = fail_with(RuntimeError("std::bad_alloc"))
    runtime = onnx_session.import_onnxruntime()
    monkeypatch.setattr(runtime, "InferenceSession", fail)
    with pytest.raises(OutOfMemoryError, match="the memory does not suffice; free some, or take"):
        load_backend(artifact, CPU)


@pytest.mark.parametrize(("threads", "count"), [(1, 1), (1, 3), (2, 3)])
def test_a_run_that_does_not_fit_opens_the_session_again(
    artifact: Path, monkeypatch: pytest.MonkeyPatch, threads: int, count: int
) -> None:
    session = onnx_session.OnnxSession(artifact, BackendSettings("cpu", threads))
    slices = np.zeros((count, 16, 16, 3), np.uint8)
    full = SimpleNamespace(run=fail_with(MemoryError()))
    monkeypatch.setitem(session._sessions, 1, full)
    with pytest.raises(
        OutOfMemoryError, match="the memory does not suffice; give fewer or smaller"
    ):
        session.run(slices)
    assert session.run(slices).shape == (count, 16, 16)


def test_a_run_for_whose_threads_the_memory_does_not_suffice_says_so(
    artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = onnx_session.OnnxSession(artifact, BackendSettings("cpu", 2))
    monkeypatch.setattr("mmap.mmap", fail_with(MemoryError()))
    with pytest.raises(ResourceError, match="does not suffice for a thread"):
        session.run(np.zeros((2, 16, 16, 3), np.uint8))


def test_without_the_module_of_limits_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "resource", None)  # as on Windows
    assert not is_memory_limited()


@pytest.mark.parametrize("step", ["convert", "compile_model"])
def test_what_openvino_refuses_is_said_in_its_last_line(
    artifact: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    pytest.importorskip("openvino")
    from lgg_runtime.backends.openvino_core import import_openvino

    library = import_openvino()
    owner = library.frontend.FrontEnd if step == "convert" else library.Core
    monkeypatch.setattr(owner, step, fail_with(RuntimeError("in a.cpp:1:\nno such operator")))
    with pytest.raises(ModelError, match=r"^tiny\.onnx: OpenVINO refuses it: no such operator$"):
        load_backend(artifact, BackendSettings("openvino", 1))


@pytest.mark.parametrize(
    ("name", "remedy"), [("tiny-int8", r"; .*take --provider cpu or an fp32 model"), ("tiny", "")]
)
def test_an_int8_model_that_openvino_does_not_compile_as_on_arm_has_a_remedy(
    monkeypatch: pytest.MonkeyPatch, name: str, remedy: str
) -> None:
    pytest.importorskip("openvino")
    from lgg_runtime.backends.openvino_core import import_openvino

    failing = fail_with(RuntimeError("in a.cpp:1:\nCheck failed"))
    monkeypatch.setattr(import_openvino().Core, "compile_model", failing)
    told = rf"^{name}\.onnx: OpenVINO refuses it: Check failed{remedy}$"
    with pytest.raises(ModelError, match=told):
        load_backend(find_model(name), BackendSettings("openvino", 1))


def test_an_engine_without_memory_for_its_context_is_exhausted_memory() -> None:
    from lgg_runtime.backends.engine import _Engine

    module = StandInTensorRT()
    loaded = SimpleNamespace(create_execution_context=lambda: None)
    module.Runtime = lambda _log: SimpleNamespace(deserialize_cuda_engine=lambda _data: loaded)
    with pytest.raises(OutOfMemoryError, match=r"^m\.engine: the GPU's memory does not suffice"):
        _Engine("m.engine", module, b"", CudaDevice(StandInDriver()))


def test_a_call_that_the_driver_refuses_is_named() -> None:
    driver = StandInDriver()
    driver.cuDevicePrimaryCtxRetain = lambda *_arguments: 1
    with pytest.raises(ProviderError, match="cuDevicePrimaryCtxRetain: CUDA_ERROR_INVALID_VALUE"):
        CudaDevice(driver)


# Studies that change, vanish or surprise pydicom between two reads of one file.


@pytest.mark.parametrize(
    ("place", "error", "told"),
    [
        ("_read_study", KeyError("x"), "a DICOM header of it is damaged"),
        ("_refuse_cut", ValueError("x"), "{file}: its DICOM header is cut short or damaged"),
        ("read_frames", ValueError("x"), "{file}: its DICOM header is cut short or damaged"),
    ],
)
def test_what_pydicom_raises_late_is_a_damaged_header(
    study: Study, monkeypatch: pytest.MonkeyPatch, place: str, error: Exception, told: str
) -> None:
    monkeypatch.setattr(dicom, place, fail_with(error))
    assert reason(study) == told.format(file=study.files[0].name)


@pytest.mark.parametrize(
    "error", [MemoryError(), AssertionError("ours")], ids=["memory", "a defect of our own"]
)
@pytest.mark.parametrize(("module", "part"), [(np, "stack"), (dicom, "read_frames")])
def test_what_no_header_causes_is_not_called_a_damaged_header(
    study: Study, monkeypatch: pytest.MonkeyPatch, module: Any, part: str, error: Exception
) -> None:
    """MemoryError ends a command with exit code 7."""
    monkeypatch.setattr(module, part, fail_with(error))
    with pytest.raises(type(error)):
        read_dicom(study.files)


def test_memory_that_ends_in_a_header_is_not_called_damage(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pydicom, "dcmread", fail_with(MemoryError()))
    assert reason(study) == f"{study.files[0].name}: the memory does not suffice for its header"


def test_a_file_that_cannot_be_read_a_second_time_is_named(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(study.files[0], study.folder / "zz")
    monkeypatch.setattr(dicom, "digest_file", fail_with(OSError(5, "Input/output error")))
    assert reason(study) == "zz: cannot be read: Input/output error"


@pytest.mark.parametrize("keyword", ["ImagePositionPatient", "RescaleSlope"])
def test_a_value_that_is_not_of_its_kind_is_named(
    study: Study, monkeypatch: pytest.MonkeyPatch, keyword: str
) -> None:
    real = pydicom.Dataset.get

    def get(data: Any, name: Any, *default: Any) -> Any:
        if name == keyword:
            raise ValueError("not of its kind")
        return real(data, name, *default)

    monkeypatch.setattr(pydicom.Dataset, "get", get)
    assert reason(study).endswith(f": {keyword} is not of its kind; export the study again")


def test_a_study_of_too_many_voxels_is_refused_before_it_is_decoded(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dicom_pixels, "MAX_VOXELS", 1000)
    assert reason(study).endswith("6 x 32 x 32 voxels; at most 1000 are read")


@pytest.mark.parametrize(
    ("pixels", "told"),
    [
        (RecursionError(), "sequences are nested too deeply; refused"),
        (MemoryError(), "the memory does not suffice for its pixels"),
        (np.zeros((31, 32), np.uint16), "expected 32 x 32 pixels, decoded (31, 32)"),
    ],
)
def test_pixels_that_are_not_those_of_the_header_are_refused(
    study: Study, monkeypatch: pytest.MonkeyPatch, pixels: Any, told: str
) -> None:
    def decode(_data: Any, **_options: Any) -> Any:
        if isinstance(pixels, Exception):
            raise pixels
        return [pixels]

    monkeypatch.setattr(pydicom.pixels, "iter_pixels", decode)
    assert reason(study).endswith(f": {told}")


def test_a_file_in_a_folder_that_cannot_be_listed_is_taken_alone(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "iterdir", fail_with(PermissionError(13, "Permission denied")))
    listing = list_studies(source / "a" / "a_1.png")
    assert [path.name for study in listing.studies for path in study.files] == ["a_1.png"]


# Results that cannot become files.


@pytest.mark.parametrize(
    ("module", "part", "told"),
    [
        (dicom_seg, "equipment", "its headers are not fit for a DICOM SEG to refer to"),
        (dicom_sr, "_report", "its headers are not fit for a DICOM SR to refer to"),
        (dicom_sc, "_capture", "its headers are not fit for a secondary capture"),
    ],
)
def test_headers_that_highdicom_refuses_are_an_error_of_the_study(
    study: Study, monkeypatch: pytest.MonkeyPatch, module: Any, part: str, told: str
) -> None:
    result = found_in(read_dicom(study.files))
    monkeypatch.setattr(module, part, fail_with(ValueError("a patient's name")))
    encode = getattr(module, f"encode_{module.__name__.rpartition('.')[2]}")
    with pytest.raises(InputError) as refused:
        encode(result)
    assert str(refused.value) == told


@pytest.mark.parametrize(
    ("module", "part"),
    [(dicom_seg, "equipment"), (dicom_sr, "_report"), (dicom_sc, "_capture")],
)
def test_memory_that_ends_while_an_object_is_built_is_not_blamed_on_the_headers(
    study: Study, monkeypatch: pytest.MonkeyPatch, module: Any, part: str
) -> None:
    result = found_in(read_dicom(study.files))
    monkeypatch.setattr(module, part, fail_with(MemoryError()))
    with pytest.raises(MemoryError):
        getattr(module, f"encode_{module.__name__.rpartition('.')[2]}")(result)


def test_a_volume_without_a_place_or_from_no_dicom_file_gives_no_such_object() -> None:
    pixels = np.zeros((2, 16, 16, 3), np.uint8)
    result = found_in(Volume(pixels))
    with pytest.raises(InputError, match="no position and orientation, so no NIfTI"):
        encode_nifti(result)
    with pytest.raises(InputError, match="not read from DICOM"):
        dicom_seg.encode_dicom_seg(result)


def test_a_picture_that_opencv_cannot_encode_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "imencode", lambda *_arguments: (False, None))
    with pytest.raises(ResourceError, match=r"OpenCV cannot encode \.png of \(16, 16\)"):
        images._encode(".png", np.zeros((16, 16), np.uint8))
