"""The line: frames in, verdicts out to whoever takes them, until it is told to stop."""

from __future__ import annotations

import signal
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from zeroline.edge_app.captured import Captured, FrameSource
from zeroline.runtime.line.inspector import RollingInspector
from zeroline.runtime.results import Inspection, Verdict


@dataclass
class Tally:
    """What has passed.

    Attributes
    ----------
    verdicts : Counter
        Frames by verdict.
    dropped : int
        Frames of a live source that were not taken.
    """

    verdicts: Counter[str] = field(default_factory=Counter)
    dropped: int = 0

    @property
    def frames(self) -> int:
        """All frames that were looked at."""
        return sum(self.verdicts.values())

    def __str__(self) -> str:
        """Return one line."""
        parts = ", ".join(f"{self.verdicts[v.value]} {v.value}" for v in Verdict)
        return f"{self.frames} frames: {parts}; {self.dropped} dropped"


class Sink(Protocol):
    """Takes each inspected frame."""

    def take(self, captured: Captured, made: Inspection) -> None:
        """Take a frame; called in order, by one thread."""

    def close(self) -> None:
        """Finish."""


def run_line(
    source: FrameSource,
    inspector: RollingInspector,
    sinks: Sequence[Sink],
    *,
    stop: threading.Event,
    most: int | None = None,
) -> Tally:
    """Inspect frames until the source ends, `stop` is set, or `most` frames have passed.

    Parameters
    ----------
    source : FrameSource
    inspector : RollingInspector
    sinks : sequence of Sink
        Take each frame in turn.
    stop : Event
        Ends the line after the frame under way.
    most : int, optional

    Returns
    -------
    Tally
    """
    tally = Tally()
    try:
        for captured in source:
            if captured.frame is None:
                made = inspector.fault(captured.fault)
            else:
                made = inspector.push(captured.frame)
            tally.verdicts[made.verdict.value] += 1
            tally.dropped += captured.dropped
            for sink in sinks:
                sink.take(captured, made)
            if stop.is_set() or (most is not None and tally.frames >= most):
                break
    finally:
        source.close()
        for sink in sinks:
            sink.close()
    return tally


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
