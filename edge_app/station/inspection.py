"""The inspection's thread: each frame through its camera's line, recipes switched in between."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from zeroline.edge_app.captured import Captured
from zeroline.edge_app.control import Newest
from zeroline.edge_app.errors import ReaderGoneError
from zeroline.edge_app.events import Event, EventName, Events
from zeroline.edge_app.parts import CameraView
from zeroline.edge_app.station.desk import Desk, OpenPart
from zeroline.edge_app.station.lines import CameraLine
from zeroline.runtime.errors import in_one_line
from zeroline.runtime.line.inspector import RollingInspector
from zeroline.runtime.results import Inspection, Reason

_log = logging.getLogger(__name__)

#: So many faults of the station's own, one after the other, end it.
MOST_FAULTS = 3
#: Seconds for which a part waits for the recipe that its trigger has asked for.
SWITCH = 30.0


@dataclass(frozen=True)
class Shot:
    """A frame of a part, for the cameras of its source.

    Attributes
    ----------
    part : OpenPart
    cameras : tuple of str
        Each looks at the frame, by its own recipe.
    captured : Captured
    done : callable
        Is called when all have.
    """

    part: OpenPart
    cameras: tuple[str, ...]
    captured: Captured
    done: Callable[[], None]


class InspectionThread:
    """Inspects frames one after the other.

    Parameters
    ----------
    lines : mapping of str to CameraLine
        By camera.
    desk : Desk
        Takes the views.
    after : callable
        Takes each view after the desk: what it brings besides its verdict.
    events : Events
        Is told of faults.
    stop : Event
        Ends it after the frame under way.

    Attributes
    ----------
    faults : int
        Frames that the station itself could not inspect.
    broken : bool
        Whether too many faults came one after the other.
    wish : callable
        Asks for a change of recipe: from camera and recipe.
    busy_since : float or None
        Since when it inspects one frame, monotonic; None while it waits.
    """

    def __init__(
        self,
        lines: Mapping[str, CameraLine],
        desk: Desk,
        *,
        after: Callable[[CameraView], None],
        events: Events,
        stop: threading.Event,
    ) -> None:
        self._lines, self._desk, self._after, self._events = dict(lines), desk, after, events
        self._jobs: queue.SimpleQueue[Shot | Callable[[], None] | None] = queue.SimpleQueue()
        self.faults, self._in_a_row = 0, 0
        self.broken = False
        self.busy_since: float | None = None
        self.wish: Callable[[str, str], object] = lambda *_: None
        self._newest: dict[str, Newest] = {}
        self._backlog: deque[Shot] = deque()  # that came while another waited for its recipe
        self._refused: set[str] = set()
        self._stopped = stop
        self._thread = threading.Thread(target=self._run, name="zeroline-inspection", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    @property
    def waiting(self) -> int:
        """Frames and changes that wait."""
        return self._jobs.qsize()

    def put(self, shot: Shot) -> None:
        """Take a frame; those who put it wait for room themselves."""
        self._jobs.put(shot)

    def between(self, change: Callable[[], None]) -> None:
        """Call something between two frames."""
        self._jobs.put(change)

    def line(self, camera: str) -> CameraLine:
        """Return what a camera's frames are judged by now."""
        return self._lines[camera]

    def change(self, line: CameraLine) -> CameraLine:
        """Judge a camera's frames by another line from now on; return the one before.

        To be called by the inspection's thread, or before it starts.
        """
        self._refused.discard(line.recipe)
        before = self._lines[line.camera]
        self._lines[line.camera] = line
        return before

    @property
    def lines(self) -> list[CameraLine]:
        """All lines in use."""
        return list(self._lines.values())

    def refuse(self, recipe: str) -> None:
        """Wait for a recipe no more: it cannot run. To be called as `change` is."""
        self._refused.add(recipe)

    def newest(self, camera: str) -> Newest | None:
        """Return the newest frame of a camera."""
        return self._newest.get(camera)

    def show(self, camera: str, captured: Captured, inspection: Inspection) -> None:
        """Take a frame as the newest of a camera."""
        before = self._newest.get(camera)
        number = 1 if before is None else before.number + 1
        self._newest[camera] = Newest(number, captured, inspection)

    def stop(self, limit: float) -> bool:
        """Wait for the end of the frame under way; tell whether it came in time."""
        self._jobs.put(None)
        if self._thread.ident is not None:
            self._thread.join(timeout=limit)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not (self._stopped.is_set() or self.broken):
            job = self._backlog.popleft() if self._backlog else self._jobs.get()
            if job is None:
                continue
            self.busy_since = time.monotonic()
            if isinstance(job, Shot):
                self._inspect(job)
            else:
                self._changed(job)
            del job  # it may hold the window that has just been changed
            self.busy_since = None

    def _changed(self, change: Callable[[], None]) -> None:
        try:
            change()
        except Exception as error:  # noqa: BLE001 - frames go on by what there was
            _log.warning("a change failed", exc_info=True)
            self._fault(f"a change could not be made: {in_one_line(error)}", None, None)

    def _inspect(self, shot: Shot) -> None:
        try:
            for camera in shot.cameras:
                view = self._view(camera, shot)
                if view.captured.frame is not None:
                    self.show(camera, shot.captured, view.inspection)
                self._desk.view(shot.part, view)
                self._after(view)
                if view.inspection.device_failed and self._lines[camera].inspector.device_lost:
                    self.broken = True
        finally:
            shot.done()

    def _wait_for(self, camera: str, recipe: str) -> bool:
        """Have a recipe changed to that a part's trigger has asked for; tell whether it was.

        The parts before it had the one before, however soon the trigger came.
        """
        until = time.monotonic() + SWITCH
        if self._lines[camera].recipe != recipe:
            self.wish(camera, recipe)
        while self._lines[camera].recipe != recipe:
            late = time.monotonic() > until or self._stopped.is_set()
            if late or recipe in self._refused:
                self._refused.discard(recipe)
                return False
            with suppress(queue.Empty):
                job = self._jobs.get(timeout=0.1)
                if isinstance(job, Shot):
                    self._backlog.append(job)
                elif job is not None:
                    self._changed(job)
                del job
        return True

    def _view(self, camera: str, shot: Shot) -> CameraView:
        recipe = shot.part.recipe
        if recipe is not None and not self._wait_for(camera, recipe):
            line = self._lines[camera]
            text = f'the recipe "{recipe}" cannot run'
            fault = line.inspector.fault(
                Reason.STATION, text, part_id=shot.part.name.id, captured=shot.captured.time
            )
            return _view_of(line, shot.captured, fault)
        line, captured, part = self._lines[camera], shot.captured, shot.part.name.id
        try:
            inspection = inspected(captured, line.inspector, part_id=part)
            self._in_a_row = 0
        except ReaderGoneError:
            raise
        except Exception as error:  # noqa: BLE001 - the part is FAULT, and it is told
            _log.warning("a frame could not be inspected", exc_info=True)
            text = f"the frame could not be inspected: {in_one_line(error)}"
            self._fault(text, camera, part)
            inspection = line.inspector.fault(
                Reason.STATION, text, part_id=part, captured=captured.time
            )
        return _view_of(line, captured, inspection)

    def _fault(self, text: str, camera: str | None, part: str | None) -> None:
        self.faults += 1
        self._in_a_row += 1
        self.broken = self._in_a_row >= MOST_FAULTS
        data = {"reason": text, "in_a_row": self._in_a_row}
        self._events(Event(EventName.STATION_FAULT, text, data, camera=camera, part=part))


def _view_of(line: CameraLine, captured: Captured, inspection: Inspection) -> CameraView:
    version, bundle = line.version.hash, line.bundle.name
    return CameraView(line.camera, line.recipe, version, captured, inspection, bundle)


def inspected(
    captured: Captured, inspector: RollingInspector, *, part_id: str | None = None
) -> Inspection:
    """Return the verdict on what came from a source."""
    name = captured.part_id if part_id is None else part_id
    if captured.frame is None:
        reason = captured.reason or Reason.NO_FRAME
        return inspector.fault(reason, captured.fault, part_id=name, captured=captured.time)
    return inspector.push(captured.frame, part_id=name, captured=captured.time)
