"""Where an engine's time goes, layer by layer."""

from __future__ import annotations

import statistics
from collections import defaultdict
from pathlib import Path
from typing import Any

from lgg_bench.operations import list_operations
from lgg_runtime.backends.openvino_core import open_core
from lgg_runtime.contract import INPUT
from lgg_runtime.volume import Pixels

_REPEATS = 9
_SMALL = 0.02
# OpenVINO's addition to a convolution's name, whose bias it computes with what follows.
_WITHOUT_BIAS = "/WithoutBiases"
_HINT = "INFERENCE_PRECISION_HINT"
# OpenVINO's words for what the project calls otherwise.
_NAMES = {"f32": "fp32"}


def profile_layers(path: Path, slice_: Pixels, threads: int) -> dict[str, Any]:
    """Where OpenVINO's time on one slice (1, H, W, 3) goes, in float32 as lgg-infer has it.

    `arithmetic`: what layers that are not quantised compute in, as OpenVINO reports it; `kinds`:
    milliseconds as medians of a few runs. Convolutions are grouped by the rows of their output,
    and have a rate; the others by kind. Kinds of less than 2 % are added up.
    """
    core = open_core()
    model = core.read_model(str(path))
    model.reshape({INPUT: list(slice_.shape)})
    options = {
        "PERF_COUNT": True,
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        _HINT: "f32",  # the default is bf16 where the processor has it
    }
    compiled = core.compile_model(model, "CPU", options)
    reported = compiled.get_property(_HINT).get_type_name()
    request = compiled.create_infer_request()
    known = list_operations(path, *slice_.shape[1:3])
    spent: dict[str, list[float]] = defaultdict(list)
    operations: dict[str, dict[str, int]] = defaultdict(dict)  # by kind and layer
    for _ in range(_REPEATS):
        request.infer({INPUT: slice_})
        milliseconds: dict[str, float] = defaultdict(float)
        for info in request.profiling_info:
            if (time := info.real_time.total_seconds() * 1e3) == 0:
                continue
            layer = known.get(info.node_name.removesuffix(_WITHOUT_BIAS))
            kind = info.node_type if layer is None else f"{layer.operator}, {layer.rows} rows"
            milliseconds[kind] += time
            if layer is not None:
                operations[kind][info.node_name] = layer.operations
        for kind, value in milliseconds.items():
            spent[kind].append(value)
    medians = {kind: statistics.median_high(values) for kind, values in spent.items()}
    computed = {kind: sum(layers.values()) for kind, layers in operations.items()}
    kinds = _summarise(medians, computed)
    return {"arithmetic": _NAMES.get(reported, reported), "kinds": kinds}


def _summarise(medians: dict[str, float], computed: dict[str, int]) -> list[dict[str, Any]]:
    total = sum(medians.values())
    rows = [
        {
            "kind": kind,
            "milliseconds": value,
            "share": value / total,
            "gflops": computed[kind] / value / 1e6 if kind in computed else None,
        }
        for kind, value in sorted(medians.items(), key=lambda item: -item[1])
        if value >= _SMALL * total
    ]
    rest = sum(value for value in medians.values() if value < _SMALL * total)
    return [*rows, {"kind": "other", "milliseconds": rest, "share": rest / total, "gflops": None}]
