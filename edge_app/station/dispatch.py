"""From verdicts to the store and to outputs, each message with its number, in order.

A message waits until the store has it, for a short time at most; then it leaves.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

from zeroline.edge_app.bodies import alarm_body, event_body, part_body, revision_body
from zeroline.edge_app.events import Event, EventName, Events
from zeroline.edge_app.messages import Kind, Message
from zeroline.edge_app.parts import JudgedPart
from zeroline.edge_app.runs import Run
from zeroline.runtime.results import RecurringDefect, Revision


class Ticket(Protocol):
    """What the store gives for a message."""

    def wait(self, timeout: float, /) -> bool:
        """Wait until the message is stored; tell whether it is."""

    def leave(self) -> None:
        """Take note that the message leaves before it is stored."""


class Keeper(Protocol):
    """The store."""

    def write(self, message: Message, /) -> Ticket:
        """Take a message; never waits."""

    def next_number(self) -> int:
        """Return the first number that no message has."""


@dataclass(frozen=True)
class _Leaving:
    message: Message
    ticket: Ticket | None
    until: float


class Dispatch:
    """Numbers messages, has them stored, and lets them leave in that order.

    Parameters
    ----------
    put : callable
        Takes each message as it leaves: the outputs.
    stored : callable, optional
        Takes each message that has left and is stored, or needs no store.
    run : Run
    station : str
        Its name.
    events : Events
        Is told where the store is late.
    store : Keeper, optional
    store_wait : float
        Seconds that a message waits for the store at the most.

    Attributes
    ----------
    waited : float
        Seconds that the last part waited for the store.
    """

    def __init__(
        self,
        put: Callable[[Message], None],
        *,
        stored: Callable[[Message], None] = lambda _: None,
        run: Run,
        station: str,
        events: Events,
        store: Keeper | None = None,
        store_wait: float = 0.05,
    ) -> None:
        self._put, self._stored, self._run, self._station = put, stored, run, station
        self._to_store: deque[_Leaving] = deque()  # that left before they were stored
        self._events, self._store, self._wait = events, store, store_wait
        self._number = 1 if store is None else store.next_number()
        self._lock = threading.Lock()
        self._leaving: queue.SimpleQueue[_Leaving | None] = queue.SimpleQueue()
        self._room = threading.Semaphore(_MOST)
        self._late = False
        self.waited = 0.0
        self.trouble: BaseException | None = None
        self._thread = threading.Thread(target=self._release, name="zeroline-release", daemon=True)
        self._thread.start()

    def part(self, part: JudgedPart) -> None:
        """Tell a part's verdict; waits where too much has not left yet."""
        while not self._room.acquire(timeout=0.5):
            if not self._thread.is_alive():
                return
        self._tell(
            Kind.PART,
            lambda number: part_body(part, number=number, run=self._run, station=self._station),
            part=part,
            store_time=part.decided,
        )

    def revision(self, camera: str, revision: Revision) -> None:
        """Tell that an earlier part was judged anew."""
        self._tell(
            Kind.REVISION,
            lambda number: revision_body(
                revision, number=number, run=self._run, station=self._station, camera=camera
            ),
            camera=camera,
            revision=revision,
        )

    def alarm(self, camera: str, alarm: RecurringDefect) -> None:
        """Tell a recurring defect."""
        self._tell(
            Kind.ALARM,
            lambda number: alarm_body(
                alarm, number=number, run=self._run, station=self._station, camera=camera
            ),
            camera=camera,
            alarm=alarm,
        )

    def event(self, event: Event) -> None:
        """Tell an event; that of an alarm is told as alarm."""
        if event.name is EventName.RECURRING_BEGIN:
            return
        self._tell(
            Kind.EVENT,
            lambda number: event_body(event, number=number, run=self._run, station=self._station),
            camera=event.camera,
            event=event,
        )

    def close(self, limit: float) -> bool:
        """Let everything leave, and end the thread; tell whether it has ended in time."""
        self._leaving.put(None)
        self._thread.join(timeout=limit)
        return not self._thread.is_alive()

    def _tell(
        self,
        kind: Kind,
        body: Callable[[int], Any],
        *,
        store_time: float | None = None,
        **payload: Any,
    ) -> None:
        with self._lock:
            number, self._number = self._number, self._number + 1
            message = Message(number, kind, body(number), **payload)
            ticket = None if self._store is None else self._store.write(message)
            since = time.monotonic() if store_time is None else store_time
            self._leaving.put(_Leaving(message, ticket, since + self._wait))

    def _release(self) -> None:
        try:
            while True:
                try:
                    leaving = self._leaving.get(timeout=_LOOK)
                except queue.Empty:
                    self._look_again()
                    continue
                if leaving is None:
                    self._look_again()
                    return
                message = self._waited_for(leaving)
                self._put(message)
                if message.unstored:
                    self._to_store.append(leaving)
                else:
                    self._stored(message)
                if message.kind is Kind.PART:
                    self._room.release()
                self._look_again()
        except BaseException as error:  # noqa: BLE001 - the station looks at it and ends
            self.trouble = error

    def _look_again(self) -> None:
        """Look whether messages that left before have come into the store."""
        while self._to_store:
            leaving = self._to_store[0]
            if leaving.ticket is not None and not leaving.ticket.wait(0):
                return
            self._stored(self._to_store.popleft().message)

    def _waited_for(self, leaving: _Leaving) -> Message:
        """Return a message when the store has it, or with the flag that it has it not."""
        message = leaving.message
        if leaving.ticket is None:
            return message
        stored = leaving.ticket.wait(max(leaving.until - time.monotonic(), 0))
        if message.kind is Kind.PART:
            self.waited = time.monotonic() - (leaving.until - self._wait)
        if stored:
            self._late = False
            return message
        leaving.ticket.leave()
        if not self._late:  # once for each row of such messages
            self._late = True
            text = f"the store is late: message {message.number} leaves before it is stored"
            part = message.part.name.id if message.part else None
            self._events(
                Event(EventName.STORAGE_LATE, text, {"message": message.number}, part=part)
            )
        return replace(message, body={**message.body, "unstored": True}, unstored=True)


#: Seconds after which messages that left unstored are looked after, where no other leaves.
_LOOK = 0.5
#: Parts that may wait to leave: behind them the inspection waits.
_MOST = 64
