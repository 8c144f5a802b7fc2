"""Make `runtime/matching/integer_product.onnx`, the 8-bit product of `matching.screens`.

The run-time package has no onnx to write graphs with, so the file lies beside it::

    python -m zeroline.export.integer_product > src/zeroline/runtime/matching/integer_product.onnx
"""

from __future__ import annotations

import sys
from typing import Any


def integer_product() -> Any:
    """Return the model: tile (S, R, P) int32 = (left (R, K) uint8 - 128)·right (S, K, P) int8."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    left = helper.make_tensor_value_info("left", TensorProto.UINT8, ["rows", "depth"])
    right = helper.make_tensor_value_info("right", TensorProto.INT8, ["images", "depth", "patches"])
    tile = helper.make_tensor_value_info("tile", TensorProto.INT32, ["images", "rows", "patches"])
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["left", "right", "zero"], ["tile"])],
        "integer_product",
        [left, right],
        [tile],
        [numpy_helper.from_array(np.uint8(128), "zero")],
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7, producer_name="zeroline"
    )


if __name__ == "__main__":
    sys.stdout.buffer.write(integer_product().SerializeToString())
