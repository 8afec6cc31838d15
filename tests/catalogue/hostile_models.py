"""Artifacts made wrong in one way each, for the model of a scene."""

from __future__ import annotations

import os
import struct
import subprocess
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from catalogue.row import Scene
from lgg_runtime.contract import METADATA_KEY

Change = Callable[[Any], object]


def spoil(change: Change) -> Callable[[Scene], None]:
    """Writes the scene's model again once its protobuf was changed."""

    def make(scene: Scene) -> None:
        import onnx

        model = onnx.load(str(scene.model))
        change(model)
        scene.model.write_bytes(model.SerializeToString())

    return make


def contract_with(**fields: Any) -> Change:
    """Fields of the contract's JSON replaced."""

    def change(model: Any) -> None:
        import json

        (entry,) = (e for e in model.metadata_props if e.key == METADATA_KEY)
        entry.value = json.dumps(json.loads(entry.value) | fields)

    return change


def golden_of(shape: list[int], samples: int) -> dict[str, Any]:
    """A golden pair as JSON has it."""
    return {"shape": shape, "input_sha256": "a" * 64, "output_sha256": "b" * 64,
            "samples": [0.5] * samples, "tolerance": 1e-3}  # fmt: skip


def no_contract(model: Any) -> None:
    del model.metadata_props[:]


def put_data_elsewhere(location: str) -> Change:
    """The first float constant as external data."""

    def change(model: Any) -> None:
        tensor = next(t for t in model.graph.initializer if t.float_data)
        del tensor.float_data[:]
        tensor.data_location = 1
        entry = tensor.external_data.add()
        entry.key, entry.value = "location", location

    return change


def external(location: str, put: Callable[[Scene], object]) -> Callable[[Scene], None]:
    """External data at a place, and what lies there."""

    def make(scene: Scene) -> None:
        spoil(put_data_elsewhere(location))(scene)
        put(scene)

    return make


def put_weights(scene: Scene, size: int = 4) -> None:
    (scene.root / "weights.bin").write_bytes(struct.pack("<f", 128.0)[:size])


def link_weights(scene: Scene) -> None:
    (scene.root / "elsewhere.bin").write_bytes(struct.pack("<f", 128.0))
    (scene.root / "weights.bin").symlink_to(scene.root / "elsewhere.bin")


def hard_link_weights(scene: Scene) -> None:
    (scene.root / "elsewhere.bin").write_bytes(struct.pack("<f", 128.0))
    os.link(scene.root / "elsewhere.bin", scene.root / "weights.bin")


def operator(name: str, domain: str = "") -> Change:
    """The last operator by another name."""

    def change(model: Any) -> None:
        import onnx

        model.graph.node[-1].op_type, model.graph.node[-1].domain = name, domain
        if domain:
            model.opset_import.append(onnx.helper.make_opsetid(domain, 1))

    return change


def hold_a_graph(model: Any) -> None:
    """A condition whose branches are graphs."""
    import onnx

    branch = onnx.helper.make_graph([], "branch", [], [])
    attribute = onnx.helper.make_attribute("then_branch", branch)
    model.graph.node[-1].attribute.append(attribute)


def hold_a_function(model: Any) -> None:
    function = model.functions.add()
    function.name, function.domain = "Sigmoid", ""


def flip_a_bit(model: Any) -> None:
    """The highest bit of a constant's exponent."""
    tensor = next(t for t in model.graph.initializer if t.float_data)
    (bits,) = struct.unpack("<I", struct.pack("<f", tensor.float_data[0]))
    (tensor.float_data[0],) = struct.unpack("<f", struct.pack("<I", bits ^ 1 << 30))


def claim_more(model: Any) -> None:
    """A constant of four bytes that claims 10^12 values."""
    tensor = next(t for t in model.graph.initializer if t.float_data)
    tensor.dims.extend([10**6, 10**6])


def hold_sparse(model: Any) -> None:
    model.graph.sparse_initializer.add()


def rename_input(model: Any) -> None:
    model.graph.input[0].name = model.graph.node[0].input[0] = "images"


def take_floats(model: Any) -> None:
    model.graph.input[0].type.tensor_type.elem_type = 1


def take_another_rank(model: Any) -> None:
    model.graph.input[0].type.tensor_type.shape.dim.add().dim_value = 1
    model.graph.output[0].type.tensor_type.shape.dim.add().dim_value = 1


def ask_for_opset(number: int) -> Change:
    def change(model: Any) -> None:
        model.opset_import[0].version = number

    return change


def put_formula(formula: str, size: tuple[Any, Any, Any] = ("N", "H", "W")) -> Callable[..., None]:
    """A model with a valid contract that computes another of the tests' formulas."""

    def make(scene: Scene) -> None:
        model = scene.shared("build_model")(formula, size)
        text = scene.shared("make_contract")().dumps()
        scene.shared("save_artifact")(model, scene.model, text)

    return make


def make_keys(scene: Scene, *names: str) -> None:
    """NAME.pem and NAME.pub, Ed25519 in PEM, as openssl writes them."""
    for name in names:
        private, public = (str(scene.root / f"{name}.{end}") for end in ("pem", "pub"))
        for command in (
            ["openssl", "genpkey", "-algorithm", "ed25519", "-out", private],
            ["openssl", "pkey", "-in", private, "-pubout", "-out", public],
        ):
            subprocess.run(command, check=True, capture_output=True)


def sign(scene: Scene, key: str = "ours") -> None:
    from lgg_export.signing import sign_model

    sign_model(scene.model, scene.root / f"{key}.pem")


def put_engine(scene: Scene) -> None:
    """model.engine with its sidecar, built with a stand-in for TensorRT, which is what the run
    finds installed; the driver and its GPU (SM86) are a stand-in too.
    """
    import sys

    from lgg_export.engine import EngineSettings, build_engine
    from stand_ins.artifacts import write_artifact
    from stand_ins.cuda import StandInDriver
    from stand_ins.tensorrt import StandInTensorRT

    write_artifact(scene.model)
    settings = EngineSettings("tensorrt", batch=4, size=512)
    library = StandInTensorRT()
    build_engine(scene.model, scene.root / "model.engine", settings, library, StandInDriver())
    scene.patch.setitem(sys.modules, "tensorrt", library)
    scene.patch.setattr("lgg_runtime.backends.engine.find_driver", StandInDriver)


def change_sidecar(scene: Scene, **key: Any) -> None:
    """The engine's sidecar, whole and true to itself, with fields of its key replaced."""
    from lgg_runtime.sidecar import read_sidecar, sidecar_path

    path = scene.root / "model.engine"
    sidecar = read_sidecar(path)
    changed = replace(sidecar, key=replace(sidecar.key, **key))
    sidecar_path(path).write_text(changed.dumps())


def use_gpu(scene: Scene, runtime: Any) -> None:
    """A machine with a stand-in for onnxruntime-gpu, a driver and a GPU."""
    import sys

    from stand_ins.artifacts import write_artifact
    from stand_ins.cuda import StandInDriver

    write_artifact(scene.model)
    scene.patch.setitem(sys.modules, "onnxruntime", runtime)
    for name in ("missing", "gpu_session"):
        scene.patch.setattr(f"lgg_runtime.backends.{name}.find_driver", StandInDriver)
