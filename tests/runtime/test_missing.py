"""What keeps a GPU provider from running, one line each with the command that mends it."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from lgg_runtime.backends import missing
from lgg_runtime.errors import ProviderError
from stand_ins.cuda import StandInDriver
from stand_ins.onnxruntime_gpu import StandInOnnxRuntime

CPU_ONLY = SimpleNamespace(get_available_providers=lambda: ["CPUExecutionProvider"])


def test_the_cpu_package_in_place_of_the_gpus_is_missing_for_tensorrt_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(missing, "installed_packages", lambda: {"onnxruntime": "1.32.0"})
    with pytest.raises(ProviderError) as error:
        missing.require_provider("tensorrt", CPU_ONLY)
    assert str(error.value) == (
        "provider tensorrt: onnxruntime-gpu is missing (installed: onnxruntime 1.32.0); "
        "pip uninstall -y onnxruntime && pip install 'lgg-edge[gpu,tensorrt]'"
    )


def test_no_tensorrt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(missing, "find_driver", StandInDriver)
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(ProviderError, match=r"tensorrt is not installed.*lgg-edge\[tensorrt\]"):
        missing.require_provider("tensorrt", StandInOnnxRuntime())


def test_the_library_that_the_provider_links_to_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def load(path: str, mode: int) -> None:
        if path.endswith("libonnxruntime_providers_cuda.so"):
            raise OSError(
                "libcudnn.so.9: cannot open shared object file: No such file or directory"
            )

    monkeypatch.setattr(missing, "find_driver", StandInDriver)
    monkeypatch.setattr(missing.ctypes, "CDLL", load)
    runtime = StandInOnnxRuntime()
    runtime.__file__ = str(tmp_path / "__init__.py")
    (tmp_path / "capi").mkdir()
    for name in ("shared", "cuda"):
        (tmp_path / "capi" / f"libonnxruntime_providers_{name}.so").touch()
    with pytest.raises(ProviderError, match=r"cuda: libcudnn\.so\.9 is missing; pip install"):
        missing.require_provider("cuda", runtime)
    assert capsys.readouterr().out == ""
