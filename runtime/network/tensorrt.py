"""TensorRT: engines built for this device, and sessions that run them."""

from __future__ import annotations

import platform
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from zeroline.runtime.arrays import Float32
from zeroline.runtime.cuda import between_events, working_cupy
from zeroline.runtime.errors import DeviceError, MissingExtraError
from zeroline.runtime.network.model import Report

_LEAST = (10, 0)
_BAD = ((10, 2, 0),)  # known for wrong results
_ALIGNED = 256  # bytes that an address must be a multiple of


class TensorRTSession:
    """A session of a TensorRT engine; see `zeroline.runtime.network.model.Session`.

    Images may lie on the host or on the device, outputs lie on the device. The engine runs on a
    stream of its own, between two events on the caller's: the device waits, the host does not.

    Parameters
    ----------
    engine : bytes
        As TensorRT serialised it, on this device.
    label : str
        Names the engine in errors.

    Raises
    ------
    MissingExtraError
        If TensorRT or CuPy is not installed.
    DeviceError
        If the engine is of another TensorRT or GPU, damaged, or has tensors that are not float; if
        a call of TensorRT fails, with its reason.
    """

    device = "tensorrt"
    named = True

    def __init__(self, engine: bytes, *, label: str) -> None:
        trt = tensorrt_package()
        self._cupy = self.arrays = working_cupy()
        self._label = label
        # kept, since TensorRT does not keep them
        self._log = _log_class(trt)()
        trouble = f"TensorRT {trt.__version__} cannot load the engine of {label}"
        self._runtime = self._log.asked(trouble, trt.Runtime, self._log)
        self._engine = self._log.asked(trouble, self._runtime.deserialize_cuda_engine, engine)
        self._context = self._log.asked(
            f"the device may have too little memory for the engine of {label}",
            self._engine.create_execution_context,
        )
        self._stream = self._cupy.cuda.Stream(non_blocking=False)
        self._lock = threading.Lock()
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        shapes = {name: _shape(self._engine.get_tensor_shape(name)) for name in names}
        is_input = {
            name: self._engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT for name in names
        }
        self.inputs: Mapping[str, tuple[int | None, ...]] = {
            name: shapes[name] for name in names if is_input[name]
        }
        self.outputs: tuple[str, ...] = tuple(name for name in names if not is_input[name])
        self._types = {name: self._type(name) for name in names}
        self.providers: tuple[str, ...] = (f"TensorRT {trt.__version__}",)
        ((name, shape),) = self.inputs.items()
        profile = ((shape[0],),) * 3 if shape[0] else self._engine.get_tensor_profile_shape(name, 0)
        #: Least and largest batch of the engine.
        self.batches: tuple[int, int] = (profile[0][0], profile[2][0])

    def run(self, name: str, images: Float32) -> dict[str, Any]:
        """Feed (B, 3, S, S) images to the input called `name`; CuPy outputs by name.

        More images than the engine takes at once are fed in parts, and fewer are filled up with
        copies of the last one.
        """
        cupy = self._cupy
        most = self.batches[1]
        with self._lock:
            parts = [
                self._run(name, images[start : start + most])
                for start in range(0, len(images), most)
            ]
            if len(parts) == 1:
                return parts[0]
            return {output: cupy.concatenate([p[output] for p in parts]) for output in self.outputs}

    def _run(self, name: str, images: Any) -> dict[str, Any]:
        cupy, context = self._cupy, self._context
        held = cupy.asarray(images, dtype=self._types[name])
        real = len(held)
        if real < self.batches[0]:
            copies = cupy.broadcast_to(held[-1:], (self.batches[0] - real, *held.shape[1:]))
            held = cupy.concatenate([held, copies])
        held = cupy.ascontiguousarray(held)
        if held.data.ptr % _ALIGNED:  # a part of a larger array; what CuPy allocates is aligned
            held = held.copy()
        self._ask(
            f"does not take images of shape {held.shape}", "set_input_shape", name, held.shape
        )
        results = {}
        for output in self.outputs:
            shape = tuple(context.get_tensor_shape(output))
            results[output] = cupy.empty(shape, dtype=self._types[output])
        for tensor, array in ((name, held), *results.items()):
            trouble = f'does not take the address of "{tensor}"'
            self._ask(trouble, "set_tensor_address", tensor, array.data.ptr)
        with between_events(cupy, self._stream):
            self._ask("cannot be run", "execute_async_v3", self._stream.ptr)
        return {n: array[:real].astype(cupy.float32, copy=False) for n, array in results.items()}

    def _type(self, name: str) -> Any:
        """Return the type of a tensor's values; DeviceError for another than float."""
        kind = self._engine.get_tensor_dtype(name).name
        allowed = {"FLOAT": self._cupy.float32, "HALF": self._cupy.float16}
        if kind not in allowed:
            raise DeviceError(
                f'the engine of {self._label} has the tensor "{name}" of type {kind}, '
                f"{' or '.join(allowed)} is expected"
            )
        return allowed[kind]

    def _ask(self, trouble: str, call: str, *arguments: Any) -> None:
        trouble = f"the TensorRT engine of {self._label} {trouble}"
        self._log.asked(trouble, getattr(self._context, call), *arguments, silent=True)


