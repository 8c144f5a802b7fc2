"""Messages as a station makes them: real parts with their bodies."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from zeroline.edge_app.bodies import alarm_body, event_body, part_body, revision_body
from zeroline.edge_app.captured import Captured
from zeroline.edge_app.events import Event, EventName
from zeroline.edge_app.messages import Kind, Message
from zeroline.edge_app.parts import CameraView, JudgedPart, PartName
from zeroline.edge_app.runs import Run
from zeroline.runtime import Inspection, RecurringDefect, Revision, Verdict
from zeroline.runtime.frames import CaptureTime
from zeroline.runtime.results import FrameScores, Reason

RUN = Run("sim://parts", "20260101T000000Z-abcd")
REASONS = {
    Verdict.NG: Reason.SCORE,
    Verdict.UNCERTAIN: Reason.NEAR_THRESHOLD,
    Verdict.FAULT: Reason.NO_FRAME,
}


def view_of(
    number: int = 0,
    verdict: Verdict = Verdict.OK,
    *,
    camera: str = "camera",
    frame: Any = None,
    scored: bool = True,
    **more: Any,
) -> CameraView:
    """What a camera saw: 36 patches, the score 0.4, the threshold 0.5."""
    time_ = CaptureTime.now()
    patches = np.linspace(0, 0.4, 36, dtype=np.float32)
    scores = FrameScores(0.4, 0.4, 0.5, 0.45, patches) if scored else None
    inspection = Inspection(
        number, f"part-{number}", verdict, REASONS.get(verdict), time_.wall, time_.monotonic,
        scores=scores, latency={"network": 0.01}, **more,
    )  # fmt: skip
    return CameraView(camera, "default", "0" * 64, Captured(frame, f"{number}.png"), inspection)


def part_of(*views: CameraView, name: str = "part-0", **more: Any) -> JudgedPart:
    """A part with the worst verdict of its views."""
    from zeroline.edge_app.parts import worst

    verdict, reason = worst(views)
    now = CaptureTime.now()
    values = {"verdict": verdict, "reason": reason} | more
    return JudgedPart(PartName(name), views=views, time=now, decided=now.monotonic, **values)


def part_message(
    number: int, verdict: Verdict = Verdict.OK, *, unstored: bool = False, **more: Any
) -> Message:
    """The message of a part that one camera saw."""
    part = part_of(view_of(number, verdict, **more), name=f"part-{number}")
    body = part_body(part, number=number, run=RUN, station="press-4")
    return Message(number, Kind.PART, body, part=part, unstored=unstored)


def revision_message(number: int, revision: Revision) -> Message:
    """The message of a revision."""
    body = revision_body(revision, number=number, run=RUN, station="press-4", camera="camera")
    return Message(number, Kind.REVISION, body, camera="camera", revision=revision)


def alarm_message(number: int, defect: RecurringDefect, *, camera: str = "camera") -> Message:
    """The message of an alarm."""
    body = alarm_body(defect, number=number, run=RUN, station="press-4", camera=camera)
    return Message(number, Kind.ALARM, body, camera=camera, alarm=defect)


def event_message(number: int, event: Event | None = None) -> Message:
    """The message of an event."""
    event = event or Event(EventName.CAMERA_LOST, "lost", {"source": "rtsp://camera"})
    body = event_body(event, number=number, run=RUN, station="press-4")
    return Message(number, Kind.EVENT, body, event=event)


def until(true: Any, *, seconds: float = 10.0) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.005)
