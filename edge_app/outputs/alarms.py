"""Alarms of recurring defects, for people."""

from __future__ import annotations

from collections.abc import Callable

from zeroline.edge_app.captured import Captured
from zeroline.runtime.results import Inspection


class Alarms:
    """Tells of recurring defects.

    Parameters
    ----------
    tell : callable
        Takes a line of text.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell

    def take(self, _: Captured, made: Inspection) -> None:
        """Tell of those found with a frame."""
        for alarm in made.alarms:
            self._tell(f"ALARM: {alarm}")

    def close(self) -> None:
        """Nothing is left to do."""
