"""Recipes switched while a station runs: windows that wait stay warm while memory allows it.

The inspection goes on while a recipe is opened, and changes between two frames.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from zeroline.edge_app.events import Event, EventName, Events
from zeroline.edge_app.station.inspection import InspectionThread
from zeroline.edge_app.station.lines import CameraLine
from zeroline.edge_app.station.state import StateFolder
from zeroline.runtime.errors import in_one_line

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Wish:
    camera: str
    recipe: str
    by: str


class RecipeSwitch:
    """Opens recipes beside the inspection, and keeps windows that wait.

    Parameters
    ----------
    inspection : InspectionThread
    opened : callable
        Opens a recipe for a camera: from (camera, recipe) to a line.
    state : StateFolder or None
        Where windows go that memory has no room for.
    most : int
        Bytes that waiting windows may take.
    switched : callable
        Is told of each line that is now in use, before its first frame.
    events : Events
        Is told of each switch, and of one that failed.
    """

    def __init__(
        self,
        inspection: InspectionThread,
        opened: Callable[[str, str], CameraLine],
        *,
        state: StateFolder | None,
        most: int,
        switched: Callable[[CameraLine], None],
        events: Events,
    ) -> None:
        self._inspection, self._opened, self._state = inspection, opened, state
        self._most, self._switched, self._events = most, switched, events
        self._waiting: OrderedDict[tuple[str, str], CameraLine] = OrderedDict()
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._wanted: dict[str, str] = {}
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="zeroline-recipes", daemon=True)
        self._thread.start()

    def wanted(self, camera: str) -> str:
        """Return the recipe that a camera has, or will have when all switches are done."""
        with self._lock:
            return self._wanted.get(camera) or self._inspection.line(camera).recipe

    def switch(self, camera: str, recipe: str, *, by: str) -> bool:
        """Let a camera run another recipe soon; tell whether it is another."""
        if self.wanted(camera) == recipe:
            return False
        with self._lock:
            self._wanted[camera] = recipe
        wish = _Wish(camera, recipe, by)
        self._jobs.put(lambda: self._prepare(wish))
        return True

    def prepare(self, camera: str, recipe: str) -> None:
        """Have a recipe opened that will be switched to, so that its first part waits less."""
        if self.wanted(camera) != recipe:
            self._jobs.put(lambda: self._open_ahead(camera, recipe))

    def later(self, job: Callable[[], None]) -> None:
        """Have something done by the thread of the switch: the inspection does not wait."""
        self._jobs.put(job)

    def save(self) -> None:
        """Have the windows in use written, by the thread of the switch."""
        if self._state is not None:
            self._inspection.between(self._take_snapshots)

    def close(self, limit: float) -> None:
        """End the thread, close windows that wait, and write all where there is a folder for them.

        The inspection has ended before. The windows in use stay open.
        """
        self._jobs.put(None)
        self._thread.join(timeout=limit)
        for line in self._waiting.values():
            self._put_away(line)
        self._waiting.clear()
        for line in self._inspection.lines:
            if self._state is not None:
                self._state.save(self._state.path(line), line.inspector.snapshot())

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
            del job  # it may hold a window

    def _open_ahead(self, camera: str, recipe: str) -> None:
        running = self._inspection.line(camera).recipe == recipe
        if not running and (camera, recipe) not in self._waiting:
            with suppress(Exception):  # the switch itself will tell it
                self._waiting[camera, recipe] = self._opened(camera, recipe)

    def _prepare(self, wish: _Wish) -> None:
        """Open a recipe, or take its waiting window, and let the inspection change to it."""
        try:
            line = self._waiting.pop((wish.camera, wish.recipe), None)
            if line is None:
                line = self._opened(wish.camera, wish.recipe)
        except Exception as error:  # noqa: BLE001 - the camera goes on by the recipe that it has
            _log.warning("a recipe could not be opened", exc_info=True)
            with self._lock:
                self._wanted.pop(wish.camera, None)
            self._inspection.between(lambda: self._inspection.refuse(wish.recipe))
            text = (
                f'recipe "{wish.recipe}" cannot run, the one before goes on: {in_one_line(error)}'
            )
            self._tell(wish, text, before="", failed=True)
            return
        self._switched(line)
        before: list[CameraLine] = []
        changed = threading.Event()

        def change() -> None:
            before.append(self._inspection.change(line))
            changed.set()

        self._inspection.between(change)
        while not changed.wait(timeout=0.2):
            if not self._inspection.alive:
                self._wait(line)
                return
        self._wait(before[0])
        text = f'camera {wish.camera} runs the recipe "{wish.recipe}"'
        self._tell(wish, text, before=before[0].recipe)

    def _wait(self, line: CameraLine) -> None:
        """Let a window wait; the oldest ones go to disk until the others fit."""
        self._waiting[line.camera, line.recipe] = line
        while self._waiting and sum(one.memory for one in self._waiting.values()) > self._most:
            _, oldest = self._waiting.popitem(last=False)
            self._put_away(oldest)

    def _put_away(self, line: CameraLine) -> None:
        if self._state is not None:
            self._state.save(self._state.path(line), line.inspector.snapshot())
        line.inspector.close()

    def _take_snapshots(self) -> None:
        state = self._state
        if state is None:
            return
        for line in self._inspection.lines:
            path, snapshot = state.path(line), line.inspector.snapshot()
            self._jobs.put(lambda path=path, snapshot=snapshot: state.save(path, snapshot))  # type: ignore[misc]

    def _tell(self, wish: _Wish, text: str, *, before: str, failed: bool = False) -> None:
        data = {"from": before, "to": wish.recipe, "by": wish.by, "failed": failed}
        self._events(Event(EventName.RECIPE_SWITCHED, text, data, camera=wish.camera))
