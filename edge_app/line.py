"""The line: frames in, verdicts out as JSON lines, pictures of why, until it is told to stop."""

from __future__ import annotations

import json
import signal
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np

from zeroline.edge_app.errors import OutputError
from zeroline.edge_app.opencv import opencv
from zeroline.edge_app.output import prepare_folder, write_png
from zeroline.edge_app.overlay import HeatScale, draw_overlay
from zeroline.edge_app.sources import Captured, FrameSource
from zeroline.runtime.frames import Frame
from zeroline.runtime.grid import anomaly_map
from zeroline.runtime.inspection import Inspection, RecurringDefect, Revision, Verdict
from zeroline.runtime.rolling import RollingInspector

_MAP_SIDE = 256
_HISTORY = 256


@dataclass
class Tally:
    """What has passed.

    Attributes
    ----------
    verdicts : Counter
        Frames by verdict.
    dropped : int
        Frames of a live source that were not taken.
    """

    verdicts: Counter[str] = field(default_factory=Counter)
    dropped: int = 0

    @property
    def frames(self) -> int:
        """All frames that were looked at."""
        return sum(self.verdicts.values())

    def __str__(self) -> str:
        """Return one line."""
        parts = ", ".join(f"{self.verdicts[v.value]} {v.value}" for v in Verdict)
        return f"{self.frames} frames: {parts}; {self.dropped} dropped"


class Sink(Protocol):
    """Takes each inspected frame."""

    def take(self, captured: Captured, made: Inspection) -> None:
        """Take a frame; called in order, by one thread."""

    def close(self) -> None:
        """Finish."""


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


class Alarms:
    """Tells of recurring defects.

    Parameters
    ----------
    tell : callable
        Takes a line of text.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell

    def take(self, _: Captured, made: Inspection) -> None:
        """Tell of those found with a frame."""
        for alarm in made.alarms:
            self._tell(f"ALARM: {alarm}")

    def close(self) -> None:
        """Nothing is left to do."""


class Overlays:
    """Draws what was seen: PNG files, a video, a window.

    Parameters
    ----------
    folder : Path or None
        Of PNG files, one for each frame that is not OK, or for each frame.
    video : Path or None
    window : bool
        Show a window; needs an OpenCV that can.
    every : bool
        PNG files of good frames too.
    """

    def __init__(
        self, *, folder: Path | None, video: Path | None, window: bool, every: bool
    ) -> None:
        self._cv2 = opencv("to draw overlays")
        self._folder, self._video, self._window, self._every = folder, video, window, every
        if folder is not None:
            prepare_folder(folder)
        if video is not None:
            prepare_folder(video.parent)
        self._writer: Any = None
        self._size: tuple[int, int] | None = None
        self._seen: deque[float] = deque(maxlen=_HISTORY)

    def take(self, captured: Captured, made: Inspection) -> None:
        """Draw a frame that has a verdict."""
        if captured.frame is None or made.patch_scores is None or made.raw_score is None:
            return
        self._seen.append(made.raw_score)
        to_file = self._folder is not None and (self._every or made.verdict is not Verdict.OK)
        if not (to_file or self._video is not None or self._window):
            return
        picture = self._drawn(captured.frame, made)
        if to_file and self._folder is not None:
            name = captured.name.replace("/", "__").rsplit(".", 1)[0]
            write_png(self._folder / f"{made.frame_id:08d}-{name}.png", picture)
        if self._video is not None:
            self._film(self._video, picture)
        if self._window:
            self._show(picture)

    def close(self) -> None:
        """Finish the video and close the window."""
        if self._writer is not None:
            self._writer.release()
        if self._window:
            self._cv2.destroyAllWindows()

    def _drawn(self, frame: Frame, made: Inspection) -> Frame:
        threshold = made.threshold if made.threshold is not None else 2.0
        contour = made.pixel_threshold if made.pixel_threshold is not None else 2.0
        scale = HeatScale.of(np.array(self._seen), false_alarm_rate=0.01)
        return draw_overlay(
            frame,
            made.patch_scores if made.patch_scores is not None else np.zeros(1, np.float32),
            scale=scale,
            contour_at=contour,
            verdict=made.verdict.value,
            score=made.score or 0.0,
            threshold=threshold,
        )

    def _film(self, path: Path, picture: Frame) -> None:
        if self._writer is None:
            self._size = (picture.shape[1], picture.shape[0])
            kinds = {".avi": "MJPG", ".mkv": "MJPG", ".mp4": "mp4v"}
            if path.suffix.lower() not in kinds:
                raise OutputError(f'video "{path}": {", ".join(kinds)} is expected')
            code = self._cv2.VideoWriter.fourcc(*kinds[path.suffix.lower()])
            self._writer = self._cv2.VideoWriter(str(path), code, 10.0, self._size)
            if not self._writer.isOpened():
                raise OutputError(f'video "{path}" could not be written')
        if (picture.shape[1], picture.shape[0]) != self._size:
            picture = self._cv2.resize(picture, self._size)
        self._writer.write(picture)

    def _show(self, picture: Frame) -> None:
        try:
            self._cv2.imshow("zeroline", picture)
            self._cv2.waitKey(1)
        except self._cv2.error as error:
            raise OutputError(
                "this OpenCV cannot show windows: --video or --overlays does without"
            ) from error


def run_line(
    source: FrameSource,
    inspector: RollingInspector,
    sinks: Sequence[Sink],
    *,
    stop: threading.Event,
    most: int | None = None,
) -> Tally:
    """Inspect frames until the source ends, `stop` is set, or `most` frames have passed.

    Parameters
    ----------
    source : FrameSource
    inspector : RollingInspector
    sinks : sequence of Sink
        Take each frame in turn.
    stop : Event
        Ends the line after the frame under way.
    most : int, optional

    Returns
    -------
    Tally
    """
    tally = Tally()
    try:
        for captured in source:
            if captured.frame is None:
                made = inspector.fault(captured.fault)
            else:
                made = inspector.push(captured.frame)
            tally.verdicts[made.verdict.value] += 1
            tally.dropped += captured.dropped
            for sink in sinks:
                sink.take(captured, made)
            if stop.is_set() or (most is not None and tally.frames >= most):
                break
    finally:
        source.close()
        for sink in sinks:
            sink.close()
    return tally


@contextmanager
def stopped_by_signals() -> Iterator[threading.Event]:
    """Set an event on Ctrl-C and SIGTERM; a second one breaks off."""
    stop = threading.Event()

    def end(*_: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    kinds = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(kind, end) for kind in kinds]
    try:
        yield stop
    finally:
        for kind, handler in zip(kinds, before, strict=True):
            signal.signal(kind, handler)


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
