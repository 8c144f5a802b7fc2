"""How far a line has come through its source."""

from __future__ import annotations

from collections.abc import Callable

from zeroline.edge_app.captured import Captured
from zeroline.runtime.results import Inspection


class Progress:
    """Counts frames.

    Parameters
    ----------
    advance : callable
        Takes the number of frames just done.
    """

    def __init__(self, advance: Callable[[int], None]) -> None:
        self._advance = advance

    def take(self, captured: Captured, inspection: Inspection, /) -> None:
        """Count a frame."""
        self._advance(1)

    def close(self) -> None:
        """Nothing is left to do."""
