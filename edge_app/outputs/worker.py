"""One output at work: its thread, its queue, and what is told of it."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from zeroline.edge_app.errors import ReaderGoneError
from zeroline.edge_app.events import Event, EventName, Events
from zeroline.edge_app.messages import Kind, Message
from zeroline.edge_app.outputs.output import Durable, Output, TryAgainError
from zeroline.runtime.errors import in_one_line

#: Messages that wait for an output; pixels are kept for the newest ones only.
MOST, MOST_FRAMES = 1000, 32
#: Seconds from one line about an output that keeps failing to the next.
REPEAT = 60.0
#: Seconds in one call after which an output is told as lost.
HUNG = 10.0

_log = logging.getLogger(__name__)


class Worker:
    """Gives an output its messages in a thread of its own; whatever it does stops nothing.

    Parameters
    ----------
    name : str
        What people call it.
    output : Output
    events : Events
        Is told that it is lost, back, or that messages were dropped.
    patient : bool
        Whether `put` waits where the queue is full; else the oldest message is dropped.
    gone : threading.Event
        Is set where nobody reads a patient output any more.

    Attributes
    ----------
    missed : int
        Messages that the output did not take: it failed, or they were dropped.
    dropped : int
        Those of them that were dropped from a full queue.
    """

    def __init__(
        self, name: str, output: Output, events: Events, *, patient: bool, gone: threading.Event
    ) -> None:
        self.name, self.missed, self.dropped = name, 0, 0
        self._gone = gone
        self._output, self._events, self._patient = output, events, patient
        self._durable = output if isinstance(output, Durable) else None
        self._queue: deque[Message | Callable[[], None]] = deque()
        self._change = threading.Condition()
        self._end: float | None = None  # monotonic second at which the queue is left as it is
        self._ended = False
        self._newest, self._in_hand = 0, False
        self._busy_since: float | None = None
        self._lost_since: float | None = None
        self._told_lost = self._told_dropped = float("-inf")
        self._dropped_told = 0
        self._catch_up = None if self._durable is None else self._durable.catch_up
        if self._catch_up is not None:
            self._queue.append(self._catch_up)
        self._queue.appendleft(lambda: output.safe("start"))
        self._thread = threading.Thread(target=self._work, name=f"output {name}", daemon=True)
        self._thread.start()

    def put(self, message: Message) -> None:
        """Queue a message; events are never waited for: whoever tells them may hold a lock."""
        about = message.event
        if about is not None and about.data.get("output") == self.name:
            return  # it would fail with it once more, and a loop would begin
        with self._change:
            if self._patient and message.kind is not Kind.EVENT:
                self._change.wait_for(self._has_room)
            if self._ended:
                return
            self._newest = message.number
            self._queue.append(message)
            if not self._patient:
                self._bound()
            self._change.notify_all()

    def safe(self, why: str) -> None:
        """Queue that it stands safe, after the messages before."""
        with self._change:
            self._queue.append(lambda: self._output.safe(why))
            self._change.notify_all()

    def state(self) -> dict[str, Any]:
        """Return how it is: up, lost since (seconds since 1970), waiting, dropped, missed."""
        with self._change:
            return {
                "up": self._lost_since is None,
                "lost_since": self._lost_since,
                "waiting": self._waiting(),
                "dropped": self.dropped,
                "missed": self.missed,
            }

    def look(self) -> None:
        """Tell that it hangs, or drops; called now and then by another thread."""
        now = time.monotonic()
        with self._change:
            hangs = self._busy_since is not None and now - self._busy_since >= HUNG
            hangs = hangs and now - self._told_lost >= REPEAT
            if hangs:
                self._lost(now)
            drops = self.dropped > self._dropped_told and now - self._told_dropped >= REPEAT
            if drops:
                self._dropped_told, self._told_dropped = self.dropped, now
        if hangs:
            text = f"{self.name} hangs for {HUNG:g} s, {self._waiting()} message(s) wait"
            self._emit(EventName.OUTPUT_LOST, text)
        if drops:
            text = f"{self.name} is too slow, {self.dropped} message(s) dropped so far"
            self._emit(EventName.OUTPUT_DROPPED, text)

    def finish(self, end: float) -> None:
        """Let it work off its queue until a monotonic second, then stand safe and close."""
        with self._change:
            self._end = end
            self._change.notify_all()

    def join(self, end: float) -> bool:
        """Wait for its thread until a monotonic second; tell whether it has ended."""
        self._thread.join(max(0.0, end - time.monotonic()))
        if not self._thread.is_alive():
            return True
        self._emit(EventName.OUTPUT_LOST, f"{self.name} does not end, and is left behind")
        self._leave_rest()
        return False

    def _has_room(self) -> bool:
        return len(self._queue) < MOST_FRAMES or self._end is not None or self._ended

    def _waiting(self) -> int:
        """Return how many messages wait, the one under way too."""
        with self._change:
            if self._durable is not None:
                return max(0, self._newest - self._durable.delivered_up_to)
            return self._in_hand + sum(isinstance(job, Message) for job in self._queue)

    def _bound(self) -> None:
        """Keep the queue in its bounds: the oldest messages go, of older ones the pixels."""
        if len(self._queue) > MOST:
            oldest = next(n for n, job in enumerate(self._queue) if isinstance(job, Message))
            del self._queue[oldest]
            if self._durable is None:
                self.dropped += 1
                self.missed += 1
        if len(self._queue) > MOST_FRAMES:
            older = self._queue[-MOST_FRAMES - 1]
            if isinstance(older, Message):
                self._queue[-MOST_FRAMES - 1] = without_pixels(older)

    def _work(self) -> None:
        while (job := self._next()) is not None:
            self._do(job)
            with self._change:
                self._in_hand = False
        self._leave_rest()
        for last in (lambda: self._output.safe("stop"), self._output.close):
            self._do(last, closing=True)

    def _next(self) -> Message | Callable[[], None] | None:
        with self._change:
            self._change.wait_for(lambda: self._queue or self._end is not None)
            over = self._end is not None and time.monotonic() >= self._end
            if not self._queue or over or self._ended:
                return None
            job = self._queue.popleft()
            self._in_hand = isinstance(job, Message)
            self._change.notify_all()
            return job

    def _do(self, job: Message | Callable[[], None], *, closing: bool = False) -> None:
        """Give the output a message until it has taken it, or has failed for good."""
        while True:
            with self._change:
                self._busy_since = time.monotonic()
            try:
                if isinstance(job, Message):
                    self._output.take(job)
                else:
                    job()
            except TryAgainError as error:
                if not self._again(error):
                    self._miss(isinstance(job, Message) and self._durable is None)
                    return
            except BaseException as error:  # noqa: BLE001 - whatever it is, all others go on
                if isinstance(error, ReaderGoneError) and self._patient:
                    self._reader_gone()
                else:
                    self._miss(isinstance(job, Message))
                    self._failed(error, closing=closing)
                return
            else:
                if isinstance(job, Message) or job == self._catch_up:
                    self._worked()  # to stand safe proves nothing: most have nothing to do
                return
            finally:
                with self._change:
                    self._busy_since = None

    def _again(self, error: TryAgainError) -> bool:
        """Wait as the output has asked for; tell whether there is a next try."""
        self._miss(error.missed)
        if str(error):
            waiting = f"{self._waiting()} message(s) wait"
            text = f"{self.name} does not work, {waiting}: {in_one_line(error)}"
            self._tell_failure(text, error)
        else:
            self._worked()
        with self._change:
            self._busy_since = None
            if error.after > 0:
                self._change.wait_for(lambda: self._end is not None, timeout=error.after)
            self._ended = self._end is not None and bool(str(error))
            return self._end is None

    def _failed(self, error: BaseException, *, closing: bool) -> None:
        # a library that calls sys.exit has failed as well
        text = in_one_line(error if isinstance(error, Exception) else Exception(error))
        if closing:
            _log.warning("closing %s failed", self.name, exc_info=error)
            self._emit(EventName.OUTPUT_LOST, f"{self.name} could not be finished: {text}")
            return
        missed = f"{self.missed} message(s) missed so far"
        self._tell_failure(f"{self.name} failed, {missed}: {text}", error)

    def _tell_failure(self, text: str, error: BaseException) -> None:
        now = time.monotonic()
        with self._change:
            tells = self._lost_since is None or now - self._told_lost >= REPEAT
            if tells:
                self._lost(now)
        if tells:
            _log.warning("%s failed", self.name, exc_info=error)
            self._emit(EventName.OUTPUT_LOST, text)

    def _lost(self, now: float) -> None:
        self._told_lost = now
        if self._lost_since is None:
            self._lost_since = time.time()

    def _worked(self) -> None:
        with self._change:
            was_lost, self._lost_since = self._lost_since is not None, None
        if was_lost:
            text = f"{self.name} works again, {self.missed} message(s) missed so far"
            self._emit(EventName.OUTPUT_BACK, text)

    def _reader_gone(self) -> None:
        with self._change:
            self._ended = True
            self._change.notify_all()
        self._gone.set()

    def _miss(self, count: int) -> None:
        with self._change:
            self.missed += count

    def _leave_rest(self) -> None:
        """Count and tell what is left in the queue at the end."""
        with self._change:
            rest = self._in_hand + sum(isinstance(job, Message) for job in self._queue)
            self._queue.clear()
            self._ended = True
            if self._durable is not None or self._gone.is_set():
                return
            self.missed += rest
        if rest:
            text = f"{self.name} has not taken the last {rest} message(s)"
            self._emit(EventName.OUTPUT_DROPPED, text)

    def _emit(self, name: EventName, text: str) -> None:
        data = {"output": self.name, "missed": self.missed, "dropped": self.dropped}
        self._events(Event(name, text, data))


def without_pixels(message: Message) -> Message:
    """Return a message whose part has no frames any more."""
    if message.part is None:
        return message
    views = tuple(
        replace(view, captured=replace(view.captured, frame=None)) for view in message.part.views
    )
    return replace(message, part=replace(message.part, views=views))
