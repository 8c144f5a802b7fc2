"""Stations for tests: made of options, run for real, with what they have told."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zeroline.edge_app.captured import Captured
from zeroline.edge_app.configuration.models import Station
from zeroline.edge_app.events import Event, Events
from zeroline.edge_app.messages import Kind, Message
from zeroline.edge_app.outputs.hub import OutputHub
from zeroline.edge_app.runs import Run
from zeroline.edge_app.station.controls import StationControl
from zeroline.edge_app.station.opener import Opener
from zeroline.edge_app.station.running import RunningStation
from zeroline.edge_app.station.state import StateFolder
from zeroline.runtime.frames import CaptureTime


@dataclass
class Heard:
    """An output that keeps what it was told."""

    messages: list[Message] = field(default_factory=list)
    safe_calls: list[str] = field(default_factory=list)
    closed: bool = False

    def take(self, message: Message, /) -> None:
        self.messages.append(message)

    def safe(self, why: str, /) -> None:
        self.safe_calls.append(why)

    def close(self) -> None:
        self.closed = True

    @property
    def parts(self) -> list[Message]:
        return [message for message in self.messages if message.kind is Kind.PART]

    def verdicts(self) -> dict[str, tuple[str, str | None]]:
        return {m.body["part"]: (m.body["verdict"], m.body["reason"]) for m in self.parts}


class LiveFrames:
    """A live source: frames that a test gives, each at its time; silence is a fault."""

    live = True
    incomplete = False
    announced: int | None = None

    def __init__(self, *, patience: float = 0.3, dropped: int = 0) -> None:
        self.patience, self._dropped = patience, dropped
        self._latest: Captured | None = None
        self._count = 0
        self._changed = threading.Condition()
        self._closed = False

    def give(self, frame: Any, *, clock: float | None = None) -> None:
        with self._changed:
            now, name = CaptureTime.now(), str(self._count)
            self._latest = Captured(frame, name, time=now, clock=clock, dropped=self._dropped)
            self._count += 1
            self._changed.notify_all()

    def __iter__(self) -> Iterator[Captured]:
        from zeroline.runtime.results import Reason

        while not self._closed:
            with self._changed:
                self._changed.wait_for(lambda: self._latest or self._closed, self.patience)
                latest, self._latest = self._latest, None
            if self._closed:
                return
            yield latest or Captured(None, "", fault="no frame", reason=Reason.NO_FRAME)

    def finished(self, captured: Captured, /) -> None:
        pass

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()


@dataclass
class Trial:
    """A station under test."""

    running: RunningStation
    control: StationControl
    heard: Heard
    events: list[Event]
    stop: threading.Event
    opener: Opener

    def until(self, true: Callable[[], Any], *, seconds: float = 10) -> None:
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end, f"not in {seconds} s: {self.heard.verdicts()}"
            time.sleep(0.005)

    def names(self) -> list[str]:
        return [event.name.value for event in self.events]


@contextmanager
def station_under_test(
    values: dict[str, Any],
    *,
    folder: Path,
    sources: dict[str, Any] | None = None,
    store: Any = None,
    state: bool = False,
    operator: Any = None,
    outputs: dict[str, Any] | None = None,
    **options: Any,
) -> Iterator[Trial]:
    """Run a station of options; `sources` stand in for addresses that a test has."""
    station = Station.model_validate({"data": folder, "threads": 1, **values})
    events, told = Events(), list[Event]()
    events.listen(told.append)
    stop, heard = threading.Event(), Heard()
    kept = StateFolder(folder / "state", tell=lambda line: None) if state else None
    opener = Opener(
        station, events=events, stop=stop, tell=lambda _: None, state=kept, opened=sources
    )
    hub = OutputHub(
        {"heard": heard, **(outputs or {})}, events=events, patient=not opener.live and not store
    )
    running = RunningStation(
        station, opener.lanes(), opener.first_lines(), hub, run=Run("test"), events=events,
        stop=stop, store=store, opened=opener.line, state=kept, operator=operator, **options,
    )  # fmt: skip
    try:
        with running:
            yield Trial(running, StationControl(running), heard, told, stop, opener)
    finally:
        opener.close()
