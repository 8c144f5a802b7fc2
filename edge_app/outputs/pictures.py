"""A line's verdicts as pictures: overlays, a video, a window, and sheets of recurring defects."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any

import numpy as np

from zeroline.edge_app.captured import Captured
from zeroline.edge_app.draw.overlay import HeatScale, draw_overlay
from zeroline.edge_app.draw.sheet import sheet, small_copy
from zeroline.edge_app.errors import OutputError
from zeroline.edge_app.opencv import opencv
from zeroline.edge_app.writing import prepare_folder, write_png
from zeroline.runtime.frames import Frame
from zeroline.runtime.results import Inspection, Verdict

_HISTORY = 256


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
            consistent=made.consistent,
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


class DefectSheets:
    """Writes a picture of each recurring defect: frames that have it, its patches outlined.

    Parameters
    ----------
    folder : Path
    kept : int
        Frames that a defect may be found in afterwards: those of the window.
    """

    def __init__(self, folder: Path, *, kept: int) -> None:
        self._cv2 = opencv("to draw recurring defects")
        self._folder, self._kept = folder, kept
        prepare_folder(folder)
        self._seen: dict[int, bytes] = {}

    def take(self, captured: Captured, made: Inspection) -> None:
        """Keep a frame, and draw the defects that were found with it."""
        if captured.frame is not None:
            small = small_copy(self._cv2, captured.frame)
            self._seen[made.frame_id] = self._cv2.imencode(".jpg", small)[1].tobytes()
        for old in [number for number in self._seen if number <= made.frame_id - self._kept]:
            del self._seen[old]
        for defect in made.alarms:
            shown = [
                (f"frame {number}", self._decoded(number), marks)
                for number, marks in zip(defect.frames, defect.marks, strict=True)
                if number in self._seen
            ]
            if shown:
                name = f"recurring-{defect.number}-since-{defect.since:08d}.png"
                write_png(self._folder / name, sheet(self._cv2, shown, title=str(defect)))

    def close(self) -> None:
        """Nothing is left to do."""

    def _decoded(self, number: int) -> Frame:
        packed = np.frombuffer(self._seen[number], np.uint8)
        frame: Frame = self._cv2.imdecode(packed, self._cv2.IMREAD_COLOR)
        return frame
