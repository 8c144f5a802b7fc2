"""The simulated line as a source."""

from __future__ import annotations

from collections.abc import Iterator

from zeroline.edge_app.captured import Captured


class SimulatedSource:
    """The simulated line; the query of its address has the settings."""

    live = False

    def __init__(self, address: str) -> None:
        from zeroline.edge_app.sim.line import SimulatedLine
        from zeroline.edge_app.sim.settings import settings_from

        self._line = SimulatedLine(settings_from(address))
        self._closed = False

    def __iter__(self) -> Iterator[Captured]:
        for frame in self._line:
            if self._closed:
                return
            yield Captured(frame.image, str(frame.number))

    def close(self) -> None:
        """End the iteration."""
        self._closed = True