_JETSON = "it comes with JetPack: make the environment by python3 -m venv --system-site-packages"
_PC = 'pip install ".[tensorrt-cu13]", or ".[tensorrt-cu12]" with a driver before 580'


def tensorrt_package() -> Any:
    """Return the `tensorrt` package, of a version that serves.

    Raises
    ------
    MissingExtraError
        If it is not installed.
    DeviceError
        If it is too old, or a version known for wrong results.
    """
    try:
        trt = import_module("tensorrt")
    except ModuleNotFoundError as error:
        hint = _JETSON if platform.machine() == "aarch64" else _PC
        raise MissingExtraError("TensorRT", purpose="to run engines", hint=hint) from error
    except (ImportError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise DeviceError(f"TensorRT is installed and cannot be loaded: {reason}") from error
    numbers = tuple(int(part) for part in re.findall(r"\d+", trt.__version__)[:3])
    if numbers[:2] < _LEAST or numbers in _BAD:
        raise DeviceError(
            f"TensorRT is {trt.__version__}; from {'.'.join(map(str, _LEAST))} on, but not "
            f"{', '.join('.'.join(map(str, bad)) for bad in _BAD)}, is expected"
        )
    return trt


def _shape(dimensions: Any) -> tuple[int | None, ...]:
    return tuple(None if d < 0 else int(d) for d in dimensions)


_REPORT_EVERY = 5.0  # seconds


@dataclass(frozen=True)
class Batches:
    """Batch sizes of an engine.

    Attributes
    ----------
    least, best, most : int
        From, tuned for, and up to.
    """

    least: int
    best: int
    most: int

    def __str__(self) -> str:
        """Return them as the command line takes them."""
        return f"{self.least},{self.best},{self.most}"

    def __post_init__(self) -> None:
        if not 1 <= self.least <= self.best <= self.most:
            raise DeviceError(
                f"batches {self}: least, preferred and largest, "
                "from 1 and none less than the one before, are expected"
            )


#: A line brings one frame at a time; folders are read in eights.
BATCHES = Batches(1, 1, 8)


@dataclass(frozen=True)
class Built:
    """A serialised engine, and the timing cache after it."""

    engine: bytes
    timings: bytes


def build_engine(
    trt: Any,
    network: Path,
    *,
    input_name: str,
    size: int,
    batches: Batches,
    timings: bytes,
    workspace: int,
    report: Report,
) -> Built:
    """Build an engine.

    Parameters
    ----------
    trt : module
        TensorRT.
    network : Path
        The ONNX file; tensors beside it are found.
    input_name : str
    size : int
        Side S of the input (B, 3, S, S).
    batches : Batches
    timings : bytes
        Timing cache of this device, or none; one of another device is not used.
    workspace : int
        Bytes that a layer may take while it works. TensorRT's own limit is all that the device has.
    report : callable
        Takes lines of progress.

    Raises
    ------
    DeviceError
        If TensorRT cannot read the network or cannot build it, or refuses another call, with its
        own reason; or if it has no strongly typed networks.
    KeyboardInterrupt
        If the user breaks off; TensorRT ends at its next step.
    """
    strongly_typed = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    if strongly_typed is None:
        raise DeviceError(
            f"TensorRT {trt.__version__} has no flag STRONGLY_TYPED, one that has it is expected"
        )
    log = _log_class(trt)()
    this = f"TensorRT {trt.__version__}"
    builder = log.asked(f"{this} cannot begin an engine", trt.Builder, log)
    definition = log.asked(
        f"{this} cannot begin a network", builder.create_network, 1 << int(strongly_typed)
    )
    parser = log.asked(f"{this} cannot begin to read ONNX", trt.OnnxParser, definition, log)
    if not parser.parse_from_file(str(network)):
        reasons = [parser.get_error(number).desc() for number in range(parser.num_errors)]
        raise DeviceError(
            f'TensorRT {trt.__version__} cannot read "{network}": {_line("; ".join(reasons))}'
        )
    config = log.asked(f"{this} cannot begin a configuration", builder.create_builder_config)
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, workspace)
    # its rounded products would be fp16's accuracy for the price of fp32's memory
    config.clear_flag(trt.BuilderFlag.TF32)
    if definition.get_input(0).shape[0] < 0:  # else the network's batch is fixed
        trouble = f"{this} does not take batches {batches}"
        profile = log.asked(trouble, builder.create_optimization_profile)
        shapes = [(b, 3, size, size) for b in (batches.least, batches.best, batches.most)]
        log.asked(trouble, profile.set_shape, input_name, *shapes, silent=True)
        log.asked(trouble, config.add_optimization_profile, profile)
    cache = config.create_timing_cache(timings)
    if cache is None or not config.set_timing_cache(cache, False):
        report("the timing cache is of another device or TensorRT, a new one is begun")
        trouble = f"{this} cannot begin a timing cache"
        cache = log.asked(trouble, config.create_timing_cache, b"")
        log.asked(trouble, config.set_timing_cache, cache, False)
    progress = _progress_class(trt)(report)
    config.progress_monitor = progress
    try:
        engine = log.asked(
            f'{this} cannot build "{network}"', builder.build_serialized_network, definition, config
        )
    except DeviceError:
        if progress.interrupted:
            raise KeyboardInterrupt from None
        raise
    if progress.interrupted:
        raise KeyboardInterrupt
    trouble = f"{this} cannot store the timing cache"
    timed = log.asked(trouble, log.asked(trouble, config.get_timing_cache).serialize)
    return Built(bytes(engine), bytes(timed))


