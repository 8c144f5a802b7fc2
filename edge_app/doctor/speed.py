"""Whether a frame of each recipe is judged fast enough for the line."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from zeroline.edge_app.configuration.models import Recipe, Station
from zeroline.edge_app.doctor.findings import Finding, fail, ok, warning
from zeroline.edge_app.errors import InputError
from zeroline.edge_app.events import Events
from zeroline.edge_app.memory import check_window
from zeroline.edge_app.sources.address import open_source
from zeroline.runtime.errors import ZerolineError, in_one_line
from zeroline.runtime.frames import Frame
from zeroline.runtime.framing.framing import Framing
from zeroline.runtime.line.inspector import RollingInspector
from zeroline.runtime.reference.files import read_reference
from zeroline.runtime.results import Reason, Verdict

#: Seconds for the measurement of one recipe, and of each setting that is tried in place of it.
BUDGET, _TRIAL = 20.0, 8.0
#: Frames with a full window from which the time is taken.
_FRAMES = 8
#: Share of the time that frames may take before it is told: other work needs the rest.
_BUSY = 0.8
#: Share of the cores' time that other programs may take before an estimate says nothing: one
#: of 1,923 ms was told where 75 were right.
_OTHERS = 0.2
#: Grey levels by which frames differ, where all are made of one.
_NOISE = 6


@dataclass(frozen=True)
class Timing:
    """What a frame takes.

    Attributes
    ----------
    seconds : float
    full : bool
        Whether the window was full; else the time grows on as it did.
    others : float
        Share of the cores' time that other programs took meanwhile.
    """

    seconds: float
    full: bool
    others: float = 0.0

    @property
    def disturbed(self) -> bool:
        """Whether it is an estimate from frames that other programs made slow."""
        return not self.full and self.others > _OTHERS

    def __str__(self) -> str:
        """Return it in words."""
        how = "" if self.full else ", estimated"
        how += ", while other programs ran" if self.disturbed else ""
        return f"{1000 * self.seconds:.0f} ms a frame{how}"


def measure(
    station: Station, recipe: Recipe, frame: Frame | None, *, budget: float = BUDGET
) -> Timing:
    """Measure a frame's way through a recipe, with a full window where the budget allows.

    Parameters
    ----------
    station : Station
    recipe : Recipe
    frame : array, shape (H, W, 3), uint8, or None
        BGR, of the camera; without it simulated ones are taken.
    budget : float
        Seconds.

    Raises
    ------
    ZerolineError
        If the recipe cannot be opened, its window does not fit, or frames are not judged.
    """
    options = station.options(recipe)
    with options.open_bundle() as bundle:
        size = (480, 480) if frame is None else frame.shape[:2]
        framing = _framing(recipe, size, bundle.manifest)
        chosen = options.rolling(bundle, framing)
        check_window(
            bundle, recipe.window, degrees=chosen["degrees"], tiles=framing.tiles,
            searches=options.codegraph,
        )  # fmt: skip
        laps: list[float] = []
        with RollingInspector(
            bundle, window=recipe.window, min_window=recipe.min_window, admit_copies=True,
            wait_for_search=False, **chosen,
        ) as inspector:  # fmt: skip
            end, before = time.monotonic() + budget, _worked()
            for picture in _pictures(frame, recipe.window + _FRAMES):
                inspection = inspector.push(picture)
                if inspection.verdict is Verdict.FAULT:
                    raise InputError(f"frames are FAULT: {inspection.fault}")
                if inspection.reason in (Reason.NO_PART_FOUND, Reason.PART_NOT_WHOLE):
                    raise InputError("the recipe finds no part in the camera's frame")
                laps.append(sum(inspection.latency.values()))
                if time.monotonic() > end and len(laps) > _FRAMES:
                    break
            others = _others(before, _worked())
    if len(laps) == recipe.window + _FRAMES:
        return Timing(float(np.median(laps[-_FRAMES:])), full=True, others=others)
    slope, base = np.polyfit(np.arange(2, len(laps)), laps[2:], 1)  # the first two compile
    return Timing(max(float(base + slope * recipe.window), laps[-1]), full=False, others=others)


def _worked() -> tuple[float, float, float]:
    """Return CPU seconds since the start: of all programs, of this one, and of all cores.

    Not the load average: it counts this program too, and what ran a minute ago.
    """
    mine = time.process_time()
    try:
        line = Path("/proc/stat").read_text(encoding="ascii").partition("\n")[0]
        ticks = [int(word) for word in line.split()[1:9]]  # beyond are guests, counted already
    except (OSError, ValueError):
        return mine, mine, 0.0
    second = os.sysconf("SC_CLK_TCK")
    idle = ticks[3] + ticks[4]
    return (sum(ticks) - idle) / second, mine, sum(ticks) / second


def _others(before: tuple[float, float, float], after: tuple[float, float, float]) -> float:
    """Return the share of the cores' time that went to others between two moments."""
    worked, mine, cores = (b - a for a, b in zip(before, after, strict=True))
    return max(worked - mine, 0.0) / cores if cores > 0 else 0.0


