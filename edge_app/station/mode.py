"""What a station does: inspect, stand, or show live frames while it is set up."""

from __future__ import annotations

import threading
from enum import Enum


class Mode(str, Enum):
    """What is done with frames."""

    RUNNING = "running"
    PAUSED = "paused"
    SETUP = "setup"


class ModeSwitch:
    """Holds the mode; may be used from any thread."""

    def __init__(self) -> None:
        self._mode = Mode.RUNNING
        self._changed = threading.Condition()

    @property
    def mode(self) -> Mode:
        """The mode now."""
        return self._mode

    @property
    def running(self) -> bool:
        """Whether frames are inspected."""
        return self._mode is Mode.RUNNING

    def set(self, mode: Mode) -> bool:
        """Change the mode; tell whether it was another."""
        with self._changed:
            changed, self._mode = mode is not self._mode, mode
            self._changed.notify_all()
            return changed

    def wait_running(self, timeout: float) -> bool:
        """Wait until frames are inspected; tell whether they are."""
        with self._changed:
            return self._changed.wait_for(lambda: self.running, timeout=timeout)
