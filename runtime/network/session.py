"""Inference sessions: one small interface, and which back end stands behind it.

onnxruntime serves the CPU and CUDA; engines run by NVIDIA's own package `tensorrt`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

DEVICES = ("auto", "cpu", "cuda", "tensorrt")

#: Takes lines of progress.
Report = Callable[[str], None]


class Session(Protocol):
    """A loaded network. `run` may be called from several threads."""

    @property
    def device(self) -> str:
        """Where it runs: "cpu", "cuda" or "tensorrt"."""

    @property
    def providers(self) -> tuple[str, ...]:
        """What is really in use, the first one first."""

    @property
    def inputs(self) -> Mapping[str, tuple[int | None, ...]]:
        """Names and shapes of the inputs; None for a symbolic dimension."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs."""

    def run(self, name: str, images: npt.NDArray[np.float32]) -> dict[str, Any]:
        """Feed (B, 3, S, S) images to the input called `name`; outputs by name.

        Images and outputs are NumPy's; on a CUDA device with CuPy installed the outputs are
        CuPy's, and the images may be.
        """
