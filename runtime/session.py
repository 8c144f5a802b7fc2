"""Inference sessions: one small interface, back ends behind it.

onnxruntime serves the CPU, and CUDA and TensorRT through its execution providers. It falls back
to another provider without an error, so what was asked for and what is in use are compared.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from zeroline.runtime.errors import BundleError, DeviceError, MissingExtraError
from zeroline.runtime.workers import thread_count

#: Execution providers in order of preference, by the name of the device.
PROVIDERS: Mapping[str, tuple[str, ...]] = {
    "cpu": ("CPUExecutionProvider",),
    "cuda": ("CUDAExecutionProvider", "CPUExecutionProvider"),
    "tensorrt": ("TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"),
}
DEVICES = ("auto", *PROVIDERS)


class ProviderWarning(UserWarning):
    """The session runs on another provider than the one that was preferred."""


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
        """Feed (B, 3, S, S) images to the input called `name`; outputs by name."""


class OnnxRuntimeSession:
    """A session of onnxruntime on one device.

    Parameters
    ----------
    model : Path
        The ONNX file.
    device : {"auto", "cpu", "cuda", "tensorrt"}
        "auto" takes CUDA where this onnxruntime offers it, with a warning if it then falls
        back; a named device that is not in use in the end is an error.
    threads : int or None
        Threads of the CPU provider; None takes all cores.

    Raises
    ------
    DeviceError
        If the device is unknown, not offered, or silently replaced.
    BundleError
        If onnxruntime cannot load the file.
    """

    def __init__(self, model: Path, *, device: str = "auto", threads: int | None = None) -> None:
        try:
            import onnxruntime
        except ModuleNotFoundError as error:
            raise MissingExtraError("onnxruntime", extra="cpu", purpose="to run models") from error
        if device not in DEVICES:
            raise DeviceError(f'device is "{device}", allowed: {", ".join(DEVICES)}')
        offered = onnxruntime.get_available_providers()
        wanted = device
        if device == "auto":
            wanted = "cuda" if PROVIDERS["cuda"][0] in offered else "cpu"
        if PROVIDERS[wanted][0] not in offered:
            raise DeviceError(
                f'device "{device}" needs {PROVIDERS[wanted][0]}, this onnxruntime '
                f"({onnxruntime.__version__}) offers {', '.join(offered)}: "
                'pip install "zeroline[cuda12]" or "zeroline[cuda13]"'
            )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = thread_count(threads)
        options.inter_op_num_threads = 1
        # idle threads that spin would take the cores that mutual scoring needs
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(
                str(model), options, providers=[p for p in PROVIDERS[wanted] if p in offered]
            )
        except _failures() as error:
            first_line = str(error).strip().splitlines()[0]
            raise BundleError(f'"{model}" cannot be loaded: {first_line}') from error
        self.providers: tuple[str, ...] = tuple(self._session.get_providers())
        self.device = next(name for name, p in PROVIDERS.items() if p[0] == self.providers[0])
        if self.device != wanted:
            told = f"{PROVIDERS[wanted][0]} was asked for, {self.providers[0]} is in use"
            if device != "auto":
                raise DeviceError(told)
            warnings.warn(told, ProviderWarning, stacklevel=2)
        self.inputs: Mapping[str, tuple[int | None, ...]] = {
            node.name: tuple(d if isinstance(d, int) else None for d in node.shape)
            for node in self._session.get_inputs()
        }
        self.outputs: tuple[str, ...] = tuple(n.name for n in self._session.get_outputs())

    def run(self, name: str, images: npt.NDArray[np.float32]) -> dict[str, Any]:
        """Feed (B, 3, S, S) images to the input called `name`; outputs by name."""
        try:
            values = self._session.run(list(self.outputs), {name: images})
        except _failures() as error:
            first_line = str(error).strip().splitlines()[0]
            raise BundleError(
                f"the model failed on {images.shape[0]} image(s): {first_line}"
            ) from error
        return dict(zip(self.outputs, values, strict=True))


def _failures() -> tuple[type[Exception], ...]:
    """Every exception class of onnxruntime; they share no base but Exception."""
    from onnxruntime.capi import onnxruntime_pybind11_state as native

    classes = [value for value in vars(native).values() if isinstance(value, type)]
    return tuple(value for value in classes if issubclass(value, Exception))
