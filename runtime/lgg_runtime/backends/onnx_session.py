"""ONNX artifacts through onnxruntime, on the provider that was asked for and no other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lgg_runtime.backends.missing import NAMES
from lgg_runtime.backends.settings import BackendSettings
from lgg_runtime.backends.signature import accept_artifact, first_line, require_probability
from lgg_runtime.contract import INPUT, METADATA_KEY, OUTPUT, Contract
from lgg_runtime.errors import MissingExtraError, ModelError
from lgg_runtime.volume import Pixels, Probability


class OnnxSession:
    """A Backend over one onnxruntime session on the CPU.

    Raises ModelError for a file that is no valid artifact.
    """

    provider = "cpu"
    device = "CPU"

    def __init__(self, path: Path, settings: BackendSettings):
        runtime = import_onnxruntime()
        options = make_options(runtime, settings.threads)
        self._session = open_session(runtime, path, options)
        self.contract = read_contract(self._session, path)
        self.versions = {"onnxruntime": str(runtime.__version__)}

    def run(self, slices: Pixels) -> Probability:
        try:
            probability: Probability = self._session.run([OUTPUT], {INPUT: slices})[0]
        except Exception as error:
            # As below; the shape of the input is ours, so what fails is the graph or its memory.
            raise ModelError(f"the model cannot be run: {first_line(error)}") from error
        require_probability(probability, slices)
        return probability


def import_onnxruntime() -> Any:
    """The module. Raises MissingExtraError where it is not installed."""
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtraError(
            "onnxruntime is not installed; pip install 'lgg-edge[cpu]' (or [gpu])"
        ) from error
    return onnxruntime


def make_options(runtime: Any, threads: int) -> Any:
    """Session options that every provider shares."""
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return options


def open_session(runtime: Any, path: Path, options: Any) -> Any:
    """A session on the CPU. Raises ModelError for a file that onnxruntime does not take."""
    try:
        # Its own fallback would print to standard output and change the provider in a run.
        return runtime.InferenceSession(
            str(path), options, providers=[NAMES["cpu"]], enable_fallback=0
        )
    except Exception as error:
        # onnxruntime's exception types share no base; all of them mean a refused file.
        raise ModelError(f"{path.name}: onnxruntime refuses it: {first_line(error)}") from error


def read_contract(session: Any, path: Path) -> Contract:
    """The contract in a session's metadata. Raises ModelError where it or the graph's signature
    is not as it must be.
    """
    text = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    found = [
        (v.name, v.type, len(v.shape)) for v in (*session.get_inputs(), *session.get_outputs())
    ]
    return accept_artifact(path, text, found, ("tensor(uint8)", "tensor(float)"))
