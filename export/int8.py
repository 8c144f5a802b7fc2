"""8-bit integers baked into the graph, as QuantizeLinear and DequantizeLinear around each layer.

onnxruntime's static quantisation does the work: weights per channel, activations by their range
on frames of the line, as uint8 with a zero point, which the dot-product instructions (VNNI) of
CPUs take.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from zeroline.export.errors import ExportError
from zeroline.export.graph_names import named
from zeroline.export.quiet import quiet

_PRODUCTS = ("Gemm", "MatMul")
# in a convolutional network these stand between layers, and pass 8-bit values on
_BETWEEN = ("Add", "AveragePool", "Clip", "Concat", "GlobalAveragePool", "MaxPool", "Pad", "Relu")


def to_int8(path: Path, inputs: Sequence[NDArray[np.float32]], folder: Path) -> Path:
    """Make an int8 network.

    Of a transformer, the patch embedding, attention's own products and the norms stay in float32.

    Parameters
    ----------
    path : Path
        The float32 ONNX file.
    inputs : sequence of arrays, shape (3, S, S), float32
        What it is calibrated on.
    folder : Path
        For files.

    Returns
    -------
    Path
        Of the new ONNX file.

    Raises
    ------
    ExportError
        If the network has no layer with weights.
    """
    prepared, result = folder / "prepared.onnx", folder / "int8.onnx"
    with quiet(logging.WARNING):  # its advice
        quant_pre_process(str(path), str(prepared), skip_symbolic_shape=True)
    model = named(onnx.load(prepared))
    onnx.save(model, prepared)
    with quiet(logging.WARNING):
        quantize_static(
            str(prepared),
            str(result),
            _Inputs(model.graph.input[0].name, inputs),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv", *_PRODUCTS, *_BETWEEN],
            nodes_to_quantize=_quantised_nodes(model),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            extra_options={"ActivationSymmetric": False, "WeightSymmetric": True},
        )
    return _plain_opsets(result)


class _Inputs(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    """What onnxruntime calibrates on, image after image."""

    def __init__(self, name: str, inputs: Sequence[NDArray[np.float32]]) -> None:
        self._waiting: Iterator[dict[str, Any]] = iter([{name: image[None]} for image in inputs])

    def get_next(self) -> dict[str, Any] | None:
        return next(self._waiting, None)


def _quantised_nodes(model: onnx.ModelProto) -> list[str]:
    """Name the nodes that become int8: those with weights, and what stands between them."""
    stored = {tensor.name for tensor in model.graph.initializer}
    transformer = any(node.op_type == "Softmax" for node in model.graph.node)
    kinds, between = (_PRODUCTS, ()) if transformer else (("Conv", *_PRODUCTS), _BETWEEN)
    layers = [
        node.name
        for node in model.graph.node
        if node.op_type in kinds and stored.intersection(node.input[:2])
    ]
    if not layers:
        raise ExportError("the network has no layer that int8 could speed up")
    return [*layers, *(node.name for node in model.graph.node if node.op_type in between)]


def _plain_opsets(path: Path) -> Path:
    """Take the domains that no node uses out of a file's list."""
    model = onnx.load(path)
    used = {node.domain for node in model.graph.node}
    kept = [entry for entry in model.opset_import if entry.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    onnx.save(model, path)
    return path
