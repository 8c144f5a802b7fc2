"""The simulated line as a source."""

from __future__ import annotations

from collections.abc import Iterator

from zeroline.edge_app.captured import Captured
from zeroline.edge_app.sim.line import SimulatedLine


class SimulatedSource:
    """The frames of a simulated line, which waits for its reader.

    Parameters
    ----------
    line : SimulatedLine
        Draws them.
    """

    live = False
    incomplete = False

    def __init__(self, line: SimulatedLine) -> None:
        self._line = line
        settings = line.settings
        self.announced: int | None = None if settings.empty else settings.parts
        self._closed = False

    def __iter__(self) -> Iterator[Captured]:
        for frame in self._line:
            if self._closed:
                return
            yield Captured(frame.image, str(frame.number))

    def finished(self, captured: Captured, /) -> None:
        """Nothing is to be done."""

    def close(self) -> None:
        """End the iteration."""
        self._closed = True
