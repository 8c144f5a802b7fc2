"""Parts under way: their views come together here, and their deadlines are kept.

A part has its verdict when all of its cameras have looked at it. At its deadline it is FAULT,
whatever is missing; what comes later is told as late.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from zeroline.edge_app.captured import Captured
from zeroline.edge_app.parts import CameraView, JudgedPart, PartName, worst
from zeroline.runtime.frames import CaptureTime
from zeroline.runtime.results import Inspection, Reason, Verdict

#: Seconds after its deadline for which a part's late verdict is waited for.
LAST = 60.0


@dataclass(eq=False)
class OpenPart:
    """A part without a verdict.

    Attributes
    ----------
    name : PartName
    cameras : tuple of str
        That look at it.
    time : CaptureTime
        When its trigger or its frame came.
    due : float or None
        Monotonic seconds of its deadline.
    asked : bool
        Whether a trigger has asked for it: somebody waits for its verdict.
    recipe : str or None
        That the trigger has asked for; None: the one that runs.
    framed : set of str
        Cameras that have given their frame.
    views : dict
        By camera.
    overdue : bool
        Whether its deadline has passed without a verdict: it was told as FAULT.
    """

    name: PartName
    cameras: tuple[str, ...]
    time: CaptureTime
    due: float | None
    asked: bool = False
    recipe: str | None = None
    framed: set[str] = field(default_factory=set)
    views: dict[str, CameraView] = field(default_factory=dict)
    overdue: bool = False

    @property
    def expired(self) -> bool:
        """Whether its deadline has passed."""
        return self.due is not None and time.monotonic() >= self.due


class Desk:
    """Keeps the parts under way; may be used from any thread.

    Parameters
    ----------
    judged : callable
        Takes each part with its verdict.
    deadline : float or None
        Seconds from a part's time to its deadline.
    """

    def __init__(
        self, judged: Callable[[JudgedPart], None], *, deadline: float | None = None
    ) -> None:
        self._judged, self._deadline = judged, deadline
        self._open: dict[int, OpenPart] = {}
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._watch, name="zeroline-deadlines", daemon=True)
        if deadline is not None:
            self._thread.start()

    def __len__(self) -> int:
        """Return how many parts are without a verdict."""
        with self._changed:
            return sum(not part.overdue for part in self._open.values())

    def open(
        self,
        name: PartName,
        cameras: Sequence[str],
        time: CaptureTime,
        *,
        asked: bool = False,
        recipe: str | None = None,
    ) -> OpenPart:
        """Begin a part."""
        due = None if self._deadline is None else time.monotonic + self._deadline
        part = OpenPart(name, tuple(cameras), time, due, asked, recipe)
        with self._changed:
            self._open[id(part)] = part
            self._changed.notify()
        return part

    def framed(self, part: OpenPart, camera: str) -> None:
        """Take note that a camera has given its frame of a part."""
        with self._changed:
            part.framed.add(camera)

    def view(self, part: OpenPart, view: CameraView) -> None:
        """Take what a camera saw; the last one makes the verdict."""
        with self._changed:
            part.views[view.camera] = view
            if set(part.cameras) - set(part.views):
                return
            self._open.pop(id(part), None)
            late = part.overdue
        self._judged(_judged(part, late=late))

    def fail(self, reason: Reason, text: str, *, everyone: bool = False) -> None:
        """Give a FAULT to parts that a trigger has asked for, or to all; leave the others."""
        with self._changed:
            waiting = [part for part in self._open.values() if not part.overdue]
            parts = [part for part in waiting if part.asked or everyone]
            self._open.clear()
        for part in parts:
            self._judged(_judged(part, reason=reason, text=text))

    def close(self) -> None:
        """End the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join(timeout=1)

    def _watch(self) -> None:
        while True:
            with self._changed:
                if self._closed:
                    return
                waiting = [p for p in self._open.values() if not p.overdue and p.due is not None]
                now = time.monotonic()
                self._drop_old(now)
                due = [part for part in waiting if (part.due or 0) <= now]
                for part in due:
                    part.overdue = True
                if not due:
                    nearest = min((part.due or 0 for part in waiting), default=now + 60)
                    self._changed.wait(timeout=max(nearest - now, 0.001))
                    continue
                told = [_judged(part, reason=None, text="") for part in due]
            for one in told:
                self._judged(one)

    def _drop_old(self, now: float) -> None:
        """Leave parts whose late verdict will not come."""
        old = [key for key, p in self._open.items() if p.overdue and now - (p.due or now) > LAST]
        for key in old:
            del self._open[key]


def _judged(
    part: OpenPart, *, late: bool = False, reason: Reason | None = None, text: str = ""
) -> JudgedPart:
    """Return a part with its verdict; views that are missing are FAULT."""
    views = dict(part.views)
    for camera in part.cameras:
        if camera not in views:
            views[camera] = _missing(part, camera, reason, text)
    ordered = tuple(views[camera] for camera in part.cameras)
    verdict, why = worst(ordered)
    return JudgedPart(part.name, verdict, why, ordered, part.time, time.monotonic(), late)


def _missing(part: OpenPart, camera: str, reason: Reason | None, text: str) -> CameraView:
    """Return the view of a camera that has given none."""
    if reason is None:
        there = camera in part.framed
        reason = Reason.LATE if there else Reason.NO_FRAME
        what = "no verdict" if there else "no frame"
        text = f"{what} of camera {camera} by the deadline"
    inspection = Inspection(
        -1, part.name.id, Verdict.FAULT, reason, part.time.wall, part.time.monotonic, fault=text
    )
    captured = Captured(None, "", part.name.id, part.time, fault=text, reason=reason)
    return CameraView(camera, "", "", captured, inspection)
