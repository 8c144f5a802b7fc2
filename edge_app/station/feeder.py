"""A source's thread: it takes frames, makes parts of them, and gives them to the inspection.

A source that is complete waits for room and loses nothing. Of a live one the latest frame counts:
it is asked for the next only when the inspection is done with the last.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

from zeroline.edge_app.captured import Captured, FrameSource
from zeroline.edge_app.configuration.lanes import Lane, SharedSource
from zeroline.edge_app.events import Events
from zeroline.edge_app.sources.watched import SCHEME as WATCHED
from zeroline.edge_app.station.desk import Desk, OpenPart
from zeroline.edge_app.station.frozen import FrozenWatch
from zeroline.edge_app.station.inspection import InspectionThread, Shot
from zeroline.edge_app.station.mode import Mode, ModeSwitch
from zeroline.edge_app.station.names import PartNames
from zeroline.edge_app.station.triggers import LaneTrigger
from zeroline.runtime.frames import CaptureTime
from zeroline.runtime.results import Inspection, Reason, Verdict

#: Seconds after which a wait looks whether it shall end.
SLICE = 0.2
#: Frames of a complete source that are read ahead.
AHEAD = 2
#: Seconds after its time from which a trigger's frame is late.
LATE = 1.0


class Feeder:
    """Takes frames from a source for its cameras.

    Parameters
    ----------
    lane : Lane
    shared : SharedSource
        The source's plan.
    source : FrameSource
        Iterated over here, and nowhere else.
    trigger : LaneTrigger or None
        Of the lane; None where each frame is a part.
    desk : Desk
    names : PartNames
    inspection : InspectionThread
    mode : ModeSwitch
    events : Events
    stop : Event
        Ends it.
    ended : callable
        Is called at the end of the thread.

    Attributes
    ----------
    dropped : int
        Frames of a live source that were not taken, where each frame is a part.
    trouble : BaseException or None
        What the thread has ended with.
    """

    def __init__(
        self,
        lane: Lane,
        shared: SharedSource,
        source: FrameSource,
        *,
        trigger: LaneTrigger | None,
        desk: Desk,
        names: PartNames,
        inspection: InspectionThread,
        mode: ModeSwitch,
        events: Events,
        stop: threading.Event,
        ended: Callable[[], None],
    ) -> None:
        self.lane, self.shared, self.source = lane, shared, source
        self._trigger, self._desk, self._names = trigger, desk, names
        self._inspection, self._mode, self._stop, self._told_end = inspection, mode, stop, ended
        self._cameras = tuple(camera.name for camera in shared.cameras)
        self._frozen = FrozenWatch(self._cameras[0], events)
        self._watched = shared.address.startswith(WATCHED)
        ahead = 1 if source.live else AHEAD
        self._room = threading.Semaphore(ahead if trigger is None else lane.trigger.queue)
        self.dropped = 0
        self.trouble: BaseException | None = None
        self._thread = threading.Thread(
            target=self._run, name=f"zeroline-{self._cameras[0]}"[:60], daemon=True
        )

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether it still takes frames."""
        return self._thread.is_alive()

    def join(self, timeout: float) -> None:
        """Wait for the end of the thread."""
        if self._thread.ident is not None:
            self._thread.join(timeout=timeout)

    def _run(self) -> None:
        try:
            frames = iter(self.source)
            if self._trigger is None:
                self._each_frame(frames)
            else:
                self._triggered(frames, self._trigger)
        except BaseException as error:  # noqa: BLE001 - the station looks at it and ends
            self.trouble = error
        finally:
            self._told_end()

    def _each_frame(self, frames: Iterator[Captured]) -> None:
        while self._free():
            captured = next(frames, None)
            if captured is None:
                return
            if self.source.live and not self._mode.running:
                self._room.release()
                self._show(captured)
                continue
            while not self._mode.wait_running(SLICE):  # it was read, and nothing of it is lost
                if self._stop.is_set():
                    return
            self.dropped += captured.dropped
            name = (
                self._names.numbered(self._cameras[0], captured.time.wall)
                if captured.part_id is None
                else self._names.given(captured.part_id)
            )
            part = self._desk.open(name, self._cameras, captured.time)
            self._give(part, captured, named=self._watched)

    def _triggered(self, frames: Iterator[Captured], trigger: LaneTrigger) -> None:
        live = self.source.live
        coming = None if live else next(frames, None)
        while live or coming is not None:
            if live and self._mode.mode is Mode.SETUP:
                captured = next(frames, None)
                if captured is None:
                    return
                self._show(captured)
                continue
            if not self._free():
                return
            part = trigger.next(self.shared.address, SLICE)
            if part is None:
                self._room.release()
                continue
            if live:
                captured = self._frame_of(part, frames, trigger)
                if captured is None:
                    self._room.release()
                    continue
            else:
                assert coming is not None  # noqa: S101 - the loop's condition
                captured = replace(coming, time=CaptureTime.now())  # it was read ahead
                coming = next(frames, None)
            self._give(part, replace(captured, dropped=0), named=True)

    def _frame_of(
        self, part: OpenPart, frames: Iterator[Captured], trigger: LaneTrigger
    ) -> Captured | None:
        """Return the next frame after a trigger and its delay; None where none is in time."""
        delay = self.lane.trigger.delay_ms / 1000
        due = part.time.monotonic + delay
        while not self._stop.is_set() and not part.expired:
            captured = next(frames, None)
            if captured is None:
                return None
            if captured.time.monotonic >= due:
                late = captured.time.monotonic - due
                if captured.frame is not None and late > LATE:
                    trigger.late(part, late + delay)
                return captured
        return None

    def _give(self, part: OpenPart, captured: Captured, *, named: bool) -> None:
        checked = self._frozen.looked_at(captured, named=named) if self._can_freeze else captured
        if checked.frame is not None:
            for camera in self._cameras:
                self._desk.framed(part, camera)
        self._inspection.put(Shot(part, self._cameras, checked, self._room.release))

    @property
    def _can_freeze(self) -> bool:
        """Whether equal frames mean a fault: those of a recording do not."""
        return self.source.live or self._watched

    def _free(self) -> bool:
        """Wait until the inspection has room, and the line runs or the source is live."""
        while not self._stop.is_set():
            if not self.source.live and not self._mode.wait_running(SLICE):
                continue
            if self._room.acquire(timeout=SLICE):
                return True
        return False

    def _show(self, captured: Captured) -> None:
        """Show a frame that is not inspected."""
        if captured.frame is None or self._mode.mode is not Mode.SETUP:
            return
        now = CaptureTime.now()
        shown = Inspection(-1, None, Verdict.UNCERTAIN, Reason.STATION, now.wall, now.monotonic)
        for camera in self._cameras:
            self._inspection.show(camera, captured, shown)
