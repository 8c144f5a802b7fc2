"""Ten minutes at 30 frames a second: latency, drops, memory, bytes on disk, cost of the store.

Frames of 480×480 come from memory, at their times, as those of a camera do. All else is real:
store, pictures, JSON lines, the figures of the local interface.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from trials.resumed import Rows
from zeroline.edge_app.captured import Captured
from zeroline.edge_app.commands.kept import Kept
from zeroline.edge_app.commands.outlets import opened_outputs
from zeroline.edge_app.configuration.models import Station
from zeroline.edge_app.events import Events
from zeroline.edge_app.messages import Kind, Message
from zeroline.edge_app.outputs.hub import OutputHub
from zeroline.edge_app.runs import Run
from zeroline.edge_app.sim.line import SimulatedLine
from zeroline.edge_app.sim.settings import settings_from
from zeroline.edge_app.station.controls import StationControl
from zeroline.edge_app.station.extras import Extras
from zeroline.edge_app.station.opener import Opener
from zeroline.edge_app.station.running import RunningStation
from zeroline.runtime.frames import CaptureTime, Frame

SEEDS = (600,)  # seconds
RATE = 30.0
_DRAWN = 150
#: Threads of the inspection itself, by the beginnings of their names.
_INSPECTION = (
    "zeroline-inspection", "zeroline-recurring", "zeroline-top", "zeroline_", "ThreadPool",
    "camera", "MainThread",
)  # fmt: skip


class MemoryCamera:
    """A camera whose frames lie in memory: each at its time, the latest counts."""

    live = True
    incomplete = False
    announced: int | None = None

    def __init__(self, frames: list[Frame], *, rate: float, seconds: float) -> None:
        self._frames, self._rate, self._count = frames, rate, int(rate * seconds)
        self._latest: Captured | None = None
        self._changed = threading.Condition()
        self._closed = self._over = False
        self._waiting = 0
        self._thread = threading.Thread(target=self._run, name="camera", daemon=True)

    def __iter__(self) -> Iterator[Captured]:
        self._thread.start()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._latest or self._closed or self._over)
                latest, self._latest = self._latest, None
            if latest is None:
                return
            yield latest

    def finished(self, captured: Captured, /) -> None:
        """Nothing is to be done."""

    def close(self) -> None:
        """End it."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _run(self) -> None:
        began, noise = time.monotonic(), np.random.default_rng(0)
        for number in range(self._count):
            time.sleep(max(0.0, began + number / self._rate - time.monotonic()))
            frame = self._frames[number % len(self._frames)].copy()
            at = noise.integers(0, 480, 2)
            frame[at[0], at[1]] ^= 1  # a sensor never gives a frame twice
            with self._changed:
                dropped = 0 if self._latest is None else self._latest.dropped + 1
                self._latest = Captured(frame, str(number), time=CaptureTime.now(), dropped=dropped)
                self._changed.notify_all()
                if self._closed:
                    return
        with self._changed:
            self._over = True
            self._changed.notify_all()


