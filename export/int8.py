"""8-bit integers baked into the graph, as QuantizeLinear and DequantizeLinear around each layer.

onnxruntime's static quantisation does the work: weights per channel, activations by their range
on frames of the line. Which layers stay in float32 is decided by the error that each makes by
itself at the outputs.
"""

from __future__ import annotations

import inspect
import logging
import math
from collections.abc import Collection, Iterator, Sequence
from enum import Enum
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
from zeroline.export.gate import Original, network_tokens
from zeroline.export.graph_names import named
from zeroline.export.quiet import quiet
from zeroline.runtime.frames import Frame
from zeroline.runtime.network.parity import row_cosines
from zeroline.runtime.tokens import Tokens

SHARES = (0.0, 0.05, 0.1, 0.2, 0.4)
"""Shares of the layers that are left in float32, tried in this order."""
GROUPS = 40
"""Layers are measured in so many groups at the most."""

_LAYERS = ("Conv", "Gemm", "MatMul")
# in a convolutional network these stand between layers, and pass 8-bit values on
_BETWEEN = ("Add", "AveragePool", "Clip", "Concat", "GlobalAveragePool", "MaxPool", "Pad", "Relu")


class Form(Enum):
    """How activations are stored.

    Attributes
    ----------
    CPU
        uint8 with a zero point: what the dot-product instructions (VNNI) of CPUs take.
    TENSORRT
        int8 without a zero point, the only form that TensorRT reads.
    """

    CPU = "cpu"
    TENSORRT = "tensorrt"


class Quantiser:
    """A float32 network, calibrated once, from which int8 networks are made.

    Parameters
    ----------
    path : Path
        The float32 ONNX file.
    inputs : sequence of arrays, shape (3, S, S), float32
        What it is calibrated on.
    form : Form
    folder : Path
        For files.
    """

    def __init__(
        self, path: Path, inputs: Sequence[NDArray[np.float32]], form: Form, folder: Path
    ) -> None:
        self._folder, self._form, self._inputs = folder, form, inputs
        self._plain = folder / "prepared.onnx"
        self._ranges = folder / "ranges.json"
        with quiet(logging.WARNING):  # its advice
            quant_pre_process(str(path), str(self._plain), skip_symbolic_shape=True)
        model = named(onnx.load(self._plain))
        onnx.save(model, self._plain)
        self._input = model.graph.input[0].name
        self._transformer = any(node.op_type == "Softmax" for node in model.graph.node)
        self.layers: tuple[str, ...] = tuple(_layers_of(model, self._transformer))
        if not self.layers:
            raise ExportError("the network has no layer that int8 could speed up")

    def quantised(self, *, leave: Collection[str] = (), only: Collection[str] = ()) -> Path:
        """Make an int8 network.

        Parameters
        ----------
        leave : collection of str
            Layers that stay in float32.
        only : collection of str
            The only layers that do not; all but `leave` where none is named.
        """
        path = self._folder / "int8.onnx"
        chosen = set(only or self.layers) - set(leave)
        between = _BETWEEN if not (self._transformer or only) else ()
        model = onnx.load(self._plain)
        nodes = []
        plain: set[str] = set()  # values of float32 on their way from one layer to the next
        for node in model.graph.node:
            if node.name in chosen or (
                node.op_type in between and not plain.intersection(node.input)
            ):
                nodes.append(node.name)
            elif node.name in leave or node.op_type in between:
                plain.update(node.output)
        options: dict[str, Any] = {}
        if "calibration_cache_path" in inspect.signature(quantize_static).parameters:
            options["calibration_cache_path"] = self._ranges
        symmetric = self._form is Form.TENSORRT
        with quiet(logging.WARNING):  # its advice
            quantize_static(
                str(self._plain),
                str(path),
                _Inputs(self._input, self._inputs),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=[*_LAYERS, *_BETWEEN],
                nodes_to_quantize=nodes,
                per_channel=True,
                activation_type=QuantType.QInt8 if symmetric else QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod.MinMax,
                extra_options={"ActivationSymmetric": symmetric, "WeightSymmetric": True},
                **options,
            )
        return _plain_opsets(path)

    def by_error(self, wanted: Tokens, original: Original, frames: Sequence[Frame]) -> list[str]:
        """Return the layers, first the one whose quantisation alone changes the outputs most.

        Parameters
        ----------
        wanted : Tokens
            Of the original, for these frames and perhaps more.
        original : Original
        frames : sequence of arrays, shape (H, W, 3), uint8
        """
        wanted = wanted.select(slice(0, len(frames)))
        errors: dict[str, float] = {}
        groups = np.array_split(np.array(self.layers), min(GROUPS, len(self.layers)))
        for group in groups:
            made = network_tokens(self.quantised(only=group.tolist()), original, frames)
            rows = [
                row_cosines(want, got)
                for want, got in zip(
                    (*wanted.layers, wanted.class_tokens),
                    (*made.layers, made.class_tokens),
                    strict=True,
                )
            ]
            error = float(sum(1 - cosines.mean() for cosines in rows))
            if math.isnan(error):
                error = math.inf
            errors.update(dict.fromkeys(group.tolist(), error))
        return sorted(errors, key=lambda name: -errors[name])


class _Inputs(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    """What onnxruntime calibrates on, one image after the other."""

    def __init__(self, name: str, inputs: Sequence[NDArray[np.float32]]) -> None:
        self._waiting: Iterator[dict[str, Any]] = iter([{name: image[None]} for image in inputs])

    def get_next(self) -> dict[str, Any] | None:
        return next(self._waiting, None)


def _layers_of(model: onnx.ModelProto, transformer: bool) -> Iterator[str]:
    """Name the nodes that hold weights; of a transformer not the patch embedding."""
    stored = {tensor.name for tensor in model.graph.initializer}
    for node in model.graph.node:
        weighted = node.op_type in _LAYERS and stored.intersection(node.input[:2])
        if weighted and not (transformer and node.op_type == "Conv"):
            yield node.name


def _plain_opsets(path: Path) -> Path:
    """Take the domains that no node uses out of a file's list."""
    model = onnx.load(path)
    used = {node.domain for node in model.graph.node}
    kept = [entry for entry in model.opset_import if entry.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    onnx.save(model, path)
    return path
