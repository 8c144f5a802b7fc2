"""Inference sessions: one small interface, and which back end stands behind it.

onnxruntime serves the CPU, CUDA, and TensorRT through its provider; where NVIDIA's own `tensorrt`
package is installed, engines run without onnxruntime.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from zeroline.runtime.errors import DeviceError
from zeroline.runtime.manifest import Manifest

DEVICES = ("auto", "cpu", "cuda", "tensorrt")

Tell = Callable[[str], None]


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


def open_session(
    folder: Path, manifest: Manifest, *, device: str, threads: int | None, tell: Tell
) -> Session:
    """Open a bundle's network on a device.

    Parameters
    ----------
    folder : Path
        The bundle's.
    manifest : Manifest
    device : {"auto", "cpu", "cuda", "tensorrt"}
        "tensorrt" runs an engine, built now if there is none yet, where `tensorrt` and CuPy are
        installed; onnxruntime's TensorRT provider else.
    threads : int or None
        CPU threads; None takes all cores.
    tell : callable
        Takes lines of progress.

    Raises
    ------
    DeviceError
        If the device cannot be had.
    BundleError
        If the network cannot be loaded.
    """
    if device not in DEVICES:
        raise DeviceError(f'device is "{device}", allowed: {", ".join(DEVICES)}')
    if device == "tensorrt" and find_spec("tensorrt") is not None:
        from zeroline.runtime.engines import open_engine

        return open_engine(folder, manifest, tell=tell)
    if device == "tensorrt":
        from zeroline.runtime.engines import open_provider

        return open_provider(folder, manifest, tell=tell)
    from zeroline.runtime.onnxruntime_session import OnnxRuntimeSession

    return OnnxRuntimeSession(folder / manifest.model, device=device, threads=threads)
