"""A station's sources and recipes, opened."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from weakref import WeakSet

from zeroline.edge_app.captured import FrameSource
from zeroline.edge_app.configuration.cameras import Camera
from zeroline.edge_app.configuration.lanes import Lane
from zeroline.edge_app.configuration.models import Station
from zeroline.edge_app.events import Events
from zeroline.edge_app.sources.address import open_source
from zeroline.edge_app.sources.live import SILENCE
from zeroline.edge_app.sources.peeked import PeekedSource
from zeroline.edge_app.sources.watched import SCHEME as WATCHED
from zeroline.edge_app.station.lines import CameraLine, Lines, Size
from zeroline.edge_app.station.running import OpenedLane
from zeroline.edge_app.station.state import StateFolder


class Opener:
    """Opens the sources of a station, and the recipes of its cameras.

    Parameters
    ----------
    station : Station
    events : Events
    stop : Event
        Ends waits for frames.
    tell : callable
        Takes each line for people, at the start.
    state : StateFolder, optional
        Where windows of an earlier run are.
    named : bool
        Whether all parts have names, so that each enters its window whatever it is like. Else
        those do that a trigger or a watched folder names.
    opened : mapping of str to FrameSource, optional
        Sources that are open already, by their addresses.
    """

    def __init__(
        self,
        station: Station,
        *,
        events: Events,
        stop: threading.Event,
        tell: Callable[[str], None],
        state: StateFolder | None = None,
        named: bool = False,
        opened: Mapping[str, FrameSource] | None = None,
    ) -> None:
        self._station, self._state, self._told = station, state, tell
        self.lines: WeakSet[CameraLine] = WeakSet()  # those put away are nobody's
        all_named = [
            camera.name
            for camera in station.cameras
            if named or _is_named(camera.source, camera.trigger.mode)
        ]
        self._lines = Lines(station, events=events, tell=self._tell, named=all_named)
        self._quiet = False
        self.sources: dict[str, PeekedSource] = {}
        for camera in station.cameras:
            if camera.source not in self.sources:
                source = (opened or {}).get(camera.source) or open_source(
                    camera.source, events=events, stop=stop, patience=_patience(station, camera)
                )
                self.sources[camera.source] = PeekedSource(source)

    @property
    def live(self) -> bool:
        """Whether a source runs on by itself."""
        return any(source.live for source in self.sources.values())

    @property
    def incomplete(self) -> bool:
        """Whether frames are known to be lost that should be there."""
        return any(source.incomplete for source in self.sources.values())

    def lanes(self) -> tuple[OpenedLane, ...]:
        """Return the lanes with their sources."""
        return tuple(OpenedLane(lane, self._sources_of(lane)) for lane in self._station.lanes)

    def line(self, camera: str, recipe: str, size: Size = None) -> CameraLine:
        """Open a recipe for a camera; `size` of its frames, where one has come."""
        (address,) = (one.source for one in self._station.cameras if one.name == camera)
        source = self.sources[address]
        line = self._lines.opened(
            camera,
            recipe,
            size=source.size if size is None else lambda: size,
            waits=not source.live,
        )
        self.lines.add(line)
        if self._state is not None:
            if not self._quiet:
                self._state.announce(line)
            self._state.load(line)
        return line

    def close(self) -> None:
        """Close all that was opened; more than once does no harm."""
        for source in self.sources.values():
            source.close()
        for line in list(self.lines):
            line.inspector.close()
        self._lines.close()

    def first_lines(self) -> dict[str, CameraLine]:
        """Open the recipes of the start, by camera; what is opened later is not told."""
        lines = {
            one.name: self.line(one.name, self._recipe_of(one)) for one in self._station.cameras
        }
        self._quiet = True
        return lines

    def _recipe_of(self, camera: Camera) -> str:
        """Return the recipe that a camera begins with: the one that it ran last."""
        if self._state is None:
            return camera.recipe
        recipe = self._state.recipe(camera.name, camera.recipe)
        known = recipe == "default" or recipe in self._station.recipes
        return recipe if known else camera.recipe

    def _tell(self, line: str) -> None:
        if not self._quiet:
            self._told(line)

    def _sources_of(self, lane: Lane) -> tuple[PeekedSource, ...]:
        return tuple(self.sources[shared.address] for shared in lane.sources)


def _patience(station: Station, camera: Camera) -> float | None:
    """Return how many seconds a live camera may give no frame; None: as usual.

    Where a trigger's part has a deadline, nobody waits longer.
    """
    if camera.trigger.mode == "every-frame" or station.deadline_ms is None:
        return None
    return min(SILENCE, station.deadline_ms / 1000)


def _is_named(source: str, mode: str) -> bool:
    """Tell whether a camera's parts have names of their own: each is another part for certain."""
    return mode == "software" or source.startswith(WATCHED)