def _framing(recipe: Recipe, size: tuple[int, int], manifest: Any) -> Framing:
    """Return what the station looks at: by the options, or as a reference set was made."""
    framed = recipe.framed()
    kept = None if recipe.reference is None else read_reference(recipe.reference).framing
    if kept is not None and (framed.is_plain or framed.only_aligns(kept)):
        return kept
    return framed.opened(lambda: size, manifest)


def _pictures(frame: Frame | None, count: int) -> Iterator[Frame]:
    if frame is None:
        source = open_source(f"sim://parts?parts={count}", events=Events())
        yield from (one.frame for one in source if one.frame is not None)
        return
    rng = np.random.default_rng(0)
    for _ in range(count):
        drawn = frame + rng.integers(-_NOISE, _NOISE + 1, frame.shape, dtype=np.int16)
        yield drawn.clip(0, 255).astype(np.uint8)


@dataclass(frozen=True)
class Load:
    """What the line asks of a camera's recipe.

    Attributes
    ----------
    rate : float or None
        Frames a second that need a verdict; None where nobody knows.
    others : float
        Share of each second that the other cameras' frames take.
    """

    rate: float | None
    others: float = 0.0


def needed_rate(
    station: Station, number: int, seen: float | None, parts: float | None
) -> float | None:
    """Return how many frames a second of a camera need a verdict; None where nobody knows.

    Parameters
    ----------
    station : Station
    number : int
        Of the camera.
    seen : float or None
        Frames a second that the camera gave.
    parts : float or None
        Parts a second of the busiest minute that the store knows.
    """
    trigger = station.cameras[number].trigger
    if trigger.mode == "interval" and trigger.interval_s:
        return 1 / trigger.interval_s
    return seen if trigger.mode == "every-frame" and seen else parts or None


def speed_findings(
    name: str,
    station: Station,
    recipe: Recipe,
    frame: Frame | None,
    load: Load,
    *,
    budget: float = BUDGET,
) -> tuple[list[Finding], float]:
    """Measure a recipe, and hold it against what the line needs.

    Returns
    -------
    list of Finding
    float
        Share of each second that the camera's frames take.
    """
    name = f"speed {name}"
    try:
        timing = measure(station, recipe, frame, budget=budget)
    except (ZerolineError, OSError) as error:
        return [fail(name, in_one_line(error), "see the text")], 0.0
    trouble = _trouble(timing, station, load)
    text = str(timing) if load.rate is None else f"{timing}, the line has {load.rate:.1f} frames/s"
    share = 0.0 if load.rate is None else timing.seconds * load.rate
    if not trouble:
        more = ": the line's rate is unknown" if load.rate is None else f", {share:.0%} of the time"
        return [ok(name, text + more)], share
    if timing.disturbed:
        cure = "end the other programs, and look again: they slow the frames"
        return [warning(name, f"{text}: {trouble}", cure)], share
    enough = partial(_trouble, station=station, load=load)
    cure = _cure(station, recipe, frame, enough)
    state = fail if _trouble(timing, station, load, busy=1.0) else warning
    return [state(name, f"{text}: {trouble}", cure)], share


def _trouble(timing: Timing, station: Station, load: Load, *, busy: float = _BUSY) -> str:
    """Return why a time is not enough; empty where it is."""
    deadline = station.deadline_ms
    if deadline is not None and 1000 * timing.seconds > busy * deadline:
        return f"the deadline is {deadline:g} ms"
    if load.rate is not None and timing.seconds * load.rate + load.others > busy:
        share = timing.seconds * load.rate + load.others
        return f"all cameras together take {share:.0%} of the time"
    return ""


def _cure(station: Station, recipe: Recipe, frame: Frame | None, trouble: Any) -> str:
    """Measure other settings, and return the first that is enough."""
    tried = []
    for words, changed in _alternatives(recipe):
        try:
            timing = measure(station, changed, frame, budget=_TRIAL)
        except ZerolineError:
            continue
        tried.append(f"{words}: {timing}")
        if not trouble(timing):
            return f"{tried[-1]}, which is enough"
    return (
        f"not enough alone ({'; '.join(tried)}): a faster device, or both"
        if tried
        else ("a faster device")
    )


def _alternatives(recipe: Recipe) -> Iterator[tuple[str, Recipe]]:
    if recipe.degrees != "fused":
        yield "degrees: fused", recipe.model_copy(update={"degrees": "fused"})
    if recipe.window >= 2 * recipe.min_window:
        half = recipe.window // 2
        yield f"window: {half}", recipe.model_copy(update={"window": half})
    if recipe.tiles is not None and max(recipe.tiles) > 1:
        fewer = (max(recipe.tiles[0] - 1, 1), max(recipe.tiles[1] - 1, 1))
        words = f"tiles: {fewer[0]}x{fewer[1]} (smaller defects are missed)"
        yield words, recipe.model_copy(update={"tiles": fewer})
