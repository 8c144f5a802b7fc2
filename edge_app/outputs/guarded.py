"""What an output is, and how one that fails is kept from stopping the line."""

from __future__ import annotations

import logging
import time
from typing import Protocol

from zeroline.edge_app.captured import Captured
from zeroline.edge_app.errors import ReaderGoneError
from zeroline.edge_app.events import Event, EventName, Events
from zeroline.runtime.errors import in_one_line
from zeroline.runtime.results import Inspection

#: Seconds from one line about an output that keeps failing to the next.
REPEAT = 60.0

_log = logging.getLogger(__name__)


class Output(Protocol):
    """Takes each inspected frame."""

    def take(self, captured: Captured, inspection: Inspection, /) -> None:
        """Take a frame; called in order, by one thread."""

    def close(self) -> None:
        """Finish."""


class GuardedOutput:
    """An output whose failures are counted and told, and stop nothing.

    Parameters
    ----------
    name : str
        What people call it.
    output : Output
        Tried again with each frame.
    events : Events
        Is told at the first failure, then once a minute, and when it works again.

    Attributes
    ----------
    missed : int
        Frames that it did not take.
    """

    def __init__(self, name: str, output: Output, events: Events) -> None:
        self.name, self.missed = name, 0
        self._output, self._events = output, events
        self._failing = 0  # frames missed since it worked last
        self._last_event = 0.0

    def take(self, captured: Captured, inspection: Inspection) -> None:
        """Pass a frame on.

        Raises
        ------
        ReaderGoneError
            If the reader of the verdicts has gone, which ends the program.
        """
        try:
            self._output.take(captured, inspection)
        except ReaderGoneError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the line goes on
            self._failed(error)
            return
        if self._failing:
            text = f"{self.name} works again after {self._failing} missed frame(s)"
            self._emit(EventName.OUTPUT_BACK, text)
            self._failing = 0

    def close(self) -> None:
        """Finish the output, whatever happens."""
        try:
            self._output.close()
        except ReaderGoneError:
            raise
        except Exception as error:  # noqa: BLE001 - others are still to be closed
            _log.warning("closing %s failed", self.name, exc_info=True)
            self._emit(EventName.OUTPUT_LOST, f"{self.name} could not be finished: {error}")

    def _failed(self, error: Exception) -> None:
        self.missed += 1
        self._failing += 1
        now = time.monotonic()
        if self._failing == 1 or now - self._last_event >= REPEAT:
            _log.warning("%s failed", self.name, exc_info=True)
            text = (
                f"{self.name} failed, {self._failing} frame(s) missed so far: {in_one_line(error)}"
            )
            self._emit(EventName.OUTPUT_LOST, text)
            self._last_event = now

    def _emit(self, name: EventName, text: str) -> None:
        self._events(Event(name, text, {"output": self.name, "missed": self.missed}))
