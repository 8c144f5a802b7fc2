"""Frozen cameras: the same picture for two parts, or a stream whose clock stands."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from zeroline.edge_app.captured import Captured
from zeroline.edge_app.events import Event, EventName, Events
from zeroline.edge_app.sources.live import SILENCE
from zeroline.runtime.frames import Frame
from zeroline.runtime.results import Reason


class FrozenWatch:
    """Compares each frame of a source with the one before.

    Two parts never give two equal frames, bit for bit: a sensor has noise. A live camera whose
    frames are no parts by name may look at a belt that stands, and its coder may send nothing new
    for a while: there equal frames count after `SILENCE` seconds.

    Parameters
    ----------
    camera : str
        Name of the camera, for the event.
    events : Events
        Is told when it freezes, and when it goes on.
    """

    def __init__(self, camera: str, events: Events) -> None:
        self._camera, self._events = camera, events
        self._last: Frame | None = None
        self._clock: float | None = None
        self._ticked = False  # whether its clock has ever gone on
        self._since = 0.0
        self._frozen = False

    def looked_at(self, captured: Captured, *, named: bool) -> Captured:
        """Return a frame as it came, or as FAULT where its camera is frozen.

        Parameters
        ----------
        captured : Captured
        named : bool
            Whether each frame is a part that something has named.
        """
        if captured.frame is None:
            return captured
        why = self._standing(captured)
        now = captured.time.monotonic
        if not why:
            self._last, self._since = captured.frame, now
            self._told(frozen=False)
            return captured
        if not named and now - self._since < SILENCE:
            return captured
        self._told(frozen=True, why=why)
        return replace(captured, frame=None, fault=why, reason=Reason.FROZEN)

    def _standing(self, captured: Captured) -> str:
        """Return what stands still; empty where nothing does."""
        clock, before = captured.clock, self._clock
        self._clock = clock
        if clock is not None and before is not None:
            self._ticked = self._ticked or clock != before
            if self._ticked and clock == before:
                return "the clock of the stream stands"
        if (
            self._last is not None
            and captured.frame is not None
            and _equal(captured.frame, self._last)
        ):
            return "the frame is equal to the one before, bit for bit"
        return ""

    def _told(self, *, frozen: bool, why: str = "") -> None:
        if frozen == self._frozen:
            return
        self._frozen = frozen
        name = EventName.CAMERA_FROZEN if frozen else EventName.CAMERA_BACK
        text = f"camera {self._camera}: {why or 'new frames again'}"
        self._events(Event(name, text, {"camera": self._camera}, camera=self._camera))


def _equal(one: Frame, other: Frame) -> bool:
    """Tell whether two frames are equal; most differ in a few pixels already."""
    return np.array_equal(one[::16, ::16], other[::16, ::16]) and np.array_equal(one, other)