def _log_class(trt: Any) -> Any:
    """Return a class of loggers that give the last error as the reason of a call that failed."""

    class Log(trt.ILogger):  # type: ignore[misc]  # TensorRT has no types
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.last_error = ""

        def asked(
            self, trouble: str, call: Callable[..., Any], *arguments: Any, silent: bool = False
        ) -> Any:
            """Return what a call answers; DeviceError where it raises or says no.

            No is None (unless the call is `silent`: it never answers), False, and an index of -1.
            """
            self.last_error = ""
            try:
                answer = call(*arguments)
            except (RuntimeError, TypeError, ValueError) as error:
                reason = self.last_error or str(error)
                raise DeviceError(f"{trouble}: {_line(reason)}") from error
            no = answer is False or (type(answer) is int and answer < 0)
            if no or (answer is None and not silent):
                raise DeviceError(f"{trouble}: {_line(self.last_error)}")
            return answer

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.Severity.INTERNAL_ERROR, trt.ILogger.Severity.ERROR):
                self.last_error = message

    return Log


def _progress_class(trt: Any) -> Any:
    """Return a class of monitors that tell how far the longest phase is."""

    class Progress(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self, report: Report) -> None:
            trt.IProgressMonitor.__init__(self)
            self._report = report
            self._steps: dict[str, int] = {}
            self._reported = time.monotonic()
            self.interrupted = False

        def phase_start(self, phase_name: str, _: str | None, num_steps: int) -> None:
            with self._interruptible():
                self._steps[phase_name] = num_steps

        def step_complete(self, phase_name: str, step: int) -> bool:
            with self._interruptible():
                now = time.monotonic()
                if now - self._reported >= _REPORT_EVERY:
                    self._reported = now
                    self._report(f"TensorRT: {phase_name}, {step + 1} of {self._steps[phase_name]}")
            return not self.interrupted

        def phase_finish(self, phase_name: str) -> None:
            with self._interruptible():
                self._steps.pop(phase_name, None)

        @contextmanager
        def _interruptible(self) -> Iterator[None]:
            # an exception must not cross TensorRT's own code
            try:
                yield
            except KeyboardInterrupt:
                self.interrupted = True

    return Progress


def _line(text: str) -> str:
    """Return a message on one line."""
    return " ".join(text.split()) or "no reason is given"
