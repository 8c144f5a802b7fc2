"""Triggers: what asks for a part, by a call or by the clock."""

from __future__ import annotations

import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass

from zeroline.edge_app.configuration.lanes import Lane
from zeroline.edge_app.control import RefusedError
from zeroline.edge_app.events import Event, EventName, Events
from zeroline.edge_app.parts import PartName
from zeroline.edge_app.station.desk import Desk, OpenPart
from zeroline.edge_app.station.mode import ModeSwitch
from zeroline.edge_app.station.names import PartNames
from zeroline.runtime.frames import CaptureTime

#: Seconds from one event of missed triggers to the next; all are counted.
REPEAT = 10.0


@dataclass
class TriggerCounts:
    """What has become of triggers.

    Attributes
    ----------
    taken, missed, late : int
        Accepted; refused since the queue was full; accepted, and the frame came late.
    """

    taken: int = 0
    missed: int = 0
    late: int = 0


class LaneTrigger:
    """The trigger of a lane: each call begins a part, of which each source gives a frame.

    Parameters
    ----------
    lane : Lane
    desk : Desk
        Where parts begin.
    names : PartNames
    mode : ModeSwitch
        A clock makes no parts of a station that does not inspect.
    events : Events
        Is told of triggers that are missed, each `REPEAT` seconds at most.
    """

    def __init__(
        self, lane: Lane, *, desk: Desk, names: PartNames, mode: ModeSwitch, events: Events
    ) -> None:
        self.lane, self.counts = lane, TriggerCounts()
        self._desk, self._names, self._mode, self._events = desk, names, mode, events
        self._told = float("-inf")
        self._waiting: dict[str, deque[OpenPart]] = {s.address: deque() for s in lane.sources}
        self._changed = threading.Condition()
        self._clock: threading.Thread | None = None
        self._ended = threading.Event()

    def start(self) -> None:
        """Let the clock of an interval run."""
        interval = self.lane.trigger.interval_s
        if interval is not None:
            self._clock = threading.Thread(
                target=self._tick, args=(interval,), name="zeroline-interval", daemon=True
            )
            self._clock.start()

    def call(
        self,
        *,
        part: str | None = None,
        lot: str | None = None,
        serial: str | None = None,
        recipe: str | None = None,
    ) -> PartName:
        """Ask for a part.

        Raises
        ------
        RefusedError
            If the queue is full.
        """
        now = CaptureTime.now()
        most = self.lane.trigger.queue
        with self._changed:
            if self._ended.is_set():
                raise RefusedError("the station stops", kind="not_now")
            if max(map(len, self._waiting.values())) >= most:
                missed = True
                self.counts.missed += 1
            else:
                missed = False
                name = (
                    self._names.numbered(self.lane.cameras[0].name, now.wall)
                    if part is None
                    else self._names.given(part, lot=lot, serial=serial)
                )
                if part is None and (lot is not None or serial is not None):
                    name = PartName(name.id, lot=lot, serial=serial)
                self.counts.taken += 1
                cameras = [camera.name for camera in self.lane.cameras]
                opened = self._desk.open(name, cameras, now, asked=True, recipe=recipe)
                for waiting in self._waiting.values():
                    waiting.append(opened)
                self._changed.notify_all()
        if missed:
            raise RefusedError(self._missed(part), kind="busy")
        return name

    def _missed(self, part: str | None) -> str:
        """Tell that a trigger was missed, unless that was told just now; return the text."""
        most, now = self.lane.trigger.queue, time.monotonic()
        shown = "" if part is None else f' of part "{part}"'
        text = f'trigger "{self.lane.name}"{shown} was missed: {most} wait already'
        if now - self._told >= REPEAT:
            self._told = now
            data = {"trigger": self.lane.name, "missed": self.counts.missed}
            self._events(Event(EventName.TRIGGER_MISSED, text, data, part=part))
        return text

    def late(self, part: OpenPart, seconds: float) -> None:
        """Take note that a part's frame came late."""
        self.counts.late += 1
        text = f'part "{part.name.id}": its frame came {seconds:.1f} s after its trigger'
        data = {"trigger": self.lane.name, "late": self.counts.late, "seconds": round(seconds, 3)}
        self._events(Event(EventName.TRIGGER_LATE, text, data, part=part.name.id))

    def next(self, address: str, timeout: float) -> OpenPart | None:
        """Return the next part that a source has to give a frame of; None where none comes."""
        waiting = self._waiting[address]
        with self._changed:
            self._changed.wait_for(lambda: waiting or self._ended.is_set(), timeout=timeout)
            return waiting.popleft() if waiting else None

    def close(self) -> None:
        """Take no more."""
        self._ended.set()
        with self._changed:
            self._changed.notify_all()
        if self._clock is not None:
            self._clock.join(timeout=1)

    def _tick(self, interval: float) -> None:
        while not self._ended.wait(interval):
            if self._mode.running:
                with suppress(RefusedError):  # it was told
                    self.call()
