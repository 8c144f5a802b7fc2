"""What a station's file names: its port, its data folder, its cameras, its speed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from zeroline.edge_app.configuration.models import Station
from zeroline.edge_app.doctor.cameras import LIMIT, Seen, camera_findings, running_camera
from zeroline.edge_app.doctor.data import Rates, filling_findings, folder_findings, rates_of
from zeroline.edge_app.doctor.findings import AS_ANOTHER, Check, Finding, fail, ok
from zeroline.edge_app.doctor.running import Running, look, running_findings
from zeroline.edge_app.doctor.speed import BUDGET, Load, needed_rate, speed_findings
from zeroline.edge_app.doctor.system import link_findings
from zeroline.edge_app.errors import InputError
from zeroline.edge_app.store.schema import FILE as DATABASE

#: Seconds for one recipe, with the settings that are tried in place of it.
_SPEED = 3 * BUDGET


def station_checks(station: Station, root: Path = Path("/")) -> Iterator[Check]:
    """Yield the checks of a station; each is done before the next one is asked for."""
    examined = _Examined(station, root)
    yield Check("port", examined.who_runs)
    yield Check("data", lambda: folder_findings(station, runs=examined.runs))
    yield Check("data.days", examined.rates)
    for number, camera in enumerate(station.cameras):
        yield Check(f"camera {camera.name}", lambda n=number: examined.camera(n), LIMIT)  # type: ignore[misc]
    yield Check("net", examined.links)
    for number, camera in enumerate(station.cameras):
        yield Check(f"speed {camera.name}", lambda n=number: examined.speed(n), _SPEED)  # type: ignore[misc]


class _Examined:
    """What earlier checks have found, for later ones."""

    def __init__(self, station: Station, root: Path) -> None:
        self._station, self._root = station, root
        self._running = Running()
        self._rates: Rates | None = None
        self._seen = [Seen() for _ in station.cameras]
        self._taken = 0.0

    @property
    def runs(self) -> bool:
        return self._running.is_of(self._station)

    def who_runs(self) -> list[Finding]:
        self._running = look(self._station)
        return running_findings(self._station, self._running)

    def rates(self) -> list[Finding]:
        try:
            self._rates = rates_of(self._station.data)
        except InputError as error:
            database = self._station.data / DATABASE
            barred = database.exists() and not os.access(database, os.R_OK, effective_ids=True)
            return [fail("store", str(error), AS_ANOTHER if barred else "see docs/store.md")]
        return filling_findings(self._station, self._rates)

    def camera(self, number: int) -> list[Finding]:
        camera = self._station.cameras[number]
        if self.runs:
            return [running_camera(camera, self._running)]
        same = [c.source for c in self._station.cameras[:number]]
        if camera.source in same:  # they share it
            self._seen[number] = self._seen[same.index(camera.source)]
            return [
                ok(f"camera {camera.name}", f"shares the source of {self._first(camera.source)}")
            ]
        return camera_findings(camera, self._seen[number])

    def _first(self, source: str) -> str:
        return next(c.name for c in self._station.cameras if c.source == source)

    def links(self) -> list[Finding]:
        frames = [seen.frame for seen in self._seen if seen.frame is not None]
        largest = max((frame.nbytes // 3 for frame in frames), default=None)
        sources = [camera.source for camera in self._station.cameras]
        return link_findings(sources, frame=largest, root=self._root)

    def speed(self, number: int) -> list[Finding]:
        camera, seen = self._station.cameras[number], self._seen[number]
        if self.runs:
            return [ok(f"speed {camera.name}", "not measured: the station runs")]
        busiest = None if self._rates is None else self._rates.busiest
        rate = needed_rate(self._station, number, seen.rate, busiest)
        load = Load(rate, self._taken)
        recipe = self._station.recipe_of(camera)
        found, share = speed_findings(camera.name, self._station, recipe, seen.frame, load)
        self._taken += share
        return found
