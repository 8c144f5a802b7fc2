"""What must be true of an exported graph besides its numbers; and what it holds, in figures."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import onnx
from onnx import TensorProto

from zeroline.export.errors import ExportError

# onnx-tensorrt's docs/operators.md: what TensorRT 8.4 parsed and later versions kept, and
# LayerNormalization, which came with opset 17 (8.6). TensorRT 10.3 parses opset 9 to 20.
TENSORRT_OPERATORS = frozenset({
    "Abs", "Add", "And", "ArgMax", "ArgMin", "AveragePool", "BatchNormalization", "Cast", "Ceil",
    "Clip", "Concat", "Constant", "ConstantOfShape", "Conv", "ConvTranspose", "Cos",
    "DepthToSpace", "DequantizeLinear", "Div", "Einsum", "Elu", "Equal", "Erf", "Exp", "Expand",
    "Flatten", "Floor", "Gather", "GatherElements", "GatherND", "Gemm", "GlobalAveragePool",
    "GlobalMaxPool", "Greater", "GreaterOrEqual", "HardSigmoid", "Identity",
    "InstanceNormalization", "LayerNormalization", "LeakyRelu", "Less", "LessOrEqual", "Log",
    "LogSoftmax", "LpNormalization", "MatMul", "Max", "MaxPool", "Mean", "Min", "Mul", "Neg",
    "Not", "Or", "PRelu", "Pad", "Pow", "QuantizeLinear", "Range", "ReduceL1", "ReduceL2",
    "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd",
    "ReduceSum", "ReduceSumSquare", "Relu", "Reshape", "Resize", "Round", "Selu", "Shape",
    "Sigmoid", "Sign", "Sin", "Size", "Slice", "Softmax", "Softplus", "Softsign", "SpaceToDepth",
    "Split", "Sqrt", "Squeeze", "Sub", "Sum", "Tan", "Tanh", "Tile", "TopK", "Transpose",
    "Unsqueeze", "Where", "Xor",
})  # fmt: skip
_NEWEST_OPSET = 20


@dataclass(frozen=True)
class GraphReport:
    """What a graph holds.

    Attributes
    ----------
    opset : int
    nodes : dict
        How many of each operator.
    weights : dict
        Bytes of stored tensors by their type.
    """

    opset: int
    nodes: dict[str, int]
    weights: dict[str, int]

    def __str__(self) -> str:
        """Return one line."""
        stored = ", ".join(f"{size / 2**20:.1f} MiB {kind}" for kind, size in self.weights.items())
        return f"opset {self.opset}, {sum(self.nodes.values())} nodes, weights {stored}"


def check_graph(model: onnx.ModelProto, *, label: str) -> GraphReport:
    """Check that a graph is fit for TensorRT 10.3 and free of what only training needs.

    Parameters
    ----------
    model : ModelProto
    label : str
        Names the graph in errors.

    Raises
    ------
    ExportError
        For operators that TensorRT does not read or that belong to training, an opset that is
        too new, or inputs and outputs that are not float32.
    """
    graph = model.graph
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    opset = opsets.get("", 0)
    if opset > _NEWEST_OPSET:
        raise ExportError(f"{label} is of opset {opset}; TensorRT 10.3 reads up to {_NEWEST_OPSET}")
    nodes = Counter(node.op_type for node in graph.node)
    foreign = sorted(
        {f"{n.domain}:{n.op_type}" for n in graph.node if n.domain not in ("", "ai.onnx")}
    )
    unknown = sorted(set(nodes) - TENSORRT_OPERATORS)
    if foreign or unknown:
        raise ExportError(
            f"{label} has operators that TensorRT does not read: {', '.join(foreign + unknown)}"
        )
    training = [
        node.name or node.op_type
        for node in graph.node
        for attribute in node.attribute
        if attribute.name == "training_mode" and attribute.i
    ]
    if training:
        raise ExportError(f"{label} is in training mode at {', '.join(training[:3])}")
    for value in (*graph.input, *graph.output):
        kind = value.type.tensor_type.elem_type
        if kind != TensorProto.FLOAT:
            name = TensorProto.DataType.Name(kind)
            raise ExportError(f'{label}: "{value.name}" is {name}, FLOAT is expected')
    weights: Counter[str] = Counter()
    for tensor in graph.initializer:
        kind = TensorProto.DataType.Name(tensor.data_type)
        count = 1
        for side in tensor.dims:
            count *= side
        weights[kind] += count * onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    return GraphReport(opset, dict(nodes.most_common()), dict(weights.most_common()))
