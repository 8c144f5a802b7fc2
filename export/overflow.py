"""Which nodes of a float32 network make or take values that half precision does not hold."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from zeroline.export.graph_names import named

#: Values from here on are too near to float16's largest, 65504: other frames give larger ones.
LARGE = 65504 / 4
_SHOWN = 4


@dataclass(frozen=True)
class Overflows:
    """What has to stay in float32.

    Attributes
    ----------
    nodes : frozenset of str
        Names, as `graph_names.named` gives them.
    layers : tuple of str
        What they are, in the network's own words where it has some.
    """

    nodes: frozenset[str]
    layers: tuple[str, ...]

    def __str__(self) -> str:
        """Return the layers on one line."""
        more = len(self.layers) - _SHOWN
        return ", ".join(self.layers[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def find_overflows(model: onnx.ModelProto, inputs: Iterable[NDArray[np.float32]]) -> Overflows:
    """Run a float32 network on prepared images, and look at each value inside.

    Parameters
    ----------
    model : ModelProto
        In float32, with one input; not changed.
    inputs : iterable of arrays, shape (3, S, S), float32
    """
    probed = onnx.ModelProto()
    probed.CopyFrom(model)
    probed = named(probed)
    typed = onnx.shape_inference.infer_shapes(probed, strict_mode=True)
    floats = {
        value.name
        for value in (*typed.graph.value_info, *typed.graph.output)
        if value.type.tensor_type.elem_type == TensorProto.FLOAT
    }
    nodes = list(probed.graph.node)
    looked = [name for node in nodes for name in node.output if name in floats]
    del probed.graph.output[:]
    for name in looked:
        size, most = f"{name}/size", f"{name}/most"
        probed.graph.node.append(helper.make_node("Abs", [name], [size], size))
        probed.graph.node.append(helper.make_node("ReduceMax", [size], [most], most, keepdims=0))
        probed.graph.output.append(helper.make_tensor_value_info(most, TensorProto.FLOAT, []))
    session = onnxruntime.InferenceSession(
        probed.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (given,) = (value.name for value in session.get_inputs())
    largest = np.zeros(len(looked))
    for image in inputs:
        largest = np.maximum(largest, np.array(session.run(None, {given: image[None]})))
    wide = {name for name, most in zip(looked, largest, strict=True) if not most < LARGE}
    wide |= {
        tensor.name
        for tensor in probed.graph.initializer
        if tensor.data_type == TensorProto.FLOAT
        and not np.abs(numpy_helper.to_array(tensor)).max(initial=0) < LARGE
    }
    kept = [node for node in nodes if wide.intersection((*node.input, *node.output))]
    stored = {tensor.name for tensor in probed.graph.initializer}
    layers = dict.fromkeys(_layer(node, stored) for node in kept if wide.intersection(node.output))
    return Overflows(frozenset(node.name for node in kept), tuple(layers))


def _layer(node: onnx.NodeProto, stored: set[str]) -> str:
    """Return the name of a node's layer: that of its weights, else its own."""
    for name in node.input:
        layer = re.fullmatch(r"(?:network\.)?(.+)[._](?:weight|bias)", name)
        if name in stored and layer:
            return layer[1]
    return node.name
