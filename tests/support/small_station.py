"""A small station behind the local interface: real frames through a real inspector."""

from __future__ import annotations

import threading
import time
from typing import Any

from zeroline.edge_app.captured import Captured
from zeroline.edge_app.control import Answer, Health, Newest, RefusedError
from zeroline.runtime import RollingInspector, load_bundle


class SmallStation:
    """Inspects frames, and can be asked and told; one camera, called top.

    Attributes
    ----------
    told : list
        What it was told, in order.
    hangs : threading.Event
        While it is clear, nothing is answered.
    """

    def __init__(self, bundle: Any, frames: Any, *, rate: float = 100.0, queue: int = 8) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.well = Health(True, True)
        self.hangs = threading.Event()
        self.hangs.set()
        self._bundle, self._frames, self._period = bundle, frames, 1 / rate
        self._queue, self._room = queue, queue
        self._newest: Newest | None = None
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self.asked_for_newest = 0
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> SmallStation:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _work(self) -> None:
        number = 0
        with (
            load_bundle(self._bundle, device="cpu", threads=1) as bundle,
            RollingInspector(bundle, window=8, min_window=4) as inspector,
        ):
            while not self._stop.wait(self._period):
                frame = self._frames[number % len(self._frames)]
                captured = Captured(frame, f"{number}.png")
                number += 1
                self._newest = Newest(number, captured, inspector.push(frame))

    def show(self, newest: Newest) -> None:
        self._newest = newest

    def state(self) -> dict[str, Any]:
        assert self.hangs.wait(30)
        return {
            "station": "press-4", "run": "20260101T000000Z-abcd", "mode": "running",
            "paused": False, "setup": False, "recipes": ["bracket-a", "default"],
            "cameras": {"top": {"recipe": "default", "window": 8, "capacity": 8, "threshold": 0.5}},
            "counts": {"OK": 3, "NG": 1}, "parts": 4, "waiting": 0,
            "triggers": {"main": {"taken": 5, "missed": 2, "late": 1}},
            "outputs": {"webhook": {"up": False, "lost_since": 1.0, "waiting": 7, "dropped": 3,
                                    "missed": 3}},
            "store": {"commit_ms": 6.5, "waiting": 2, "lost": 0, "full": True, "free_bytes": 1000,
                      "outbox": 7, "pictures": {"bytes": 5000, "dropped": 1}},
        }  # fmt: skip

    def health(self) -> Health:
        assert self.hangs.wait(30)
        return self.well

    def trigger(
        self, name: str, *, part: str | None, lot: str | None, serial: str | None,
        recipe: str | None = None,
    ) -> str:  # fmt: skip
        if name != "main":
            raise RefusedError(f'trigger "{name}" is unknown, there are: main', kind="unknown")
        with self._lock:
            if not self._room:
                raise RefusedError(f'trigger "main": {self._queue} parts wait already', kind="busy")
            self._room -= 1
            self.told.append(("trigger", part, lot, serial, recipe))
            return part or f"top-20260101-{len(self.told)}"

    def empty(self) -> None:
        with self._lock:
            self._room = self._queue

    def feedback(
        self, part: str, answer: Answer, *, note: str, by: str, join: bool = False
    ) -> None:
        if part == "none":
            raise RefusedError('part "none" is unknown', kind="unknown")
        self.told.append(("feedback", part, answer, note, by, join))

    def reset_operator(self, *, by: str) -> None:
        self.told.append(("reset", by))

    def switch(self, camera: str | None, recipe: str, *, by: str) -> None:
        if recipe not in ("default", "bracket-a"):
            raise RefusedError(f'recipe "{recipe}" is unknown', kind="unknown")
        self.told.append(("switch", camera, recipe, by))

    def pause(self, on: bool, *, by: str) -> None:
        if not on and ("pause", True, by) not in self.told:
            raise RefusedError("the station is not paused")
        self.told.append(("pause", on, by))

    def setup(self, on: bool, *, by: str) -> None:
        self.told.append(("setup", on, by))

    def newest(self, camera: str) -> Newest | None:
        if camera != "top":
            raise RefusedError(f'camera "{camera}" is unknown, there are: top', kind="unknown")
        self.asked_for_newest += 1
        return self._newest


def numbered(number: int, frame: Any) -> Newest:
    """A frame that no network has seen."""
    from support.messages import view_of

    view = view_of(number, frame=frame)
    return Newest(number, view.captured, view.inspection)


def wait_for_pictures(station: SmallStation, count: int) -> None:
    end = time.monotonic() + 20
    while station._newest is None or station._newest.number < count:
        assert time.monotonic() < end
        time.sleep(0.01)
