"""What keeps a GPU provider from running, one line each with the command that mends it."""

import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace

import pytest

from lgg_runtime.backends import missing
from lgg_runtime.errors import ProviderError
from stand_ins.cuda import StandInDriver
from stand_ins.onnxruntime_gpu import StandInOnnxRuntime

CPU_ONLY = SimpleNamespace(get_available_providers=lambda: ["CPUExecutionProvider"])


def install(monkeypatch: pytest.MonkeyPatch, **packages: str) -> None:
    def version(name: str) -> str:
        try:
            return packages[name.replace("-", "_")]
        except KeyError:
            raise PackageNotFoundError(name) from None

    monkeypatch.setattr("importlib.metadata.version", version)


@pytest.mark.parametrize(("provider", "extras"), [("cuda", "gpu"), ("tensorrt", "gpu,tensorrt")])
def test_the_cpu_package_in_place_of_the_gpus(
    monkeypatch: pytest.MonkeyPatch, provider: str, extras: str
) -> None:
    install(monkeypatch, onnxruntime="1.32.0")
    with pytest.raises(ProviderError) as error:
        missing.require_provider(provider, CPU_ONLY)
    assert error.value.exit_code == 6
    assert str(error.value) == (
        f"provider {provider}: onnxruntime-gpu is missing (installed: onnxruntime 1.32.0); "
        f"pip uninstall -y onnxruntime && pip install 'lgg-edge[{extras}]'"
    )


def test_both_packages_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, onnxruntime="1.32.0", onnxruntime_gpu="1.32.0")
    with pytest.raises(ProviderError) as error:
        missing.require_provider("cuda", CPU_ONLY)
    assert str(error.value) == (
        "provider cuda: onnxruntime and onnxruntime-gpu are both installed and overwrite each "
        "other; pip uninstall -y onnxruntime onnxruntime-gpu && pip install 'lgg-edge[gpu]'"
    )


def test_no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lgg_runtime.backends.cuda_driver.LIBRARY", "libno-such-driver.so")
    with pytest.raises(ProviderError, match=r"cuda: libno-such-driver\.so is missing: no NVIDIA"):
        missing.require_provider("cuda", StandInOnnxRuntime())


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
