"""A line's verdicts as text: JSON lines for programs, alarms for people."""

from __future__ import annotations

import json
from typing import IO, Any

import numpy as np

from zeroline.edge_app.captured import Captured
from zeroline.edge_app.opencv import opencv
from zeroline.runtime.frames import Frame
from zeroline.runtime.results import Inspection, RecurringDefect, Revision, Verdict
from zeroline.runtime.stages.maps import anomaly_map

_MAP_SIDE = 256


class JsonLines:
    """Writes a line for each frame, each revision and each alarm; each is there at once.

    Parameters
    ----------
    file : text file
    """

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def take(self, captured: Captured, made: Inspection) -> None:
        """Write the lines of a frame."""
        self._write(described(captured, made))
        for alarm in made.alarms:
            self._write(_alarmed(alarm))
        for revision in made.revisions:
            self._write(_revised(revision))

    def close(self) -> None:
        """Leave the file to its owner."""
        self._file.flush()

    def _write(self, content: dict[str, Any]) -> None:
        self._file.write(json.dumps(content, allow_nan=False) + "\n")
        self._file.flush()


def described(captured: Captured, made: Inspection) -> dict[str, Any]:
    """Return a frame's verdict as a JSON object."""
    return {
        "frame": made.frame_id,
        "source": captured.name,
        "part": made.part_id,
        "verdict": made.verdict.value,
        "score": made.score,
        "raw_score": made.raw_score,
        "threshold": made.threshold,
        "consistent": made.consistent,
        "near_duplicate": made.near_duplicate,
        "admitted": made.admitted,
        "compared_with": made.fill,
        "regions": regions(captured.frame, made),
        "fault": made.fault or None,
        "dropped": captured.dropped,
        "wall_time": made.wall_time,
        "monotonic_time": made.monotonic_time,
        "latency_ms": {name: round(1e3 * s, 3) for name, s in made.latency.items()},
    }


def _revised(revision: Revision) -> dict[str, Any]:
    return {
        "revision_of": revision.frame_id,
        "part": revision.part_id,
        "verdict": revision.verdict.value,
        "first_verdict": revision.first.value,
        "consistent": revision.consistent,
        "score": revision.score,
        "raw_score": revision.raw_score,
    }


def _alarmed(defect: RecurringDefect) -> dict[str, Any]:
    return {
        "alarm": "recurring defect",
        "defect": defect.number,
        "since": defect.since,
        "since_part": defect.since_part,
        "frames": list(defect.frames),
        "share": round(defect.share, 4),
    }


def regions(frame: Frame | None, made: Inspection) -> list[list[int]]:
    """Return boxes [x, y, width, height] in the frame's pixels, the worst first, where it is NG."""
    if frame is None or made.patch_scores is None or made.pixel_threshold is None:
        return []
    if made.verdict is not Verdict.NG:
        return []
    cv2 = opencv("to find regions")
    drawn = anomaly_map(made.patch_scores, size=_MAP_SIDE)
    over = (drawn > made.pixel_threshold).astype(np.uint8)
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(over, connectivity=8)
    height, width = frame.shape[:2]
    factors = np.array([width, height, width, height]) / _MAP_SIDE
    strength = [float(drawn[labels == label].max()) for label in range(1, count)]
    order = sorted(range(1, count), key=lambda label: -strength[label - 1])
    return [np.rint(boxes[label, :4] * factors).astype(int).tolist() for label in order]
