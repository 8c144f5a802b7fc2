"""The teacher: a larger, pretrained network whose patch tokens the student learns to repeat."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

MEAN = STD = 0.5


def as_input(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Turn (B, S, S, 3) uint8 RGB into (B, 3, S, S) float32 in [-1, 1], channels last in memory."""
    scaled = (pictures.astype(np.float32) / 255 - MEAN) / STD
    return np.asarray(scaled.transpose(0, 3, 1, 2))


@dataclass(frozen=True)
class Lesson:
    """Inputs and what the teacher makes of them."""

    images: NDArray[np.float32]
    """(B, 3, S, S)"""
    tokens: tuple[NDArray[np.float32], ...]
    """per depth (B, C, g, g)"""
    class_tokens: NDArray[np.float32]
    """(B, D), unit rows"""


class Teacher:
    """An ONNX network with ``tokens_0``, ``tokens_1`` and ``class_token``, for squares of any size.

    The file may declare one input size; a convolutional network serves any multiple of its
    stride, so the declaration is lifted.
    """

    def __init__(self, onnx_file: Path) -> None:
        model = onnx.load(str(onnx_file))
        shape = model.graph.input[0].type.tensor_type.shape.dim
        shape[2].dim_param = shape[3].dim_param = "side"
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session: Any = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        self._input = self._session.get_inputs()[0].name

    def teach(self, pictures: NDArray[np.uint8]) -> Lesson:
        """Run the teacher on (B, S, S, 3) uint8 RGB."""
        images = as_input(pictures)
        batch = np.ascontiguousarray(images)
        *tokens, class_tokens = self._session.run(
            ["tokens_0", "tokens_1", "class_token"], {self._input: batch}
        )
        return Lesson(images, tuple(_as_map(t) for t in tokens), class_tokens)


def _as_map(tokens: NDArray[np.float32]) -> NDArray[np.float32]:
    """(B, P, C) → (B, C, g, g)."""
    batch, patches, channels = tokens.shape
    side = round(patches**0.5)
    return np.asarray(tokens.transpose(0, 2, 1).reshape(batch, channels, side, side))
