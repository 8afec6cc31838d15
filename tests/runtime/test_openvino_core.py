"""OpenVINO itself: what it says, and what it does beside the networks."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lgg_runtime.backends import openvino_core
from lgg_runtime.backends.openvino_core import import_openvino, last_line
from lgg_runtime.errors import UsageError

if importlib.util.find_spec("openvino") is None:
    pytest.skip("pip install 'lgg-edge[openvino]'", allow_module_level=True)


def test_of_what_openvino_says_the_last_line_is_told_and_no_more_than_a_line_holds() -> None:
    assert last_line(RuntimeError("at core.cpp:1\n  Device CPU is not registered \n\n")) == (
        "Device CPU is not registered"
    )
    assert last_line(RuntimeError(" \n")) == "RuntimeError"
    assert last_line(RuntimeError("x" * 300)) == "x" * 200


def test_loading_openvino_reports_to_nobody(tmp_path: Path) -> None:
    code = (
        "import sys; from lgg_runtime.backends.openvino_core import import_openvino;"
        "import_openvino(); print('openvino_telemetry' in sys.modules, "
        "'openvino.tools.ovc' in sys.modules)"
    )
    home = os.environ | {"HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=home, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False", "False"]
    assert list(tmp_path.iterdir()) == []


def test_the_conversion_tools_that_a_program_has_loaded_stay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "openvino.tools.ovc", sys)
    import_openvino()
    assert sys.modules["openvino.tools.ovc"] is sys


# In place of the real tools, which report their use.
ASKS_FOR_CONVERTER = """
import sys
from types import SimpleNamespace
from lgg_runtime.backends.openvino_core import import_openvino

library = import_openvino()
sys.modules["openvino.tools.ovc"] = SimpleNamespace(convert_model="loaded")
from openvino import convert_model
print(convert_model, hasattr(library, "nonsense"))
"""


def test_a_name_that_openvino_lacks_is_told_as_of_any_module() -> None:
    with pytest.raises(AttributeError, match=r"^module 'openvino' has no attribute 'nonsense'$"):
        openvino_core._load_converter("nonsense")


def test_a_program_that_asks_openvino_for_its_converter_gets_it() -> None:
    command = [sys.executable, "-c", ASKS_FOR_CONVERTER]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["loaded", "False"], done.stderr


DROPPED_ELSEWHERE = """
import signal, sys, threading
from pathlib import Path
from queue import SimpleQueue
from lgg_runtime.backends import BackendSettings, load_backend

held = [load_backend(Path(sys.argv[1]), BackendSettings("openvino", 1))]
thread = threading.Thread(target=held.clear)
thread.start()
thread.join()
signal.signal(signal.SIGTERM, lambda *_: print("handled"))
signal.raise_signal(signal.SIGTERM)
"""


# A network that was let go leaves its threads to the next one, and none of them outlives a fork.
FORKED = """if True:
    import os, signal, sys, numpy
    from lgg_runtime import LggError, LoadSettings, Segmenter
    settings = LoadSettings(provider="openvino", threads=1)
    Segmenter.load(sys.argv[1], settings).segment(numpy.ones((16, 16, 3)))
    if os.fork():
        print(os.wait()[1])
    else:
        signal.alarm(20)
        try:
            Segmenter.load(sys.argv[1], settings)
        except LggError as error:
            print(type(error).__name__, error, flush=True)
"""


def test_a_process_that_was_forked_after_openvino_began_is_told_and_ends(artifact: Path) -> None:
    command = [sys.executable, "-c", FORKED, str(artifact)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    told, status = done.stdout.splitlines()
    assert told.startswith("UsageError OpenVINO began before this process was forked; fork first")
    assert status == "0"


def test_a_core_of_another_process_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino_core, "_make_core", lambda: (object(), os.getpid() + 1))
    with pytest.raises(UsageError, match="OpenVINO began before this process was forked"):
        openvino_core.open_core()


def test_a_signal_is_handled_after_another_thread_dropped_the_session(artifact: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", DROPPED_ELSEWHERE, artifact], capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "handled\n"), done.stderr
