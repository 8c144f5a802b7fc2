"""The line: frames in, verdicts out to whoever takes them, until it is told to stop."""

from __future__ import annotations

import signal
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from zeroline.edge_app.captured import Captured, FrameSource
from zeroline.edge_app.events import Events, events_of
from zeroline.edge_app.outputs.guarded import GuardedOutput, Output
from zeroline.runtime.errors import DeviceError
from zeroline.runtime.line.inspector import RollingInspector
from zeroline.runtime.results import Inspection, Reason, Verdict


@dataclass
class Tally:
    """What has passed.

    Attributes
    ----------
    verdicts : Counter
        Frames by verdict.
    dropped : int
        Frames of a live source that were not taken.
    missed : Counter
        By output, frames that it did not take since it failed.
    """

    verdicts: Counter[str] = field(default_factory=Counter)
    dropped: int = 0
    missed: Counter[str] = field(default_factory=Counter)

    @property
    def frames(self) -> int:
        """All frames that were inspected."""
        return sum(self.verdicts.values())

    def __str__(self) -> str:
        """Return one line."""
        parts = ", ".join(f"{self.verdicts[v.value]} {v.value}" for v in Verdict)
        missed = "".join(f"; {count} missed by {name}" for name, count in self.missed.items())
        return f"{self.frames} frames: {parts}; {self.dropped} dropped{missed}"


def run_line(
    source: FrameSource,
    inspector: RollingInspector,
    outputs: Mapping[str, Output],
    *,
    events: Events,
    stop: threading.Event,
    most: int | None = None,
) -> Tally:
    """Inspect frames until the source ends, `stop` is set, or `most` frames have passed.

    It ends also after the frame with which the CUDA device was lost: only another process can go
    on, and whoever watches this one starts it. `RollingInspector.device_lost` says so.

    An output that fails does not stop the line or another output. It is tried again with the next
    frame.

    Parameters
    ----------
    source : FrameSource
        Closed at the end.
    inspector : RollingInspector
        Gives the verdicts.
    outputs : mapping of str to Output
        Take each frame in turn, by their names; closed at the end.
    events : Events
        Is told of alarms, failures and losses.
    stop : Event
        Ends the line after the frame under way.
    most : int, optional
        Frames, at the most.

    Returns
    -------
    Tally
    """
    tally = Tally()
    guarded = [GuardedOutput(name, output, events) for name, output in outputs.items()]
    try:
        for captured in source:
            inspection = inspected(captured, inspector)
            tally.verdicts[inspection.verdict.value] += 1
            tally.dropped += captured.dropped
            for output in guarded:
                output.take(captured, inspection)
            for event in events_of(inspection):
                events(event)
            ended = most is not None and tally.frames >= most
            if ended or stop.is_set() or inspector.device_lost:
                break
    finally:
        source.close()
        for output in guarded:
            output.close()
    tally.missed.update({output.name: output.missed for output in guarded if output.missed})
    return tally


def check_device(inspector: RollingInspector, *, unsaved: str = "") -> None:
    """Raise where a line has ended since its CUDA device is lost; `unsaved`: what was not written.

    Raises
    ------
    DeviceError
    """
    if inspector.device_lost:
        more = f', and "{unsaved}" was not written' if unsaved else ""
        raise DeviceError(f"the line has ended with its CUDA device{more}")


def inspected(captured: Captured, inspector: RollingInspector) -> Inspection:
    """Return the verdict on what came from a source."""
    about = {"part_id": captured.part_id, "captured": captured.time}
    if captured.frame is None:
        reason = captured.reason or Reason.NO_FRAME
        return inspector.fault(reason, captured.fault, **about)  # type: ignore[arg-type]
    return inspector.push(captured.frame, **about)  # type: ignore[arg-type]


@contextmanager
def stopped_by_signals() -> Iterator[threading.Event]:
    """Set an event on Ctrl-C and SIGTERM; a second one breaks off."""
    stop = threading.Event()

    def end(*_: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    kinds = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(kind, end) for kind in kinds]
    try:
        yield stop
    finally:
        for kind, handler in zip(kinds, before, strict=True):
            signal.signal(kind, handler)
