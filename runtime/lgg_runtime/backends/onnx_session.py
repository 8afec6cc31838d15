"""ONNX artifacts through onnxruntime, on the provider that was asked for and no other."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Lock
from typing import Any

import numpy as np

from lgg_runtime.backends.acceptance import accept_artifact, require_probability
from lgg_runtime.backends.missing import NAMES, installed_packages
from lgg_runtime.backends.model_file import read_model
from lgg_runtime.backends.settings import BackendSettings
from lgg_runtime.backends.within_memory import is_memory_limited
from lgg_runtime.contract import INPUT, METADATA_KEY, OUTPUT, Contract
from lgg_runtime.errors import MissingExtraError, ModelError, OutOfMemoryError, first_line
from lgg_runtime.exhausted import SMALLER_INPUT, SMALLER_MODEL
from lgg_runtime.extras import reraise_signal
from lgg_runtime.volume import Pixels, Probability
from lgg_runtime.workers import Workers

MOST_STREAMS = 4

_EXHAUSTED = ("bad_alloc", "bad allocation", "failed to allocate", "bfc_arena",
              "failed to map segment", "cannot allocate memory", "can't alloc",
              "resource temporarily unavailable", "broken promise")  # fmt: skip
# Of its own source, with the function's whole signature, before the reason.
_PLACE = re.compile(r"/\S+\.(cc|h):\d+ .*?\) (?=\w)")
_OF_CPP = (RuntimeError, MemoryError, ValueError, IndexError, OverflowError, TypeError)
_ENGINES = ("onnxruntime.", "openvino.")
_TOO_LITTLE = "the memory does not suffice"


class OnnxSession:
    """A Backend over onnxruntime's sessions on the CPU.

    A slice for itself runs on all threads; several of them side by side, each on its share of the
    threads, which takes up to a sixth less time: no layer waits for the slowest thread. Whoever
    calls, no more threads compute than were asked for.

    Raises ModelError for a file that is no valid artifact.
    """

    provider = "cpu"
    device = "CPU"

    def __init__(self, path: Path, settings: BackendSettings):
        runtime = import_onnxruntime()
        self._open = partial(_open_for, runtime, path, read_model(path, settings.sha256))
        # Each stream takes memory of its own.
        most = 1 if is_memory_limited() else MOST_STREAMS
        self._threads, self._share = settings.threads, -(-settings.threads // most)
        self._streams = self._threads // self._share
        self._free = SimpleQueue[bool]()  # an entry for each stream; a semaphore breaks by a signal
        for _ in range(self._streams):
            self._free.put(True)
        self._pool = Workers(self._streams, "run")
        self._sessions: dict[int, Any] = {}  # by the number of their threads
        self._opening = Lock()  # two volumes that run at once would open a session each
        self.contract = read_contract(self._session(self._share), path)
        self.versions = {"onnxruntime": str(runtime.__version__)}

    def run(self, slices: Pixels) -> Probability:
        """As Backend.run. Raises OutOfMemoryError where the memory does not suffice; what the
        sessions held is freed then, so that fewer slices may fit.
        """
        try:
            probability: Probability = np.empty(slices.shape[:3], np.float32)
            run = partial(self._run_slice, slices, probability)
            if self._streams == 1:
                for index in range(len(slices)):
                    run(index)
            elif len(slices) > 1 or not self._run_on_all(slices, probability):
                self._pool.wait_for_all([self._pool.submit(run, i) for i in range(len(slices))])
        except Exception as error:
            # onnxruntime's exceptions share no base; the input's shape is ours, so only the graph
            # or its memory can be at fault.
            if not is_of_engine(error):
                raise
            if is_exhausted(error):
                self._sessions.clear()
                raise OutOfMemoryError(f"{_TOO_LITTLE}; {SMALLER_INPUT}") from error
            raise ModelError(f"the model cannot be run: {_last_words(error)}") from error
        return probability

    def share_threads(self, other: OnnxSession) -> None:
        """Compute in the threads of another session of the same settings, not beside them."""
        self._free = other._free

    def _run_on_all(self, slices: Pixels, into: Probability) -> bool:
        """One slice on all threads, unless a stream of them is taken."""
        taken: list[bool] = []
        # Both are one call each, without a step of Python's in which a signal would lose a stream.
        give_back = partial(any, map(self._free.put, taken))
        try:
            with contextlib.suppress(Empty):
                taken.extend(islice(iter(self._free.get_nowait, None), self._streams))
            if len(taken) == self._streams:
                _run_session(self._session(self._threads), slices, into)
            return len(taken) == self._streams
        finally:
            give_back()

    def _run_slice(self, slices: Pixels, into: Probability, index: int) -> None:
        """One of several slices, on a stream's share of the threads."""
        one = slice(index, index + 1)
        taken = self._free.get()
        try:
            _run_session(self._session(self._share), slices[one], into[one])
        finally:
            self._free.put(taken)

    def _session(self, threads: int) -> Any:
        with self._opening:
            session = self._sessions.get(threads) or self._open(threads)
            self._sessions[threads] = session
            return session


