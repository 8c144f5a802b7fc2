"""A line's verdicts as JSON lines, for programs."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import IO, Any

from zeroline.edge_app.captured import Captured
from zeroline.edge_app.errors import OutputError, ReaderGoneError
from zeroline.edge_app.events import Event, EventName, described_defect
from zeroline.edge_app.outputs.pictures import Pictures
from zeroline.edge_app.runs import Run, iso_time
from zeroline.runtime.results import Inspection, Revision


class JsonLines:
    """Writes a line for each frame, revision, alarm and event; each is there at once.

    docs/outputs.md has every field.

    Parameters
    ----------
    file : text file
        Left open at the end.
    run : Run
        What all lines belong to.
    pictures : Pictures, optional
        Names the pictures of a frame.
    """

    def __init__(self, file: IO[str], run: Run, *, pictures: Pictures | None = None) -> None:
        self._file, self._run, self._pictures = file, run, pictures
        self._lock = threading.Lock()

    def take(self, captured: Captured, inspection: Inspection, /) -> None:
        """Write the lines of a frame."""
        names = self._pictures and self._pictures.names(captured, inspection)
        self._write(
            {
                **described(captured, inspection),
                "time": iso_time(inspection.wall_time),
                "address": self._run.address,
                "overlay": names and names.overlay,
                "kept": names and names.kept,
            }
        )
        for alarm in inspection.alarms:
            self._write({"alarm": "recurring defect", **described_defect(alarm)})
        for revision in inspection.revisions:
            self._write(_revision(revision))

    def event(self, event: Event) -> None:
        """Write an event that has no line of its own kind."""
        if event.name is not EventName.RECURRING_BEGIN:
            wall = event.time.wall
            self._write(
                {
                    "event": event.name.value,
                    "wall_time": wall,
                    "time": iso_time(wall),
                    **event.data,
                }
            )

    def close(self) -> None:
        """Leave the file to its owner."""
        self._put("")

    def _write(self, content: dict[str, Any]) -> None:
        (kind, value), *others = content.items()
        line = {kind: value, "run_id": self._run.id, **dict(others)}
        self._put(json.dumps(line, allow_nan=False) + "\n")

    def _put(self, text: str) -> None:
        try:
            with self._lock:
                self._file.write(text)
                self._file.flush()
        except BrokenPipeError as error:
            raise ReaderGoneError from error


def open_to_append(path: Path) -> IO[str]:
    """Open a file of lines to append to; a last line that is half gets its end.

    A full disk or a kill leaves half a line. The next run's first line would be glued to it, and
    both would be lost to a reader.

    Raises
    ------
    OutputError
        If it cannot be opened.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        half = False
        if path.is_file() and path.stat().st_size:
            with path.open("rb") as before:
                before.seek(-1, os.SEEK_END)
                half = before.read() != b"\n"
        file = path.open("a", encoding="utf-8")
    except OSError as error:
        raise OutputError(f'"{path}" cannot be written: {error.strerror or error}') from error
    if half:
        file.write("\n")
    return file


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
        "pose": described_pose(inspection),
        "fault": inspection.fault or None,
        "dropped": captured.dropped,
        "wall_time": inspection.wall_time,
        "monotonic_time": inspection.monotonic_time,
        "latency_ms": {name: round(1e3 * s, 3) for name, s in inspection.latency.items()},
    }


def described_pose(inspection: Inspection) -> dict[str, float] | None:
    """Return where the part lies as a JSON object; None where it was not looked for."""
    pose, view = inspection.pose, inspection.view
    if pose is None or view is None:
        return None
    ((x, y),) = view.to_picture([(0.5, 0.5)]).tolist()
    return {
        "x": round(x, 2),
        "y": round(y, 2),
        "turn": round(pose.turn, 3),
        "quality": round(pose.quality, 3),
        "in_view": round(pose.in_view, 3),
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
