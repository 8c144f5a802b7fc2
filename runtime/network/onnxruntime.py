"""Sessions of onnxruntime, on the CPU and on CUDA.

onnxruntime falls back to another provider without an error, so what was asked for and what is in
use are compared. On a CUDA device images and outputs stay there, as CuPy arrays.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from zeroline.runtime.arrays import Float32, to_host
from zeroline.runtime.cuda import installed_cupy
from zeroline.runtime.errors import BundleError, DeviceError, MissingExtraError, ProviderWarning
from zeroline.runtime.workers import thread_count

#: Execution providers in order of preference, by the name of the device.
PROVIDERS: Mapping[str, tuple[str, ...]] = {
    "cpu": ("CPUExecutionProvider",),
    "cuda": ("CUDAExecutionProvider", "CPUExecutionProvider"),
}

_HINTS = {
    "cpu": 'pip install "zeroline[cpu]"',
    "cuda": 'pip install "zeroline[cuda12]" or "zeroline[cuda13]"',
}


class OnnxRuntimeSession:
    """A session of onnxruntime on one device.

    Parameters
    ----------
    model : Path
        The ONNX file.
    device : {"auto", "cpu", "cuda"}
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

    def __init__(
        self,
        model: Path,
        *,
        device: str = "auto",
        threads: int | None = None,
    ) -> None:
        try:
            import onnxruntime
        except ModuleNotFoundError as error:
            raise MissingExtraError("onnxruntime", extra="cpu", purpose="to run models") from error
        if device not in ("auto", *PROVIDERS):
            raise DeviceError(f'device is "{device}", allowed: auto, {", ".join(PROVIDERS)}')
        offered = onnxruntime.get_available_providers()
        wanted = device
        if device == "auto":
            wanted = "cuda" if PROVIDERS["cuda"][0] in offered else "cpu"
        if PROVIDERS[wanted][0] not in offered:
            raise DeviceError(
                f'device "{device}" needs {PROVIDERS[wanted][0]}, this onnxruntime '
                f"({onnxruntime.__version__}) offers {', '.join(offered)}: "
                f"{_HINTS[wanted]}"
            )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = thread_count(threads)
        options.inter_op_num_threads = 1
        # idle threads that spin would take the cores that mutual scoring needs
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # a failure is raised; a CUDA provider tells in its lines alone why it is not in use
        options.log_severity_level = 3 if wanted != "cpu" else 4
        self._memory = DeviceMemory.of(installed_cupy()) if wanted != "cpu" else None
        stream = {} if self._memory is None else self._memory.provider_options()
        by_provider = {PROVIDERS["cuda"][0]: stream}
        providers = [(p, by_provider.get(p, {})) for p in PROVIDERS[wanted] if p in offered]
        try:
            self._session = onnxruntime.InferenceSession(
                str(model),
                options,
                providers=providers,
                enable_fallback=int(wanted != "cpu"),  # it prints, and tries the CPU once more
            )
        except _failures() as error:
            first_line = str(error).strip().splitlines()[0]
            raise BundleError(f'"{model}" cannot be loaded: {first_line}') from error
        self.providers: tuple[str, ...] = tuple(self._session.get_providers())
        self.device = next(name for name, p in PROVIDERS.items() if p[0] == self.providers[0])
        if self.device != wanted:
            message = f"{PROVIDERS[wanted][0]} was asked for, {self.providers[0]} is in use"
            if device != "auto":
                raise DeviceError(message)
            warnings.warn(message, ProviderWarning, stacklevel=2)
        if self.device == "cpu":
            self._memory = None
        self._lock = threading.Lock()
        self.inputs: Mapping[str, tuple[int | None, ...]] = {
            node.name: tuple(d if isinstance(d, int) else None for d in node.shape)
            for node in self._session.get_inputs()
        }
        self.outputs: tuple[str, ...] = tuple(n.name for n in self._session.get_outputs())

    def run(self, name: str, images: Float32) -> dict[str, Any]:
        """Feed (B, 3, S, S) images to the input called `name`; outputs by name."""
        try:
            if self._memory is None:
                values = self._session.run(list(self.outputs), {name: to_host(images)})
                return dict(zip(self.outputs, values, strict=True))
            with self._lock:  # one stream
                return run_bound(self._session, name, images, self._memory)
        except _failures() as error:
            first_line = str(error).strip().splitlines()[0]
            raise BundleError(
                f"the model failed on {images.shape[0]} image(s): {first_line}"
            ) from error


@dataclass
class DeviceMemory:
    """Where a session's inputs and outputs lie.

    Attributes
    ----------
    arrays : module
        cupy, or numpy in tests of what is around it.
    kind : str
        onnxruntime's name of the device.
    stream : object or None
        CuPy's, on which network and copies are queued. It is a blocking one: work on CUDA's
        default stream, where the scoring stages run, waits for it on the device.
    sides : dict
        Shapes of the outputs without their batch, known after the first run.
    """

    arrays: Any
    kind: str
    stream: Any | None = None
    sides: dict[str, tuple[int, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, cupy: Any | None) -> DeviceMemory | None:
        """Return the CUDA device's memory, None without CuPy."""
        return None if cupy is None else cls(cupy, "cuda", cupy.cuda.Stream(non_blocking=False))

    def provider_options(self) -> dict[str, str]:
        """Return what lets a provider queue its work on the stream."""
        return {} if self.stream is None else {"user_compute_stream": str(self.stream.ptr)}

    def address(self, array: Any) -> int:
        """Return where an array begins."""
        return int(array.ctypes.data if self.kind == "cpu" else array.data.ptr)


def run_bound(session: Any, name: str, images: Any, memory: DeviceMemory) -> dict[str, Any]:
    """Run an onnxruntime session between buffers on its device, without copies to the host.

    Parameters
    ----------
    session : InferenceSession
    name : str
        Of the input.
    images : array, shape (B, 3, S, S), float32
        On the host or on the device.
    memory : DeviceMemory

    Returns
    -------
    dict
        Arrays of `memory.arrays` by the outputs' names.
    """
    xp = memory.arrays
    if not memory.sides:  # symbolic dimensions are settled by what comes out
        outputs = [output.name for output in session.get_outputs()]
        values = session.run(outputs, {name: to_host(images)})
        memory.sides.update(
            {output: value.shape[1:] for output, value in zip(outputs, values, strict=True)}
        )
    with memory.stream or nullcontext():
        held = xp.ascontiguousarray(xp.asarray(images, dtype=xp.float32))
        results = {
            output: xp.empty((len(held), *side), dtype=xp.float32)
            for output, side in memory.sides.items()
        }
        binding = session.io_binding()
        binding.bind_input(name, memory.kind, 0, np.float32, held.shape, memory.address(held))
        for output, array in results.items():
            binding.bind_output(
                output, memory.kind, 0, np.float32, array.shape, memory.address(array)
            )
        session.run_with_iobinding(binding)
    return results


def _failures() -> tuple[type[Exception], ...]:
    """Every exception class of onnxruntime, which share no base; and one of its messages' bytes."""
    from onnxruntime.capi import onnxruntime_pybind11_state as native

    classes = [value for value in vars(native).values() if isinstance(value, type)]
    own = tuple(value for value in classes if issubclass(value, Exception))
    return (*own, UnicodeDecodeError)
