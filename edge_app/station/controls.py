"""What a running station can be asked and told."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from zeroline.edge_app.control import Answer, Health, Newest, RefusedError
from zeroline.edge_app.events import Event, EventName
from zeroline.edge_app.station.joining import join_reference
from zeroline.edge_app.station.mode import Mode
from zeroline.edge_app.station.operator import Moved
from zeroline.edge_app.station.running import RunningStation
from zeroline.edge_app.station.triggers import LaneTrigger

_STANDS = {Mode.PAUSED: "paused", Mode.SETUP: "in set-up"}


class StationControl:
    """The control of a running station; see `zeroline.edge_app.control.Control`.

    Parameters
    ----------
    running : RunningStation
    """

    def __init__(self, running: RunningStation) -> None:
        self._running = running

    def state(self) -> dict[str, Any]:
        """Return what it is and how it is, as JSON; see `Control`."""
        cameras = {}
        for camera in self._running.station.cameras:
            line, newest = (
                self._running.inspection.line(camera.name),
                self._running.inspection.newest(camera.name),
            )
            cameras[camera.name] = {
                "recipe": line.recipe,
                "recipe_version": line.version.hash,
                "model": line.settings.model,
                "frames": 0 if newest is None else newest.number,
                "window": len(line.inspector.frame_ids),
                "capacity": line.settings.window,
                "threshold": _threshold(newest),
            }
        return {
            "station": self._running.station.station,
            "run": self._running.run.id,
            "mode": self._running.mode.mode.value,
            "paused": self._running.mode.mode is Mode.PAUSED,
            "setup": self._running.mode.mode is Mode.SETUP,
            "cameras": cameras,
            "recipes": sorted({"default", *self._running.station.recipes}),
            "counts": dict(self._running.tally.verdicts),
            "parts": self._running.tally.frames,
            "dropped": sum(feeder.dropped for feeder in self._running.feeders),
            "waiting": self._running.inspection.waiting,
            "under_way": len(self._running.desk),
            "triggers": {name: vars(t.counts) for name, t in self._running.triggers.items()},
            "outputs": dict(self._running.outlets.states()),
            "store": None if self._running.store is None else self._running.store.state(),
            "faults": self._running.inspection.faults,
        }

    def health(self) -> Health:
        """Return how it is."""
        reasons = self._running.troubles
        alive, mode = not reasons, self._running.mode
        if not mode.running:
            reasons.append(f"the station is {_STANDS[mode.mode]}")
        return Health(alive, not reasons, tuple(reasons))

    def trigger(
        self,
        name: str,
        *,
        part: str | None = None,
        lot: str | None = None,
        serial: str | None = None,
        recipe: str | None = None,
    ) -> str:
        """Ask for a part; return its id."""
        if name not in self._running.triggers:
            known = ", ".join(self._running.triggers) or "none"
            raise RefusedError(f'trigger "{name}" is unknown, there are: {known}', kind="unknown")
        if not self._running.mode.running:
            raise RefusedError(f"the station is {_STANDS[self._running.mode.mode]}")
        trigger = self._running.triggers[name]
        if recipe is None:
            recipe = self._coming(trigger)
        else:
            self._check_recipe(recipe)
            for camera in trigger.lane.cameras:
                self._running.recipes.prepare(camera.name, recipe)
        return trigger.call(part=part, lot=lot, serial=serial, recipe=recipe).id

    def feedback(
        self, part: str, answer: Answer, *, note: str = "", by: str = "", join: bool = False
    ) -> None:
        """Keep what a person says of a part."""
        if self._running.store is None or not self._running.store.has_part(part):
            raise RefusedError(f'part "{part}" is unknown', kind="unknown")
        if join and not any(line.settings.reference for line in self._running.inspection.lines):
            raise RefusedError("no recipe that runs has a reference set", kind="invalid")
        self._running.store.feedback(part, answer, note=note, by=by, wall=time.time())
        self._move_threshold(part, answer, by=by)
        if answer is Answer.FALSE_ALARM:
            self._running.inspection.between(partial(self._confirm, part))
            if join:
                join_reference(self._running, part, by=by)
        said = answer.value.replace("_", " ")
        data = {"answer": answer.value, "note": note, "by": by}
        self._running.events(Event(EventName.FEEDBACK, f'part "{part}": {said}', data, part=part))

    def pause(self, on: bool, *, by: str = "") -> None:
        """Stop inspecting, or go on."""
        self._switch_mode(Mode.PAUSED if on else Mode.RUNNING, by=by)

    def setup(self, on: bool, *, by: str = "") -> None:
        """Show live frames with outputs safe and nothing counted, or go on."""
        self._switch_mode(Mode.SETUP if on else Mode.RUNNING, by=by)

    def newest(self, camera: str) -> Newest | None:
        """Return the newest frame of a camera."""
        if camera not in self._running.source_of:
            known = ", ".join(self._running.source_of)
            raise RefusedError(f'camera "{camera}" is unknown, there are: {known}', kind="unknown")
        return self._running.inspection.newest(camera)

    def switch(self, camera: str | None, recipe: str, *, by: str = "") -> None:
        """Let a camera, or all, run another recipe, soon and between two frames."""
        if camera is not None and camera not in self._running.source_of:
            known = ", ".join(self._running.source_of)
            raise RefusedError(f'camera "{camera}" is unknown, there are: {known}', kind="unknown")
        self._check_recipe(recipe)
        for name in [camera] if camera is not None else list(self._running.source_of):
            self._running.recipes.switch(name, recipe, by=by)

    def reset_operator(self, *, by: str = "") -> None:
        """Take all answers back that have moved thresholds."""
        if self._running.operator is None:
            raise RefusedError("the operator's rule is off: operator_rule in the station's file")
        self._moved(self._running.operator.reset(), by=by)

    def _coming(self, trigger: LaneTrigger) -> str | None:
        """Return the recipe that a lane's cameras are about to change to; None where none is.

        A switch that was answered comes before the parts of later triggers.
        """
        cameras = [camera.name for camera in trigger.lane.cameras]
        wanted = {self._running.recipes.wanted(camera) for camera in cameras}
        running = {self._running.inspection.line(camera).recipe for camera in cameras}
        return wanted.pop() if len(wanted) == 1 and wanted != running else None

    def _check_recipe(self, recipe: str) -> None:
        if recipe not in {"default", *self._running.station.recipes}:
            known = ", ".join(sorted({"default", *self._running.station.recipes}))
            raise RefusedError(f'recipe "{recipe}" is unknown, there are: {known}', kind="unknown")

    def _confirm(self, part: str) -> None:
        """Take note in the windows that a part is good."""
        for line in self._running.inspection.lines:
            line.inspector.confirm(part)

    def _switch_mode(self, mode: Mode, *, by: str) -> None:
        if mode is not Mode.RUNNING:
            self._running.outlets.safe("pause" if mode is Mode.PAUSED else "setup")
        if self._running.mode.set(mode):
            running = mode is Mode.RUNNING
            name = EventName.STATION_RESUMED if running else EventName.STATION_PAUSED
            data = {"mode": mode.value, "by": by}
            self._running.tell(name, f"station {self._running.station.station}: {mode.value}", data)

    def _move_threshold(self, part: str, answer: Answer, *, by: str) -> None:
        """Follow the operator's rule, where it is on and the answer is to an NG part."""
        if self._running.operator is None or answer not in (Answer.FALSE_ALARM, Answer.RIGHTLY_NG):
            return
        moved = self._running.operator.answered(
            part,
            false_alarm=answer is Answer.FALSE_ALARM,
            rate=lambda recipe: self._running.station.recipe(recipe).false_alarm_rate,
        )
        self._moved(moved, by=by)

    def _moved(self, moved: Sequence[Moved], *, by: str) -> None:
        for one in moved:
            self._running.inspection.between(self._running.use_factors)
            text = (
                f"camera {one.camera}, recipe {one.recipe}: the distance to the threshold is "
                f"{one.after:.2f} times the rule's, {one.before:.2f} before"
            )
            data = {"recipe": one.recipe, "from": one.before, "to": one.after, "by": by}
            self._running.events(Event(EventName.THRESHOLD_CHANGED, text, data, camera=one.camera))


def _threshold(newest: Newest | None) -> float | None:
    scores = None if newest is None else newest.inspection.scores
    return None if scores is None else scores.threshold
