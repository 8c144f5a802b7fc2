"""Messages as a station makes them, without a network: frames, scores and verdicts are given."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from zeroline.edge_app.captured import Captured
from zeroline.edge_app.events import Event
from zeroline.edge_app.messages import Kind, Message
from zeroline.edge_app.parts import CameraView, JudgedPart, PartName, worst
from zeroline.runtime.frames import CaptureTime, Frame
from zeroline.runtime.results import FrameScores, Inspection, Reason, Revision, Verdict
from zeroline.runtime.stages.regions import Region

REASONS = {
    Verdict.OK: None,
    Verdict.NG: Reason.SCORE,
    Verdict.UNCERTAIN: Reason.WARMING_UP,
    Verdict.FAULT: Reason.NO_FRAME,
}
RUN = "20261201T021846Z-3f9c"


def view(
    number: int,
    part: str,
    *,
    camera: str = "top",
    verdict: Verdict = Verdict.OK,
    frame: Frame | None = None,
    wall: float | None = None,
    reason: Reason | None = None,
) -> CameraView:
    time_ = CaptureTime(time.time() if wall is None else wall, time.monotonic())
    scores = np.linspace(0.1, 0.4, 16, dtype=np.float32)
    regions = (Region(10, 20, 30, 40, 0.4),) if verdict is Verdict.NG else ()
    inspection = Inspection(
        number, part, verdict, reason or REASONS[verdict], time_.wall, time_.monotonic,
        scores=None if verdict is Verdict.FAULT else FrameScores(0.4, 0.4, 0.3, 0.3, scores),
        regions=regions,
        latency={"prepare": 0.001, "network": 0.008, "match": 0.003, "score": 0.0002},
        fault="no frame came" if verdict is Verdict.FAULT else "",
    )  # fmt: skip
    captured = Captured(frame, f"{number:06d}.png", part, time_)
    return CameraView(camera, "bracket-a", "5f" * 32, captured, inspection)


def message_of(
    number: int, part: str, *views: CameraView, late: bool = False, **about: Any
) -> Message:
    """A part's message; without views it is FAULT, since it is late."""
    verdict, reason = worst(views) if views else (Verdict.FAULT, Reason.LATE)
    time_ = views[0].captured.time if views else CaptureTime.now()
    name = PartName(part, given=True, lot=about.pop("lot", None), serial=about.pop("serial", None))
    judged = JudgedPart(name, verdict, reason, views, time_, time_.monotonic + 0.02, late)
    body = body_of(number, part=part, verdict=verdict.value, camera="top", late=late)
    return Message(number, Kind.PART, body, part=judged, **about)


def part_message(number: int, part: str | None = None, **about: Any) -> Message:
    """The message of a part that one camera saw; options as of `view`, and `late`."""
    part = f"top-20261201-{number:06d}" if part is None else part
    late = about.pop("late", False)
    more = {name: about.pop(name) for name in ("lot", "serial", "unstored") if name in about}
    return message_of(number, part, view(number, part, **about), late=late, **more)


def event_message(number: int, event: Event) -> Message:
    return Message(number, Kind.EVENT, body_of(number, event=event.name.value), event=event)


def revision_message(number: int, part: str) -> Message:
    revision = Revision(3, part, None, Verdict.NG, Reason.RECURRING, Verdict.OK, recurring=True)
    body = body_of(number, revision_of=3)
    return Message(number, Kind.REVISION, body, camera="top", revision=revision)


def body_of(number: int, **more: Any) -> Mapping[str, Any]:
    """As large as a real one."""
    return {"message": number, "run_id": RUN, "station": "press-4", **more, "filling": "x" * 700}
