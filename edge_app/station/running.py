"""A running station: its threads, from capture to outputs, and what it can be asked and told."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

from zeroline.edge_app.captured import FrameSource
from zeroline.edge_app.configuration.lanes import Lane
from zeroline.edge_app.configuration.models import Station
from zeroline.edge_app.control import Answer, RefusedError
from zeroline.edge_app.events import Event, EventName, Events, HeldEvents, events_of
from zeroline.edge_app.messages import Message
from zeroline.edge_app.parts import CameraView, JudgedPart
from zeroline.edge_app.passwords import without_password
from zeroline.edge_app.runs import Run
from zeroline.edge_app.station.desk import Desk
from zeroline.edge_app.station.dispatch import Dispatch, Keeper
from zeroline.edge_app.station.feeder import Feeder
from zeroline.edge_app.station.inspection import InspectionThread
from zeroline.edge_app.station.lines import CameraLine, Size
from zeroline.edge_app.station.mode import Mode, ModeSwitch
from zeroline.edge_app.station.names import KnownIds, PartNames
from zeroline.edge_app.station.operator import OperatorRule
from zeroline.edge_app.station.recipes import RecipeSwitch
from zeroline.edge_app.station.state import EVERY, StateFolder
from zeroline.edge_app.station.tally import Tally
from zeroline.edge_app.station.triggers import LaneTrigger
from zeroline.runtime.results import Reason, Verdict

#: Seconds for one frame after which the inspection is taken to hang.
HANGS = 30.0
#: Seconds that each stage gets at the end. All together stay under 3 s.
LIMIT = 0.7


class StationStore(Keeper, KnownIds, Protocol):
    """What a station needs of the store."""

    def has_part(self, part: str, /) -> bool:
        """Tell whether there is a part of that id."""

    def feedback(self, part: str, answer: Answer, /, *, note: str, by: str, wall: float) -> Any:
        """Keep what a person says of a part."""

    def recipe_version(self, version: str, name: str, text: str, /) -> Any:
        """Keep the text of a recipe that runs."""

    def state(self) -> dict[str, Any]:
        """Return how it is."""


class Outlets(Protocol):
    """The outputs of a station.

    Attributes
    ----------
    gone : Event
        Set where nobody reads the verdicts any more, which ends the run.
    """

    gone: threading.Event

    def put(self, message: Message, /) -> None:
        """Pass a message to all of them."""

    def safe(self, why: str, /) -> None:
        """Let all stand safe: not OK."""

    def states(self) -> Mapping[str, Any]:
        """Return how they are."""

    def close(self, limit: float) -> None:
        """Finish them."""


@dataclass(frozen=True)
class OpenedLane:
    """A lane whose sources are open, in the order of its plan.

    Attributes
    ----------
    lane : Lane
    sources : tuple of FrameSource
    """

    lane: Lane
    sources: tuple[FrameSource, ...]


class RunningStation:
    """A station's threads. A context manager: they begin with it and end with it.

    Parameters
    ----------
    station : Station
    lanes : sequence of OpenedLane
        Its sources are closed at the end.
    lines : mapping of str to CameraLine
        By camera. Whoever gave them closes them.
    outlets : Outlets
    run : Run
    events : Events
    stop : Event
        Ends it, from outside; it sets it too.
    held : HeldEvents, optional
        Events of the time before.
    store : StationStore, optional
    opened : callable, optional
        Opens a recipe for a camera: from camera, recipe, and the size of the camera's frames.
    state : StateFolder, optional
        Where windows are kept over restarts.
    operator : OperatorRule, optional
        Moves thresholds by answers.
    most : int, optional
        Parts, at the most.
    tap : callable, optional
        Takes each message as it leaves, to count it.
    beat : callable, optional
        Is called for each scored frame, and for each healthy wait for one.

    Attributes
    ----------
    tally : Tally
    hung : bool
        Whether the inspection has not ended: its thread is left behind, and so must the process be.
    """

    def __init__(
        self,
        station: Station,
        lanes: tuple[OpenedLane, ...],
        lines: Mapping[str, CameraLine],
        outlets: Outlets,
        *,
        run: Run,
        events: Events,
        stop: threading.Event,
        held: HeldEvents | None = None,
        store: StationStore | None = None,
        opened: Callable[[str, str, Size], CameraLine] | None = None,
        state: StateFolder | None = None,
        operator: OperatorRule | None = None,
        most: int | None = None,
        tap: Callable[[Message], None] = lambda _: None,
        beat: Callable[[], None] = lambda: None,
    ) -> None:
        self.station, self.run, self.tally = station, run, Tally()
        self.hung = False
        self.outlets, self.events, self._stop, self.store = outlets, events, stop, store
        self._most, self._tap, self._beat = most, tap, beat
        self.mode = ModeSwitch()
        self._changed = threading.Event()
        deadline = None if station.deadline_ms is None else station.deadline_ms / 1000
        self.desk = Desk(self._judged, deadline=deadline)
        self.dispatch = Dispatch(
            self._leave,
            stored=self._finished,
            run=run,
            station=station.station,
            events=events,
            store=store,
            store_wait=station.store_wait_ms / 1000,
        )
        (held or HeldEvents(events)).pass_to(self.dispatch.event)
        names = PartNames(store)
        self.inspection = InspectionThread(
            lines, self.desk, after=self._after, events=events, stop=stop
        )
        self._opened, self._state, self.operator = opened, state, operator
        self.recipes = RecipeSwitch(
            self.inspection,
            self._open_recipe,
            state=state,
            most=int(station.memory_gb * 1e9),
            switched=self._begin,
            events=events,
        )
        self.inspection.wish = partial(self.recipes.switch, by="trigger")
        self._saved = time.monotonic()
        self.triggers: dict[str, LaneTrigger] = {}
        self.feeders: list[Feeder] = []
        self.source_of: dict[str, FrameSource] = {}
        for planned in lanes:
            trigger = None
            if planned.lane.trigger.mode != "every-frame":
                trigger = LaneTrigger(
                    planned.lane, desk=self.desk, names=names, mode=self.mode, events=events
                )
                self.triggers[planned.lane.name] = trigger
            for shared, source in zip(planned.lane.sources, planned.sources, strict=True):
                self.source_of |= {camera.name: source for camera in shared.cameras}
                feeder = Feeder(
                    planned.lane,
                    shared,
                    source,
                    trigger=trigger,
                    desk=self.desk,
                    names=names,
                    inspection=self.inspection,
                    mode=self.mode,
                    events=events,
                    stop=stop,
                    ended=self._changed.set,
                )
                self.feeders.append(feeder)
        self._idle_since = time.monotonic()

    def __enter__(self) -> RunningStation:
        for line in self.inspection.lines:
            self._begin(line)
        self.tell(EventName.STATION_START, f"station {self.station.station} starts")
        self.inspection.start()
        for trigger in self.triggers.values():
            trigger.start()
        for feeder in self.feeders:
            feeder.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self.mode.set(Mode.RUNNING)  # nobody waits for it any more
        for trigger in self.triggers.values():
            trigger.close()
        closing = [  # side by side: a camera that hangs holds none of the others up
            threading.Thread(target=feeder.source.close, daemon=True) for feeder in self.feeders
        ]
        for one in closing:
            one.start()
        until = time.monotonic() + LIMIT
        for join in (*(one.join for one in closing), *(one.join for one in self.feeders)):
            join(max(until - time.monotonic(), 0.05))
        ended = self.inspection.stop(LIMIT)
        text = "the station stopped before its verdict" if ended else "the inspection hangs"
        self.hung = not ended
        self.desk.fail(Reason.STATION, text, everyone=self.hung)
        self.desk.close()
        self.tally.dropped = sum(feeder.dropped for feeder in self.feeders)
        self.tell(EventName.STATION_STOP, f"station {self.station.station} stops: {self.tally}")
        self.dispatch.close(LIMIT)
        self.outlets.close(LIMIT)
        if ended:
            self.recipes.close(LIMIT)
        for feeder in self.feeders:  # the last verdicts have left: pictures are put away
            feeder.source.close()

    def wait(self) -> None:
        """Wait until its sources have ended, or it is told to stop, or cannot go on.

        Raises
        ------
        BaseException
            What a thread has ended with.
        """
        while not self._stop.is_set():
            self._changed.wait(timeout=0.2)
            self._changed.clear()
            self._raise_trouble()
            if self.inspection.broken or self.inspection_hangs():
                self.outlets.safe("fault")
                break
            if self.outlets.gone.is_set():
                break
            if not any(feeder.alive for feeder in self.feeders) and self._is_done():
                break
            if self._healthy_wait():
                self._beat()
            if self._state is not None and time.monotonic() - self._saved > EVERY:
                self._saved = time.monotonic()
                self.recipes.save()

    @property
    def faulty(self) -> bool:
        """Whether the station itself was at fault: its exit code is not 0."""
        return self.inspection.faults > 0 or self.hung

    @property
    def troubles(self) -> list[str]:
        """What keeps it from giving verdicts, in words; empty where nothing does."""
        reasons = []
        if not self.inspection.alive or self.inspection_hangs():
            reasons.append("the inspection stands")
        dead = [f.shared.address for f in self.feeders if f.trouble is not None]
        reasons += [
            f'the thread of source "{without_password(address)}" has ended' for address in dead
        ]
        if self.dispatch.trouble is not None:
            reasons.append("verdicts do not leave")
        return reasons

    # what its threads tell it

    def _judged(self, part: JudgedPart) -> None:
        self.tally.count(part)
        self.dispatch.part(part)
        if self._most is not None and self.tally.frames >= self._most:
            self._stop.set()
            self._changed.set()

    def _after(self, view: CameraView) -> None:
        inspection = view.inspection
        for alarm in inspection.alarms:
            self.dispatch.alarm(view.camera, alarm)
        for revision in inspection.revisions:
            self.dispatch.revision(view.camera, revision)
        for event in events_of(inspection):
            self.events(event)
        self._beat()
        if self.inspection.broken or (self.inspection.line(view.camera).inspector.device_lost):
            self._changed.set()

        if self.operator is not None and inspection.verdict in (Verdict.OK, Verdict.NG):
            ng = inspection.verdict is Verdict.NG and inspection.reason is Reason.SCORE
            part = str(inspection.part_id)
            self.operator.passed(view.camera, view.recipe, part, ng=ng)

    def _leave(self, message: Message) -> None:
        self.outlets.put(message)
        self._tap(message)

    def _finished(self, message: Message) -> None:
        """Let the sources of a part know that its verdict has left, and is kept."""
        if message.part is None:
            return
        for view in message.part.views:
            self.source_of[view.camera].finished(view.captured)

    # inside

    def _open_recipe(self, camera: str, recipe: str) -> CameraLine:
        if self._opened is None:
            raise RefusedError("this station has one recipe")
        newest = self.inspection.newest(camera)
        frame = None if newest is None else newest.captured.frame
        return self._opened(camera, recipe, None if frame is None else frame.shape[:2])

    def use_factors(self) -> None:
        """Use the operator's factors from the next frame on."""
        for line in self.inspection.lines:
            self._use_factor(line)

    def _use_factor(self, line: CameraLine) -> None:
        if self.operator is not None:
            factor = self.operator.factor(line.camera, line.recipe)
            line.inspector.rule = replace(line.inspector.rule, factor=factor)

    def _begin(self, line: CameraLine) -> None:
        """Make a line ready that is about to be used."""
        self._use_factor(line)
        self._keep_version(line)
        if self._state is not None:
            (configured,) = (c.recipe for c in self.station.cameras if c.name == line.camera)
            self._state.runs(line.camera, line.recipe, configured)

    def _keep_version(self, line: CameraLine) -> None:
        if self.store is not None:
            self.store.recipe_version(line.version.hash, line.recipe, line.version.text)

    def tell(self, name: EventName, text: str, data: Mapping[str, Any] | None = None) -> None:
        """Tell an event of the station itself."""
        if self.store is None:
            return  # a run by options begins and ends before its user's eyes
        self.events(Event(name, text, data or {}, station=self.station.station))

    def _is_done(self) -> bool:
        """Tell whether no part is under way, or none that could still get its verdict."""
        if self._under_way():
            self._idle_since = time.monotonic()
        return not len(self.desk) or time.monotonic() - self._idle_since > 1

    def _under_way(self) -> bool:
        return self.inspection.waiting > 0 or self.inspection.busy_since is not None

    def inspection_hangs(self) -> bool:
        """Tell whether one frame takes longer than any may."""
        since = self.inspection.busy_since
        return since is not None and time.monotonic() - since > HANGS

    def _healthy_wait(self) -> bool:
        """Tell whether the inspection waits because no frame is there, and all else works."""
        return not self._under_way() and not self.troubles

    def _raise_trouble(self) -> None:
        for holder in (*self.feeders, self.dispatch, self.outlets):
            trouble = getattr(holder, "trouble", None)
            if trouble is not None:
                raise trouble
