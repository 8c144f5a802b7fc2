"""Cameras and other sources: opened, and frames read from them."""

from __future__ import annotations

import threading
import time
from contextlib import closing
from dataclasses import dataclass

from zeroline.edge_app.captured import Captured, FrameSource
from zeroline.edge_app.configuration.cameras import Camera
from zeroline.edge_app.doctor.findings import Finding, fail, ok, warning
from zeroline.edge_app.doctor.running import Running
from zeroline.edge_app.events import Events
from zeroline.edge_app.passwords import without_password
from zeroline.edge_app.sources.address import open_source
from zeroline.runtime.errors import ZerolineError, in_one_line
from zeroline.runtime.frames import Frame

#: Seconds for the first frame: some cameras send a whole picture every ten seconds alone.
FIRST = 12.0
#: Seconds for more frames of a live camera, from which its rate comes.
_MORE = 2.0
#: Frames that are enough for the rate.
_FRAMES = 50
#: Seconds that a camera may take in all.
LIMIT = 30.0


@dataclass
class Seen:
    """What a camera gave.

    Attributes
    ----------
    frame : array, shape (H, W, 3), uint8, or None
        BGR, the last one.
    rate : float or None
        Frames a second of a live camera.
    """

    frame: Frame | None = None
    rate: float | None = None


def camera_findings(camera: Camera, seen: Seen) -> list[Finding]:
    """Open a camera's source, and read frames; they are kept in `seen`."""
    name = f"camera {camera.name}"
    shown = without_password(camera.source)
    stop = threading.Event()
    began = time.monotonic()
    ends = threading.Timer(FIRST, stop.set)  # a watched folder waits for ever
    ends.daemon = True
    try:
        ends.start()
        source = open_source(camera.source, events=Events(), stop=stop, patience=1.0)
        with closing(source):
            captured = _first(source, began + FIRST)
            waited = time.monotonic() - began
            ends.cancel()
            if captured is None or captured.frame is None:
                return [_nothing(name, shown, source, captured)]
            seen.frame = captured.frame
            if source.live:
                seen.rate = _rate_of(source)
    except (ZerolineError, OSError) as error:
        return [fail(name, f"{shown}: {in_one_line(error)}", "see the text, and docs/camera.md")]
    finally:
        ends.cancel()
        stop.set()
    height, width = seen.frame.shape[:2]
    text = f"{shown}: {width}×{height}, the first frame after {waited:.1f} s"
    if not source.live:
        return [ok(name, text)]
    if seen.rate is None:
        return [warning(name, f"{text}, then none for {_MORE:g} s", "see its cable and network")]
    spaced = f"a frame each {1000 / seen.rate:.0f} ms"
    return [ok(name, f"{text}, {seen.rate:.1f} frames/s ({spaced})")]


def _first(source: FrameSource, end: float) -> Captured | None:
    """Return the first frame of a source, or what it gave last before a time."""
    captured = None
    for captured in source:
        if captured.frame is not None or time.monotonic() > end:
            break
    return captured


def _rate_of(source: FrameSource) -> float | None:
    """Return the frames a second of a live source, those that were not taken too."""
    times, dropped = [], 0
    end = time.monotonic() + _MORE
    for captured in source:
        if captured.frame is not None:
            times.append(captured.time.monotonic)
            dropped += captured.dropped if len(times) > 1 else 0
        if time.monotonic() > end or len(times) >= _FRAMES:
            break
    if len(times) < 2 or times[-1] <= times[0]:
        return None
    return (len(times) - 1 + dropped) / (times[-1] - times[0])


def _nothing(name: str, shown: str, source: FrameSource, captured: Captured | None) -> Finding:
    if captured is None and not source.live:
        text = f"{shown}: opened, no picture came within {FIRST:g} s"
        return warning(name, text, "see whether the camera writes there")
    why = captured.fault if captured is not None and captured.fault else "no frame"
    cure = "see power, cable, address and password; docs/camera.md"
    return fail(name, f"{shown}: {why}", cure)


def running_camera(camera: Camera, running: Running) -> Finding:
    """Return what the running station says of a camera: it is not opened a second time."""
    name = f"camera {camera.name}"
    state = running.state.get("cameras", {}).get(camera.name)
    if not isinstance(state, dict):
        return ok(name, "not opened: the station runs, and has it")
    if not state.get("frames"):
        cure = "see its events: zeroline state, and the log"
        return warning(name, "the station runs, and has had no frame of it", cure)
    return ok(name, f"the station runs, and has had {state['frames']} frames of it")
