"""A line's verdicts as JSON lines, for programs."""

from __future__ import annotations

import json
import threading
from typing import IO, Any

from zeroline.edge_app.captured import Captured
from zeroline.edge_app.errors import ReaderGoneError
from zeroline.edge_app.events import Event, EventName, described_defect
from zeroline.runtime.results import Inspection, Revision


class JsonLines:
    """Writes a line for each frame, revision, alarm and event; each is there at once.

    docs/outputs.md has every field.

    Parameters
    ----------
    file : text file
        Left open at the end.
    """

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._lock = threading.Lock()

    def take(self, captured: Captured, inspection: Inspection, /) -> None:
        """Write the lines of a frame."""
        self._write(_line(described(captured, inspection)))
        for alarm in inspection.alarms:
            self._write(_line({"alarm": "recurring defect", **described_defect(alarm)}))
        for revision in inspection.revisions:
            self._write(_line(_revision(revision)))

    def event(self, event: Event) -> None:
        """Write an event that has no line of its own kind."""
        if event.name is not EventName.RECURRING_BEGIN:
            wall = event.time.wall
            self._write(_line({"event": event.name.value, "wall_time": wall, **event.data}))

    def close(self) -> None:
        """Leave the file to its owner."""
        self._write("")

    def _write(self, text: str) -> None:
        try:
            with self._lock:
                self._file.write(text)
                self._file.flush()
        except BrokenPipeError as error:
            raise ReaderGoneError from error


def _line(content: dict[str, Any]) -> str:
    return json.dumps(content, allow_nan=False) + "\n"


def described(captured: Captured, inspection: Inspection) -> dict[str, Any]:
    """Return a frame's verdict as a JSON object."""
    scores = inspection.scores
    return {
        "frame": inspection.frame_id,
        "source": captured.name,
        "part": inspection.part_id,
        "verdict": inspection.verdict.value,
        "reason": inspection.reason and inspection.reason.value,
        "score": scores and scores.score,
        "raw_score": scores and scores.raw_score,
        "threshold": scores and scores.threshold,
        "recurring": inspection.recurring,
        "near_duplicate": inspection.near_duplicate,
        "admitted": inspection.admitted,
        "compared_with": inspection.compared_with,
        "regions": [[r.x, r.y, r.width, r.height] for r in inspection.regions],
        "fault": inspection.fault or None,
        "dropped": captured.dropped,
        "wall_time": inspection.wall_time,
        "monotonic_time": inspection.monotonic_time,
        "latency_ms": {name: round(1e3 * s, 3) for name, s in inspection.latency.items()},
    }


def _revision(revision: Revision) -> dict[str, Any]:
    scores = revision.scores
    return {
        "revision_of": revision.frame_id,
        "part": revision.part_id,
        "verdict": revision.verdict.value,
        "reason": revision.reason and revision.reason.value,
        "first_verdict": revision.first.value,
        "recurring": revision.recurring,
        "score": scores and scores.score,
        "raw_score": scores and scores.raw_score,
        "threshold": scores and scores.threshold,
    }
