"""Half precision baked into the graph, with islands of float32; and what it does, on any machine.

The graph says which tensor has which precision, and a strongly typed engine obeys. Input and
outputs stay float32.

onnxruntime's CPU provider has few half-precision kernels: it computes in float32 and drops the
roundings between, so that an overflow which a GPU would meet goes unseen. `rounded` makes the
roundings explicit, in a float32 graph that any machine runs.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from zeroline.export.errors import ExportError
from zeroline.export.graph_names import named


@dataclass(frozen=True)
class Islands:
    """What stays in float32.

    Attributes
    ----------
    name : str
    operators : tuple of str
        Kinds of nodes.
    scores : bool
        The products whose results go into a softmax, and what scales them.
    """

    name: str
    operators: tuple[str, ...] = ()
    scores: bool = False


#: From the fastest to the safest. LayerNorm is in all: in half precision it loses accuracy, and
#: onnxruntime 1.31 crashes on it on a CPU.
LEVELS = (
    Islands("LayerNorm", ("LayerNormalization",)),
    Islands("LayerNorm, softmax", ("LayerNormalization", "Softmax")),
    Islands("LayerNorm, softmax, attention scores", ("LayerNormalization", "Softmax"), scores=True),
)

# these pass values on as they are
_MOVING = frozenset({
    "Concat", "Expand", "Flatten", "Gather", "Identity", "Reshape", "Slice", "Split", "Squeeze",
    "Transpose", "Unsqueeze",
})  # fmt: skip


def to_half(
    model: onnx.ModelProto, islands: Islands, *, wide: Collection[str] = ()
) -> onnx.ModelProto:
    """Return the model with half-precision weights and activations outside the islands.

    A tensor has the precision of the node that makes it; where a node of the other precision
    takes it, one cast stands between. Weights are stored in the precision of those who take
    them. The first convolution, a transformer's patch embedding, always stays in float32: it is a
    small part of the work, and all that follows rests on it. So does what brings the class token
    to unit length, whose squares would overflow.

    Parameters
    ----------
    model : ModelProto
        In float32; not changed.
    islands : Islands
    wide : collection of str
        Names of more nodes that stay in float32, as `graph_names.named` gives them.
    """
    source = onnx.ModelProto()
    source.CopyFrom(model)
    model = named(source)
    typed = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    floats = _names_of(typed, TensorProto.FLOAT)
    weights = {
        tensor.name: tensor
        for tensor in model.graph.initializer
        if tensor.data_type == TensorProto.FLOAT
    }
    kept = {node.name for node in model.graph.node if node.op_type in islands.operators}
    kept.update([node.name for node in model.graph.node if node.op_type == "Conv"][:1])
    kept |= set(attention_scores(model)) if islands.scores else set()
    kept |= _unit_lengths(model)
    kept |= set(wide)
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    del graph.node[:], graph.value_info[:], graph.initializer[:]
    graph.initializer.extend(t for t in model.graph.initializer if t.name not in weights)
    precision = dict.fromkeys((value.name for value in graph.input), TensorProto.FLOAT)
    there: set[str] = set()

    def taken(name: str, wanted: int) -> str:
        """Return the name under which a tensor is there in a precision, and see that it is."""
        if name in weights:
            stored = f"{name}/half" if wanted == TensorProto.FLOAT16 else name
            if stored not in there:
                graph.initializer.append(_stored(weights[name], stored, wanted))
        elif name not in floats or precision[name] == wanted:
            return name
        else:
            stored = f"{name}/{'half' if wanted == TensorProto.FLOAT16 else 'float'}"
            if stored not in there:
                graph.node.append(helper.make_node("Cast", [name], [stored], stored, to=wanted))
        there.add(stored)
        return stored

    for original in model.graph.node:
        node = onnx.NodeProto()
        node.CopyFrom(original)
        wanted = TensorProto.FLOAT if node.name in kept else TensorProto.FLOAT16
        moving = node.op_type == "Shape" or node.op_type in _MOVING
        if moving and node.name not in kept:  # as it comes
            wanted = precision.get(node.input[0], wanted)
        for place, name in enumerate(node.input):
            if name in floats or name in weights:
                node.input[place] = taken(name, wanted)
        if wanted == TensorProto.FLOAT16:
            _narrow_attributes(node)
        graph.node.append(node)
        precision.update(dict.fromkeys(node.output, wanted))
    for output in graph.output:
        if precision[output.name] == TensorProto.FLOAT16:
            _widen_output(graph, output.name)
    return result


def _stored(tensor: onnx.TensorProto, name: str, kind: int) -> onnx.TensorProto:
    values = numpy_helper.to_array(tensor)
    if kind == TensorProto.FLOAT16:
        with np.errstate(over="ignore"):  # an overflow shows in the error that is measured
            values = values.astype(np.float16)
    return numpy_helper.from_array(values, name)


def _narrow_attributes(node: onnx.NodeProto) -> None:
    """Let constants and casts inside a node be of half precision."""
    for attribute in node.attribute:
        if attribute.HasField("t") and attribute.t.data_type == TensorProto.FLOAT:
            attribute.t.CopyFrom(_stored(attribute.t, attribute.t.name, TensorProto.FLOAT16))
        if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT:
            attribute.i = TensorProto.FLOAT16


def _widen_output(graph: onnx.GraphProto, name: str) -> None:
    """Let an output of half precision leave the graph as float32."""
    for node in graph.node:
        node.input[:] = [f"{name}/half" if other == name else other for other in node.input]
        node.output[:] = [f"{name}/half" if other == name else other for other in node.output]
    graph.node.append(
        helper.make_node("Cast", [f"{name}/half"], [name], f"{name}/leave", to=TensorProto.FLOAT)
    )


def attention_scores(model: onnx.ModelProto) -> list[str]:
    """Name the nodes between queries and keys and their softmax: product, scale, mask."""
    made_by = {output: node for node in model.graph.node for output in node.output}
    names = []
    for node in model.graph.node:
        if node.op_type != "Softmax":
            continue
        before = made_by.get(node.input[0])
        while before is not None and before.op_type in ("Add", "Mul", "Div"):
            names.append(before.name)
            before = made_by.get(before.input[0])
        if before is not None and before.op_type == "MatMul":
            names.append(before.name)
            scaled = (made_by.get(name) for name in before.input)
            names += [n.name for n in scaled if n is not None and n.op_type in ("Mul", "Div")]
    return names


def _unit_lengths(model: onnx.ModelProto) -> set[str]:
    """Name the nodes that compute a length, and all that depends on it."""
    names: set[str] = set()
    values: set[str] = set()
    for node in model.graph.node:
        if node.op_type == "ReduceL2" or values.intersection(node.input):
            names.add(node.name)
            values.update(node.output)
    return names


def rounded(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a float32 model that rounds where a half-precision one stores.

    Each value that the model keeps in half precision goes through a cast to it and back; sums
    inside an operator stay float32, as tensor cores keep them. Too large values become inf.

    Parameters
    ----------
    model : ModelProto
        With tensors of float16; not changed.

    Raises
    ------
    ExportError
        If it holds control flow.
    """
    typed = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    half = _names_of(typed, TensorProto.FLOAT16)
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    del graph.value_info[:]
    for tensor in graph.initializer:
        _widen(tensor)
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if any(attribute.HasField("g") for attribute in node.attribute):
            raise ExportError(f'node "{node.name}" ({node.op_type}) holds a graph of its own')
        nodes.append(node)
        for attribute in node.attribute:
            if attribute.HasField("t"):
                _widen(attribute.t)
        to_half_cast = node.op_type == "Cast" and helper.get_node_attr_value(node, "to") == (
            TensorProto.FLOAT16
        )
        if node.op_type in _MOVING or (node.op_type == "Constant"):
            continue
        for place, name in enumerate(node.output):
            if name not in half:
                continue
            short = f"{name}/half"
            if to_half_cast:
                node.output[place] = short
            else:
                node.output[place] = f"{name}/sum"
                nodes.append(
                    helper.make_node(
                        "Cast", [f"{name}/sum"], [short], f"{name}/round", to=TensorProto.FLOAT16
                    )
                )
            nodes.append(
                helper.make_node("Cast", [short], [name], f"{name}/widen", to=TensorProto.FLOAT)
            )
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(kept)
    return result


def _names_of(model: onnx.ModelProto, kind: int) -> set[str]:
    """Name the values of one type; the types must have been inferred."""
    graph: Any = model.graph
    values = [*graph.value_info, *graph.input, *graph.output]
    return {v.name for v in values if v.type.tensor_type.elem_type == kind}


def _widen(tensor: onnx.TensorProto) -> None:
    """Turn a float16 tensor into float32, in place."""
    if tensor.data_type == TensorProto.FLOAT16:
        values = numpy_helper.to_array(tensor).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
