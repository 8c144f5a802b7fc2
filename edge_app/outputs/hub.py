"""All outputs of a station: what is put here each of them gets, at its own pace."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

from zeroline.edge_app.events import Events
from zeroline.edge_app.messages import Message
from zeroline.edge_app.outputs.output import Output
from zeroline.edge_app.outputs.worker import HUNG, Worker

#: Seconds from look to look for outputs that hang.
_LOOK = 0.5


class OutputHub:
    """Owns outputs, each with its thread and its bounded queue.

    Each stands safe from the start on, and again at the end.

    Parameters
    ----------
    outputs : mapping of str to Output
        By their names; closed at the end.
    events : Events
        Is told `output.lost`, then once a minute; `output.back`; `output.dropped`. An event about
        an output does not go to it.
    patient : bool
        Of a run over files: `put` waits for a slow output, nothing is dropped. Else it never waits.

    Attributes
    ----------
    gone : threading.Event
        Set where nobody reads the lines of a patient hub any more, which ends the run.
    """

    def __init__(self, outputs: Mapping[str, Output], *, events: Events, patient: bool) -> None:
        self.gone, self._patient = threading.Event(), patient
        self._workers = [
            Worker(name, output, events, patient=patient, gone=self.gone)
            for name, output in outputs.items()
        ]
        self._closed = threading.Event()
        self._watch = threading.Thread(target=self._look, name="outputs", daemon=True)
        self._watch.start()

    def put(self, message: Message) -> None:
        """Give a message to every output."""
        for worker in self._workers:
            worker.put(message)

    def safe(self, why: str) -> None:
        """Let every output stand safe, after what was put before."""
        for worker in self._workers:
            worker.safe(why)

    def states(self) -> dict[str, dict[str, Any]]:
        """Return how each output is: `up`, `lost_since`, `waiting`, `dropped`, `missed`.

        `lost_since` is in seconds since 1970, or None.
        """
        return {worker.name: worker.state() for worker in self._workers}

    @property
    def missed(self) -> Counter[str]:
        """By output, messages that it did not take, where there are any."""
        return Counter({worker.name: worker.missed for worker in self._workers if worker.missed})

    def close(self, limit: float) -> None:
        """Finish all outputs within some seconds; one that hangs is told, and left behind.

        A patient hub first waits until they have taken all, or none takes any for ten seconds.
        """
        if self._patient:
            self._wait_for_all()
        self._closed.set()
        end = time.monotonic() + limit
        for worker in self._workers:
            worker.look()
            # a part of the time is for standing safe and closing
            worker.finish(end - min(0.5, limit / 2))
        for worker in self._workers:
            worker.join(end)
        self._watch.join(1.0)

    def _wait_for_all(self) -> None:
        before, since = -1, 0.0
        while not self.gone.is_set():
            waiting = sum(state["waiting"] for state in self.states().values())
            if waiting != before:
                before, since = waiting, time.monotonic()
            if not waiting or time.monotonic() - since >= HUNG:
                return
            self.gone.wait(0.01)

    def _look(self) -> None:
        while not self._closed.wait(_LOOK):
            for worker in self._workers:
                worker.look()