def _open_for(runtime: Any, path: Path, data: bytes, threads: int) -> Any:
    return open_session(runtime, path, data, make_options(runtime, threads))


def _run_session(session: Any, slices: Pixels, into: Probability) -> None:
    """Writes what is found in the slices; raises ModelError for what is no probability."""
    found = session.run([OUTPUT], {INPUT: slices})[0]
    require_probability(found, slices)
    into[:] = found


def import_onnxruntime(extras: str = "") -> Any:
    """The module. extras: those that install it, for a provider that no other would serve.

    Raises MissingExtraError, with the commands that mend it, where it is not installed or broken,
    OutOfMemoryError where the memory does not suffice for it.
    """
    # Official builds report their use to Microsoft, unless they are told before they are loaded.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    install = f"pip install 'lgg-edge[{extras or 'cpu'}]'" + ("" if extras else " (or [gpu])")
    failure: Exception | None = None
    try:
        import onnxruntime
    except Exception as error:
        # What is left of a package that was removed or overwritten fails in any way.
        reraise_signal(error)
        if is_exhausted(error):
            raise OutOfMemoryError(f"{_TOO_LITTLE}; {SMALLER_MODEL}") from error
        if isinstance(error, ModuleNotFoundError) and error.name == "onnxruntime":
            other = "" if extras or find_spec("openvino") is None else ", or --provider openvino"
            raise MissingExtraError(f"onnxruntime is not installed; {install}{other}") from error
        failure = error
    else:
        if hasattr(onnxruntime, "InferenceSession"):
            return onnxruntime
    reason = "its files are there in part" if failure is None else first_line(failure)
    held = " ".join(installed_packages()) or "onnxruntime"
    raise MissingExtraError(
        f"onnxruntime cannot be loaded: {reason}; mend it with two commands: "
        f"pip uninstall -y {held}; {install}"
    ) from failure


def _last_words(error: Exception) -> str:
    """What onnxruntime says without the place in its source, in a line of at most 200 letters."""
    return first_line(Exception(_PLACE.sub("", str(error))))


def is_exhausted(error: Exception) -> bool:
    """Whether onnxruntime or OpenVINO ran out of the host's memory, for which they have no
    exception of their own.
    """
    text = str(error).lower()
    return isinstance(error, MemoryError) or any(words in text for words in _EXHAUSTED)


def is_of_engine(error: Exception) -> bool:
    """Whether onnxruntime or OpenVINO may have raised it: a class of theirs, or what pybind11 makes
    of C++'s exceptions. Others come from elsewhere, as from the handler of a signal that ends a job
    at its time limit, and are no word on the model.
    """
    return isinstance(error, _OF_CPP) or type(error).__module__.startswith(_ENGINES)


@contextlib.contextmanager
def telling_engine_errors(
    too_little: str, refusal: str, words_of: Callable[[Exception], str]
) -> Iterator[None]:
    """Around calls of an engine. Raises OutOfMemoryError, which says `too_little`, where the memory
    ends, ModelError, `refusal: words`, for whatever else the engine raises; others pass.
    """
    try:
        yield
    except Exception as error:
        # The engines' exceptions share no base.
        if not is_of_engine(error):
            raise
        if is_exhausted(error):
            raise OutOfMemoryError(too_little) from error
        raise ModelError(f"{refusal}: {words_of(error)}") from error


def make_options(runtime: Any, threads: int) -> Any:
    """Session options that every provider shares."""
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Under a limit, an arena takes all of it, and a thread that finds none left ends the process.
    options.enable_cpu_mem_arena = not is_memory_limited()
    # Idle threads that spin take the cores from the stages beside the model: with a small network
    # a folder takes a third longer.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Else four letters in a file make it one of onnxruntime's own format, of another graph than
    # the one that was checked.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    options.log_severity_level = 4
    return options


def open_session(runtime: Any, path: Path, data: bytes, options: Any) -> Any:
    """A session on the CPU over the bytes that were checked. Raises ModelError for a file that
    onnxruntime does not take.
    """
    refusal = f"{path.name}: onnxruntime refuses it"
    with telling_engine_errors(f"{_TOO_LITTLE}; {SMALLER_MODEL}", refusal, _last_words):
        # Its own fallback would print to standard output and change the provider in a run.
        return runtime.InferenceSession(data, options, providers=[NAMES["cpu"]], enable_fallback=0)


def read_contract(session: Any, path: Path) -> Contract:
    """The contract in a session's metadata. Raises ModelError where it, or the graph's inputs and
    outputs, are not as they must be.
    """
    text = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    found = [
        (v.name, v.type, len(v.shape)) for v in (*session.get_inputs(), *session.get_outputs())
    ]
    return accept_artifact(path, text, found, ("tensor(uint8)", "tensor(float)"))