class Latencies:
    """An output that keeps how long each verdict took."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.waited: list[float] = []
        self.unstored = 0
        self.dispatch: Any = None

    def take(self, message: Message, /) -> None:
        """Take the time of a part."""
        if message.kind is Kind.PART and message.part is not None:
            now = time.monotonic()
            self.seconds.append(now - message.part.time.monotonic)
            self.waited.append(now - message.part.decided)
            self.unstored += message.unstored

    def safe(self, why: str, /) -> None:
        """Nothing stands behind it."""

    def close(self) -> None:
        """Nothing is left to do."""


def run(tell: Callable[[str], None], *, seeds: tuple[int, ...], rows: Rows) -> None:
    """Run the trial; its seeds are seconds."""
    for seconds in seeds:
        row = rows.once({"seconds": seconds}, lambda seconds=seconds: _measured(seconds))  # type: ignore[misc]
        for key, value in row.items():
            tell(f"{key}: {value}")


def _measured(seconds: float) -> dict[str, Any]:
    drawn = SimulatedLine(settings_from(f"sim://parts?seed=5&parts={_DRAWN}&defects=0.03"))
    frames = [frame.image for frame in drawn]
    camera = MemoryCamera(frames, rate=RATE, seconds=seconds)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        return _ran(Path(folder), camera, stack, seconds)


def _ran(folder: Path, camera: MemoryCamera, stack: ExitStack, seconds: float) -> dict[str, Any]:
    station = Station.model_validate(
        {
            "station": "rate",
            "data": folder,
            "cameras": [{"name": "top", "source": "0"}],
            "recipes": {"default": {"degrees": "fused", "window": 64}},
            "outputs": [{"kind": "json_lines", "path": folder / "verdicts.jsonl"}],
            "storage": {"keep_free_gb": 0},
            "page": {"listen": "127.0.0.1:18321"},
        }
    )
    events, stop, run_ = Events(), threading.Event(), Run("memory")
    kept = stack.enter_context(Kept(station, events))
    opener = Opener(
        station, events=events, stop=stop, tell=print, state=kept.state, opened={"0": camera}
    )
    stack.callback(opener.close)
    latencies = Latencies()
    outputs = opened_outputs(station, run_, Extras(), stack, store=kept.store)
    hub = OutputHub({**outputs, "latencies": latencies}, events=events, patient=False)
    running = RunningStation(
        station, opener.lanes(), opener.first_lines(), hub, run=run_, events=events, stop=stop,
        store=kept.store, opened=opener.line, state=kept.state, tap=kept.metrics.take,
    )  # fmt: skip
    process = psutil.Process()
    memory: list[float] = []
    with running, kept.serving(StationControl(running)):
        waiter = threading.Thread(target=running.wait, daemon=True)
        waiter.start()
        time.sleep(min(20, seconds / 4))
        before, written, began = _threads(), process.io_counters().write_bytes, time.monotonic()
        seen = running.tally.frames
        memory.append(process.memory_info().rss / 2**20)
        while waiter.is_alive() and time.monotonic() - began < seconds - 30:
            waiter.join(timeout=10)
        memory.append(process.memory_info().rss / 2**20)
        after, took = _threads(), time.monotonic() - began
        parts = running.tally.frames - seen
        bytes_ = process.io_counters().write_bytes - written
        waiter.join(timeout=60)
    cost = {name: after[name] - before.get(name, 0.0) for name in after}
    beside = {n: s for n, s in cost.items() if not n.startswith(_INSPECTION)}
    marks = statistics.quantiles(latencies.seconds, n=100)
    waits = statistics.quantiles(latencies.waited, n=100)
    day = bytes_ / took * 86_400 / 1e9
    return {
        "parts": running.tally.frames,
        "rate": round(parts / took, 2),
        "capture to verdict ms p50": round(1e3 * marks[49], 1),
        "p95": round(1e3 * marks[94], 1),
        "p99": round(1e3 * marks[98], 1),
        "worst": round(1e3 * max(latencies.seconds), 1),
        "dropped": running.tally.dropped,
        "verdicts": dict(running.tally.verdicts),
        "wait for the commit ms p50": round(1e3 * waits[49], 1),
        "commit p99": round(1e3 * waits[98], 1),
        "unstored": latencies.unstored,
        "memory MiB at start and end": [round(one) for one in memory],
        "GB a day": round(day, 2),
        "CPU ms a part, all": round(1e3 * sum(cost.values()) / parts, 2),
        "CPU ms a part, beside the inspection": round(1e3 * sum(beside.values()) / parts, 3),
        "of them": {n: round(1e3 * s / parts, 3) for n, s in beside.items() if s > 0.01},
        "share of the frame's time": round(sum(beside.values()) / parts * RATE, 4),
        "messages missed": dict(hub.missed),
    }


def _threads() -> dict[str, float]:
    """Return the CPU seconds of all threads, by their names."""
    ticks = os.sysconf("SC_CLK_TCK")
    names = {thread.native_id: thread.name for thread in threading.enumerate()}
    found: dict[str, float] = {}
    for task in Path("/proc/self/task").iterdir():
        try:
            fields = (task / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        name = names.get(int(task.name), "ThreadPool (native)")
        found[name] = found.get(name, 0.0) + (int(fields[11]) + int(fields[12])) / ticks
    return found
