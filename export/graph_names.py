"""Names for the nodes of a graph, which ONNX does not ask for."""

from __future__ import annotations

import onnx


def named(model: onnx.ModelProto) -> onnx.ModelProto:
    """Give every node a name of its own, in place; those that have one keep it."""
    seen = {node.name for node in model.graph.node}
    met: set[str] = set()
    for number, node in enumerate(model.graph.node):
        name = node.name
        if not name or name in met:
            name = f"{node.op_type}_{number}"
            while name in seen:
                name += "_"
        node.name = name
        seen.add(name)
        met.add(name)
    return model
