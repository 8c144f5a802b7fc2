"""Build a TensorRT engine from an ONNX file, on the device that will run it.

The engine is strongly typed: the graph says which tensor has which precision, and the engine obeys.
Only names that TensorRT 10.3 and 11 both have are used.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zeroline.runtime.errors import DeviceError
from zeroline.runtime.network.session import Report

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

    def __post_init__(self) -> None:
        if not 1 <= self.least <= self.best <= self.most:
            raise DeviceError(
                f"batches {self.least},{self.best},{self.most}: least, preferred and largest, "
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
    report : callable
        Takes lines of progress.

    Raises
    ------
    DeviceError
        If TensorRT cannot read the network or cannot build it, with its own reason; or if it has no
        strongly typed networks.
    KeyboardInterrupt
        If the user breaks off; TensorRT ends at its next step.
    """
    strongly_typed = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    if strongly_typed is None:
        raise DeviceError(
            f"TensorRT {trt.__version__} has no flag STRONGLY_TYPED, one that has it is expected"
        )
    log = _log_class(trt)()
    builder = trt.Builder(log)
    definition = builder.create_network(1 << int(strongly_typed))
    parser = trt.OnnxParser(definition, log)
    if not parser.parse_from_file(str(network)):
        reasons = [parser.get_error(number).desc() for number in range(parser.num_errors)]
        raise DeviceError(
            f'TensorRT {trt.__version__} cannot read "{network}": {_line("; ".join(reasons))}'
        )
    config = builder.create_builder_config()
    # its rounded products would be fp16's accuracy for the price of fp32's memory
    config.clear_flag(trt.BuilderFlag.TF32)
    if definition.get_input(0).shape[0] < 0:  # else the network's batch is fixed
        profile = builder.create_optimization_profile()
        shapes = [(batch, 3, size, size) for batch in (batches.least, batches.best, batches.most)]
        profile.set_shape(input_name, *shapes)
        config.add_optimization_profile(profile)
    cache = config.create_timing_cache(timings)
    if not config.set_timing_cache(cache, False):
        report("the timing cache is of another device or TensorRT, a new one is begun")
        cache = config.create_timing_cache(b"")
        config.set_timing_cache(cache, False)
    progress = _progress_class(trt)(report)
    config.progress_monitor = progress
    engine = builder.build_serialized_network(definition, config)
    if progress.interrupted:
        raise KeyboardInterrupt
    if engine is None:
        raise DeviceError(
            f'TensorRT {trt.__version__} cannot build "{network}": {_line(log.last_error)}'
        )
    return Built(bytes(engine), bytes(config.get_timing_cache().serialize()))


def _log_class(trt: Any) -> Any:
    """Return a class of loggers that remember the last error."""

    class Log(trt.ILogger):  # type: ignore[misc]  # TensorRT has no types
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.last_error = "no reason is given"

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
