"""Sessions of onnxruntime, on the CPU and on CUDA.

onnxruntime falls back to another provider without an error, so what was asked for and what is in
use are compared. On a CUDA device images and outputs stay there, as CuPy arrays. Network and scores
run on one device: where CuPy does not work the network has no use for CUDA either.
"""

from __future__ import annotations

import contextlib
import io
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from zeroline.runtime.arrays import Float32, to_host
from zeroline.runtime.cuda import between_events, install_hint, working_cupy
from zeroline.runtime.errors import (
    BundleError,
    DeviceError,
    MissingExtraError,
    extra_hint,
    warn_of_cpu,
)
from zeroline.runtime.workers import thread_count

#: Execution providers in order of preference, by the name of the device.
PROVIDERS: Mapping[str, tuple[str, ...]] = {
    "cpu": ("CPUExecutionProvider",),
    "cuda": ("CUDAExecutionProvider", "CPUExecutionProvider"),
}


class OnnxRuntimeSession:
    """A session of onnxruntime on one device; see `zeroline.runtime.network.model.Session`.

    Parameters
    ----------
    model : Path
        The ONNX file.
    device : {"auto", "cpu", "cuda"}
        "auto" takes CUDA where this onnxruntime offers it, and what cannot be had of it falls back
        to the CPU with one warning. A named device that is not in use in the end is an error.
    threads : int or None
        Threads of the CPU provider; None takes all cores.

    Raises
    ------
    DeviceError
        If the device is unknown, not offered, or silently replaced, or CuPy does not work.
    MissingExtraError
        If onnxruntime is not installed, or CuPy where CUDA is asked for by name.
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
            hint = install_hint() if wanted == "cuda" else extra_hint("cpu")
            raise DeviceError(
                f'device "{device}" needs {PROVIDERS[wanted][0]}, this onnxruntime '
                f"({onnxruntime.__version__}) offers {', '.join(offered)}; "
                f"in a clone of zeroline: {hint}"
            )
        self.named = device != "auto"
        self._memory: DeviceMemory | None = None
        trouble: Exception | None = None
        if wanted == "cuda":
            try:
                self._memory = DeviceMemory.of(working_cupy())
                self._session = cuda_session(model, self._memory, threads=threads)
            except (DeviceError, MissingExtraError) as error:
                if self.named:
                    raise
                trouble, self._memory = error, None
        if self._memory is None:
            self._session = _session(model, PROVIDERS["cpu"], {}, threads=threads)
        if trouble is not None:
            warn_of_cpu(trouble)
        self.device = "cpu" if self._memory is None else "cuda"
        self.arrays: Any = np if self._memory is None else self._memory.arrays
        self.providers: tuple[str, ...] = tuple(self._session.get_providers())
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


def _session(
    model: Path,
    providers: Sequence[str],
    options_of: Mapping[str, Mapping[str, str]],
    *,
    threads: int | None,
) -> Any:
    """Return an onnxruntime session; BundleError with its reason, if it cannot be made."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = thread_count(threads)
    options.inter_op_num_threads = 1
    # idle threads that spin would take the cores that mutual scoring needs
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # a failure is raised; a CUDA provider tells in its lines alone why it is not in use
    options.log_severity_level = 4 if providers == PROVIDERS["cpu"] else 3
    try:
        return onnxruntime.InferenceSession(
            str(model),
            options,
            providers=[(name, dict(options_of.get(name, {}))) for name in providers],
            enable_fallback=0,  # it prints, and so spoils lines of JSON
        )
    except _failures() as error:
        first_line = str(error).strip().splitlines()[0]
        raise BundleError(f'"{model}" cannot be loaded: {first_line}') from error


