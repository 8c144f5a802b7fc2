"""A small ONNX network with the outputs of a backbone, for tests of everything round it.

Two convolutions with fixed random weights. An image that is all black gives NaN, so that this
case can be tested on a real session.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIZE, SIDE = 64, 8
PATCHES = SIDE * SIDE
CHANNELS = (16, 24)
CLASS_CHANNELS = 12


def build_network(
    *,
    batch: int | str = "batch",
    unit_class_token: bool = True,
    token_name: str = "tokens_1",
    channels: tuple[int, int] = CHANNELS,
) -> onnx.ModelProto:
    """Build the network; the options make ones that must be refused."""
    rng = np.random.default_rng(7)

    def weights(name: str, *shape: int) -> Any:
        values = rng.normal(0, 1 / np.sqrt(np.prod(shape[1:])), shape).astype(np.float32)
        return numpy_helper.from_array(values, name)

    def constant(name: str, values: Any) -> Any:
        return numpy_helper.from_array(np.asarray(values), name)

    initializers = [
        weights("w0", channels[0], 3, 8, 8),
        weights("w1", channels[1], channels[0], 3, 3),
        weights("wc", CLASS_CHANNELS, channels[1], 1, 1),
        constant("one", np.float32(1)),
        constant("all_but_batch", np.array([1, 2, 3])),
        constant("flat_0", np.array([0, channels[0], PATCHES])),
        constant("flat_1", np.array([0, channels[1], PATCHES])),
        constant("flat_c", np.array([0, CLASS_CHANNELS])),
        constant("class_axis", np.array([1])),
    ]
    divisor = "length" if unit_class_token else "one"
    nodes = [
        # brightest / brightest is 1, and NaN where the brightest normalised pixel is -1 (black)
        helper.make_node("ReduceMax", ["images", "all_but_batch"], ["top"], keepdims=1),
        helper.make_node("Add", ["top", "one"], ["light"]),
        helper.make_node("Div", ["light", "light"], ["unity"]),
        helper.make_node("Mul", ["images", "unity"], ["lit"]),
        helper.make_node("Conv", ["lit", "w0"], ["c0"], strides=[8, 8]),
        helper.make_node("Tanh", ["c0"], ["a0"]),
        helper.make_node("Reshape", ["a0", "flat_0"], ["f0"]),
        helper.make_node("Transpose", ["f0"], ["tokens_0"], perm=[0, 2, 1]),
        helper.make_node("Conv", ["a0", "w1"], ["c1"], pads=[1, 1, 1, 1]),
        helper.make_node("Tanh", ["c1"], ["a1"]),
        helper.make_node("Reshape", ["a1", "flat_1"], ["f1"]),
        helper.make_node("Transpose", ["f1"], [token_name], perm=[0, 2, 1]),
        helper.make_node("Conv", ["a1", "wc"], ["cc"]),
        helper.make_node("GlobalAveragePool", ["cc"], ["pooled"]),
        helper.make_node("Reshape", ["pooled", "flat_c"], ["class_raw"]),
        helper.make_node("ReduceL2", ["class_raw", "class_axis"], ["length"], keepdims=1),
        helper.make_node("Div", ["class_raw", divisor], ["class_token"]),
    ]  # fmt: skip
    floats = TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("images", floats, [batch, 3, SIZE, SIZE])],
        [
            helper.make_tensor_value_info("tokens_0", floats, [batch, PATCHES, channels[0]]),
            helper.make_tensor_value_info(token_name, floats, [batch, PATCHES, channels[1]]),
            helper.make_tensor_value_info("class_token", floats, [batch, CLASS_CHANNELS]),
        ],
        initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return model


def write_bundle(folder: Path, **options: Any) -> None:
    """Wrap the network as a bundle with the project's own wrapper."""
    from zeroline.export.wrap import InputRules, wrap_onnx

    folder.parent.mkdir(parents=True, exist_ok=True)
    source = folder.parent / f"{folder.name}.onnx"
    onnx.save(build_network(**options), source)
    half = (0.5, 0.5, 0.5)
    wrap_onnx(
        source,
        folder,
        rules=InputRules(size=SIZE, mean=half, std=half),
        unit_class_token=options.get("unit_class_token", True),
    )
    source.unlink()
