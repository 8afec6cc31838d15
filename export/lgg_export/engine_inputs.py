"""What an engine is compiled from: the graph that the libraries take, and the shapes it holds."""

from __future__ import annotations

import onnx

from lgg_runtime.contract import INPUT, Contract
from lgg_runtime.sidecar import Profile, Shape

# The runtime gives a GPU boxes in steps of this side, so engines are tuned for it.
ORDINARY_SIDE = 256


def make_profiles(contract: Contract, batch: int, size: int) -> tuple[Profile, ...]:
    """One slice at a time; batches of ordinary slices; fewer of larger ones for the same memory."""
    step = contract.size_multiple

    def shape(count: int, height: int, width: int) -> Shape:
        return (count, height, width, len(contract.channels))

    smallest = shape(1, step, step)
    ordinary = shape(batch, ORDINARY_SIDE, ORDINARY_SIDE)
    profiles = [
        Profile(smallest, shape(1, ORDINARY_SIDE, ORDINARY_SIDE), shape(1, size, size)),
        Profile(smallest, ordinary, ordinary),
    ]
    if size > ORDINARY_SIDE:
        fewer = max(1, batch * ORDINARY_SIDE**2 // size**2)
        largest = shape(fewer, size, size)
        profiles.append(Profile(smallest, largest, largest))
    return tuple(profiles)


def put_cast_first(model: onnx.ModelProto) -> onnx.ModelProto:
    """Both libraries take a uint8 input only where the first node is a Cast.

    A graph that begins with Transpose and then Cast becomes Cast and then Transpose, which is the
    same function. Another graph is returned as it is.
    """
    readers = [node for node in model.graph.node if INPUT in node.input]
    if [node.op_type for node in readers] != ["Transpose"]:
        return model
    transpose = readers[0]
    readers = [node for node in model.graph.node if transpose.output[0] in node.input]
    if [node.op_type for node in readers] != ["Cast"]:
        return model
    cast, between, last = readers[0], transpose.output[0], readers[0].output[0]
    cast.input[0], cast.output[0] = INPUT, between
    transpose.input[0], transpose.output[0] = between, last
    swapped = onnx.NodeProto()
    swapped.CopyFrom(transpose)
    transpose.CopyFrom(cast)
    cast.CopyFrom(swapped)
    del model.graph.value_info[:]  # the shape of what lies between has changed
    onnx.checker.check_model(model, full_check=True)
    return model