def cuda_session(model: Path, memory: DeviceMemory, *, threads: int | None) -> Any:
    """Return an onnxruntime session that runs on CUDA.

    Raises
    ------
    DeviceError
        If it runs elsewhere, or the file cannot be loaded there: too little memory, or no code for
        the device.
    """
    told = preload()
    options_of = {PROVIDERS["cuda"][0]: memory.options()}
    try:
        with _silence() if told else nullcontext():
            session = _session(model, PROVIDERS["cuda"], options_of, threads=threads)
    except BundleError as error:
        raise DeviceError(str(error)) from error
    wanted, used = PROVIDERS["cuda"][0], session.get_providers()[0]
    if used != wanted:
        why = f": {told}" if told else ""
        raise DeviceError(f"{wanted} was asked for, {used} is in use{why}")
    return session


@contextmanager
def _silence() -> Iterator[None]:
    """Silence what onnxruntime prints of a provider's libraries; for what is known already."""
    import onnxruntime

    onnxruntime.set_default_logger_severity(4)
    try:
        yield
    finally:
        onnxruntime.set_default_logger_severity(2)  # its own default


def preload() -> str:
    """Load the CUDA libraries that pip has installed, which are not on the loader's path.

    Returns
    -------
    str
        What onnxruntime prints of the first one that is missing; empty where none is. The system's
        may still be found.
    """
    import onnxruntime

    if not hasattr(onnxruntime, "preload_dlls"):  # before 1.21, as NVIDIA's wheel for JetPack 6
        return ""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        onnxruntime.preload_dlls()
    return next((line.strip() for line in printed.getvalue().splitlines() if line.strip()), "")


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
        CuPy's, on which the network is queued, between two events on the caller's stream.
    sides : dict
        Shapes of the outputs without their batch, known after the first run.
    """

    arrays: Any
    kind: str
    stream: Any | None = None
    sides: dict[str, tuple[int, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, cupy: Any) -> DeviceMemory:
        """Return the CUDA device's memory."""
        return cls(cupy, "cuda", cupy.cuda.Stream(non_blocking=False))

    def options(self) -> dict[str, str]:
        """Return the options of the CUDA provider.

        Products are in float32: the provider's own default is TF32, with tokens some 1e-3 off.
        Its memory grows as asked, not in powers of two. The search for convolutions is short, and
        finds the same at each start.
        """
        options = {
            "use_tf32": "0",
            "arena_extend_strategy": "kSameAsRequested",
            "cudnn_conv_algo_search": "HEURISTIC",
        }
        if self.stream is not None:
            options["user_compute_stream"] = str(self.stream.ptr)
        return options

    def queue(self) -> AbstractContextManager[None]:
        """Return a context in which the network runs between the caller's work before and after."""
        return nullcontext() if self.stream is None else between_events(self.arrays, self.stream)

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
    # made on the caller's stream, so that nobody else gets this memory while it is in use
    held = xp.ascontiguousarray(xp.asarray(images, dtype=xp.float32))
    results = {
        output: xp.empty((len(held), *side), dtype=xp.float32)
        for output, side in memory.sides.items()
    }
    binding = session.io_binding()
    binding.bind_input(name, memory.kind, 0, np.float32, held.shape, memory.address(held))
    for output, array in results.items():
        binding.bind_output(output, memory.kind, 0, np.float32, array.shape, memory.address(array))
    with memory.queue():
        session.run_with_iobinding(binding, _unsynchronised())
    return results


def _unsynchronised() -> Any:
    """Return options of a run after which the host does not wait for the device."""
    import onnxruntime

    options = onnxruntime.RunOptions()
    options.add_run_config_entry("disable_synchronize_execution_providers", "1")
    return options


def _failures() -> tuple[type[Exception], ...]:
    """Every exception class of onnxruntime, which share no base; and one of its messages' bytes."""
    from onnxruntime.capi import onnxruntime_pybind11_state as native

    classes = [value for value in vars(native).values() if isinstance(value, type)]
    own = tuple(value for value in classes if issubclass(value, Exception))
    return (*own, UnicodeDecodeError)
