"""1,000 switches of recipes while frames come: no part without a verdict, nothing leaks."""

from __future__ import annotations

import gc
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from trials.resumed import Rows
from zeroline.edge_app.configuration.models import Station
from zeroline.edge_app.events import Events
from zeroline.edge_app.messages import Kind, Message
from zeroline.edge_app.outputs.hub import OutputHub
from zeroline.edge_app.runs import Run
from zeroline.edge_app.station.controls import StationControl
from zeroline.edge_app.station.opener import Opener
from zeroline.edge_app.station.running import RunningStation
from zeroline.edge_app.station.state import StateFolder

SEEDS = (1, 0)  # GB for windows that wait
SWITCHES = 1000
_RECIPES = ("a", "b", "c")


class Parts:
    """An output that counts parts by their recipes."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.recipes: list[str] = []

    def take(self, message: Message, /) -> None:
        """Count a part."""
        if message.kind is Kind.PART:
            self.names.append(str(message.body["part"]))
            self.recipes.append(str(message.body["recipe"]))

    def safe(self, why: str, /) -> None:
        """Nothing stands behind it."""

    def close(self) -> None:
        """Nothing is left to do."""


def run(tell: Callable[[str], None], *, seeds: tuple[int, ...], rows: Rows) -> None:
    """Run the trial; its seeds are GB."""
    for memory in seeds:
        row = rows.once({"memory_gb": memory}, lambda memory=memory: _measured(memory))  # type: ignore[misc]
        tell(", ".join(f"{key} {value}" for key, value in row.items() if key != "commit"))


def _measured(memory: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        return _switched(Path(folder), memory)


def _switched(folder: Path, memory: float) -> dict[str, Any]:
    small = {"window": 16, "min_window": 8, "degrees": "fused", "codegraph": False}
    station = Station.model_validate(
        {
            "data": folder,
            "cameras": [
                {"source": "sim://parts?parts=1000000&size=128", "trigger": {"mode": "software"}}
            ],
            "recipes": {"default": small, **{name: {} for name in _RECIPES}},
            "memory_gb": memory,
        }
    )
    events, stop, parts = Events(), threading.Event(), Parts()
    state = StateFolder(folder / "state", tell=lambda _: None)
    opener = Opener(station, events=events, stop=stop, state=state, tell=lambda _: None)
    hub = OutputHub({"parts": parts}, events=events, patient=False)
    running = RunningStation(
        station, opener.lanes(), opener.first_lines(), hub, run=Run("sim"), events=events,
        stop=stop, opened=opener.line, state=state,
    )  # fmt: skip
    control, process = StationControl(running), psutil.Process()
    marks: dict[int, tuple[float, int, int]] = {}
    began = time.monotonic()
    with running:
        for number in range(SWITCHES):
            name = _RECIPES[number % len(_RECIPES)]
            control.trigger("main", part=f"p{number}", recipe=name)
            end = time.monotonic() + 60
            while len(parts.names) <= number and time.monotonic() < end:
                time.sleep(0.001)
            if number in (SWITCHES // 10, SWITCHES - 1):
                gc.collect()
                files = len(list(Path("/proc/self/fd").iterdir()))
                marks[number] = process.memory_info().rss / 2**20, threading.active_count(), files
    opener.close()
    right = sum(r == _RECIPES[n % len(_RECIPES)] for n, r in enumerate(parts.recipes))
    first, last = marks.values()
    return {
        "switches": SWITCHES,
        "verdicts": len(set(parts.names)),
        "of the right recipe": right,
        "MiB, threads, files after a tenth": [round(one) for one in first],
        "at the end": [round(one) for one in last],
        "seconds": round(time.monotonic() - began, 1),
    }
