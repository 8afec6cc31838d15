"""What an ONNX file asks for, read from its bytes before onnxruntime parses them.

onnxruntime opens other files that a graph names, and allocates what its tensors claim. Here the
protobuf is walked once (onnx.proto of IR version 10; field numbers are part of its format), and a
graph is refused that is not one file of plain operators over tensors that lie in it. What only the
meaning of a graph decides, such as types and shapes, is onnxruntime's to check.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from lgg_runtime.errors import ModelError, printable

MOST_OPERATORS = 20_000
MOST_AXES = 32
# Of a whole file; a shipped model has 1,000 to 3,400. To walk so many takes about a second.
MOST_FIELDS = 1_000_000
STANDARD_DOMAINS = frozenset({"", "ai.onnx"})
# What segmentation networks are made of. Left out are control flow, whose graphs lie inside a
# graph, sequences, strings, random numbers, decoders of files, and constants of any size.
_NAMES = """
Abs Add And ArgMax AveragePool BatchNormalization Cast Ceil Clip Concat Constant Conv ConvInteger
ConvTranspose DepthToSpace DequantizeLinear Div DynamicQuantizeLinear Elu Equal Erf Exp Flatten
Floor Gather Gelu Gemm GlobalAveragePool GlobalMaxPool Greater GroupNormalization HardSigmoid
HardSwish Identity InstanceNormalization LayerNormalization LeakyRelu Less Log LogSoftmax MatMul
MatMulInteger Max MaxPool Mean Min Mish Mod Mul Neg Not Or PRelu Pad Pow QLinearConv QLinearMatMul
QuantizeLinear Reciprocal ReduceMax ReduceMean ReduceMin ReduceSum Relu Reshape Resize Round Selu
Shape Sigmoid Sign Slice Softmax Softplus SpaceToDepth Split Sqrt Squeeze Sub Sum Tanh Transpose
Unsqueeze Where
"""
OPERATORS = frozenset(_NAMES.split())

_MODEL_GRAPH, _MODEL_METADATA, _MODEL_TRAINING, _MODEL_FUNCTIONS = 7, 14, 20, 25
_ENTRY_KEY, _ENTRY_VALUE = 1, 2
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_ENDS, _GRAPH_SPARSE = 1, 5, (11, 12), 15
# An input's or output's name, and the names of its sides: of its type, as a tensor, the shape's.
_END_TEXTS = ((1,), (2, 1, 2, 1, 2))
_NODE_OPERATOR, _NODE_ATTRIBUTE, _NODE_DOMAIN = 4, 5, 7
_ATTRIBUTE_TENSORS, _ATTRIBUTE_GRAPHS, _ATTRIBUTE_SPARSE = (5, 10), (6, 11), (22, 23)
_TENSOR_DIMS, _TENSOR_NAME, _TENSOR_EXTERNAL, _TENSOR_LOCATION = 1, 8, 13, 14
_VARINT, _EIGHT_BYTES, _BYTES, _FOUR_BYTES = 0, 1, 2, 5
_MOST_VALUES_A_BYTE = 2  # of the narrowest type, 4 bits

_Value = int | memoryview


def check_graph(data: bytes) -> None:
    """Raises ModelError, the reason alone, for bytes that are no ONNX model, and for a graph with
    data in other files, unknown operators, functions or graphs of its own, tensors that claim
    more values than they hold, an entry of its metadata twice, texts that are not UTF-8, or more
    operators or fields than a network has.
    """
    walk = _Walk()
    graphs = 0
    operators = 0
    entries = list[bytes]()
    for number, value in walk.fields(memoryview(data)):
        if number in (_MODEL_FUNCTIONS, _MODEL_TRAINING):
            raise ModelError("holds functions or training of its own; export it with lgg-export")
        if number == _MODEL_GRAPH:
            graphs += 1
            operators += walk.check_nodes_and_tensors(_message(value))
            if operators > MOST_OPERATORS:
                raise ModelError(f"more than {MOST_OPERATORS} operators; refused")
        if number == _MODEL_METADATA:
            for place, text in walk.fields(_message(value)):
                if place in (_ENTRY_KEY, _ENTRY_VALUE):
                    _require_utf8(text)
                if place == _ENTRY_KEY:
                    entries.append(bytes(_message(text)))
    if len(entries) > len(set(entries)):
        raise ModelError("an entry of its metadata stands twice; export it with lgg-export")
    if not graphs or not operators:
        raise ModelError("not an ONNX model; export it with lgg-export")


class _Walk:
    """The checks of a file's parts, whose fields are counted."""

    def __init__(self) -> None:
        self._left = MOST_FIELDS

    def check_nodes_and_tensors(self, graph: memoryview) -> int:
        """The number of operators."""
        operators = 0
        for number, value in self.fields(graph):
            if number == _GRAPH_NODE:
                operators += 1
                self._check_node(_message(value))
            elif number == _GRAPH_INITIALIZER:
                self._check_tensor(_message(value))
            elif number in _GRAPH_ENDS:
                for path in _END_TEXTS:
                    self._require_texts(value, path)
            elif number == _GRAPH_SPARSE:
                raise ModelError("holds sparse tensors; export it with lgg-export")
        return operators

    def _check_node(self, node: memoryview) -> None:
        operator = domain = ""
        for number, value in self.fields(node):
            if number == _NODE_OPERATOR:
                operator = _text(value)
            elif number == _NODE_DOMAIN:
                domain = _text(value)
            elif number == _NODE_ATTRIBUTE:
                self._check_attribute(_message(value))
        if domain not in STANDARD_DOMAINS:
            raise ModelError(f"operator {domain}.{operator} is none of the ONNX standard; refused")
        if operator not in OPERATORS:
            name = operator or "(nameless)"
            raise ModelError(f"operator {name} is none that models of this toolchain use; refused")

    def _check_attribute(self, attribute: memoryview) -> None:
        tensors = 0
        for number, value in self.fields(attribute):
            if number in _ATTRIBUTE_GRAPHS:
                raise ModelError("holds a graph inside an operator; refused")
            if number in _ATTRIBUTE_SPARSE:
                raise ModelError("holds sparse tensors; export it with lgg-export")
            if number in _ATTRIBUTE_TENSORS:
                self._check_tensor(_message(value))
            tensors += number == _ATTRIBUTE_TENSORS[0]
        if tensors > 1:  # protobuf makes one of them, with the sides of both
            raise ModelError("gives a tensor of an operator twice; export it with lgg-export")

    def _check_tensor(self, tensor: memoryview) -> None:
        name, sides = "", list[int]()
        for number, value in self.fields(tensor):
            if number == _TENSOR_NAME:
                name = _text(value)
            elif number == _TENSOR_DIMS:
                sides += [value] if isinstance(value, int) else _packed(value)
                if len(sides) > MOST_AXES:  # their product would take hours
                    raise ModelError(f"a tensor of more than {MOST_AXES} axes; refused")
            elif number == _TENSOR_EXTERNAL or (number == _TENSOR_LOCATION and value != 0):
                raise ModelError("its tensors lie in another file; export it as one file")
        claimed = math.prod(sides)
        if any(side >= 1 << 63 for side in sides) or claimed > _MOST_VALUES_A_BYTE * len(tensor):
            named = name or "(nameless)"
            raise ModelError(
                f"tensor {named} claims {claimed} values in {len(tensor)} bytes; refused"
            )

    def fields(self, data: memoryview) -> Iterator[tuple[int, _Value]]:
        """Number and value of each field: a whole number, or the bytes of a string or message."""
        at = 0
        while at < len(data):
            key, at = _varint(data, at)
            number, kind = key >> 3, key & 7
            self._left -= 1
            if self._left < 0:
                raise ModelError(f"more than {MOST_FIELDS} fields; refused")
            # Of a longer tag protobuf takes the lower 32 bits alone, which are another field.
            if number == 0 or key >> 32:
                raise _damaged()
            if kind == _VARINT:
                value, at = _varint(data, at)
                yield number, value
                continue
            if kind == _BYTES:
                size, at = _varint(data, at)
            elif kind in (_EIGHT_BYTES, _FOUR_BYTES):
                size = 8 if kind == _EIGHT_BYTES else 4
            else:
                raise _damaged()
            if at + size > len(data):
                raise _damaged()
            yield number, data[at : at + size]
            at += size

    def _require_texts(self, value: _Value, path: tuple[int, ...]) -> None:
        """That those are UTF-8 which lie at this path of fields below a message."""
        if not path:
            _require_utf8(value)
            return
        for number, inner in self.fields(_message(value)):
            if number == path[0]:
                self._require_texts(inner, path[1:])


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """The number at a place, and the place behind it."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            break
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value & (1 << 64) - 1, at
    raise _damaged()


def _packed(data: memoryview) -> list[int]:
    numbers, at = list[int](), 0
    while at < len(data) and len(numbers) <= MOST_AXES:
        number, at = _varint(data, at)
        numbers.append(number)
    return numbers


def _message(value: _Value) -> memoryview:
    if isinstance(value, int):
        raise _damaged()
    return value


def _text(value: _Value) -> str:
    return printable(bytes(_message(value)[:100]).decode("utf-8", "backslashreplace"))


def _require_utf8(value: _Value) -> None:
    """As what Python hears of through the engines has to be."""
    try:
        str(_message(value), "utf-8")
    except UnicodeDecodeError as error:
        raise ModelError(
            "its metadata, or a name of an input or output, is not UTF-8; export it with lgg-export"
        ) from error


def _damaged() -> ModelError:
    return ModelError("not an ONNX model, or cut short; export it again")
