"""A line's verdicts as pictures: overlays, a video, a window, and sheets of recurring defects."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from zeroline.edge_app.draw.overlay import HeatScale, draw_overlay, is_drawn
from zeroline.edge_app.draw.sheet import sheet, small_copy
from zeroline.edge_app.errors import OutputError
from zeroline.edge_app.images import flat_names
from zeroline.edge_app.messages import Message
from zeroline.edge_app.opencv import opencv
from zeroline.edge_app.parts import CameraView
from zeroline.edge_app.writing import prepare_folder, write_png
from zeroline.runtime.frames import Frame
from zeroline.runtime.framing.view import View
from zeroline.runtime.results import FrameScores, Inspection, RecurringDefect

TITLE = "zeroline"
#: How each kind of video file is written.
CODECS = {".avi": "MJPG", ".mkv": "MJPG", ".mp4": "mp4v"}
_HISTORY = 256


@dataclass(frozen=True)
class PictureNames:
    """Names of the pictures of a frame, in the folder of overlays; None where there is none.

    Attributes
    ----------
    overlay : str or None
    kept : str or None
        The frame as it came.
    """

    overlay: str | None
    kept: str | None


class Pictures:
    """Draws what was seen: PNG files, a video, a window. Keeps frames as they came.

    Parameters
    ----------
    run_id : str
        Begins the name of each file.
    folder : Path or None
        Of PNG files.
    draw : {"ng", "all", "none"}
        Frames that get an overlay as PNG file: those that are not OK, all, none.
    keep : {"ng", "all", "none"}
        Frames that are kept as they came, as PNG file beside their overlay.
    video : Path or None
        All pictures, one after the other.
    window : bool
        Show a window.

    Raises
    ------
    OutputError
        If the folder or the video cannot be written, or this OpenCV has no windows.
    """

    def __init__(
        self,
        run_id: str,
        *,
        folder: Path | None,
        draw: str,
        keep: str,
        video: Path | None,
        window: bool,
    ) -> None:
        self._cv2 = opencv("to draw overlays")
        self._run_id, self._folder = run_id, folder
        self._draw, self._keep, self._video, self._window = draw, keep, video, window
        if self._folder is not None:
            prepare_folder(self._folder)
        if video is not None:
            if video.suffix.lower() not in CODECS:
                raise OutputError(f'video "{video}": {", ".join(CODECS)} is expected')
            prepare_folder(video.parent)
        if window:
            self._open_window()
            self._cv2.destroyAllWindows()  # `take` opens it in the thread that shows pictures
        self._writer: Any = None
        self._size: tuple[int, int] | None = None
        self._seen: dict[str, deque[float]] = {}

    def take(self, message: Message, /) -> None:
        """Draw what each camera saw of a part, where it has a score.

        Raises
        ------
        OutputError
            If a picture could not be written, or its frame waited too long.
        """
        for view in message.part.views if message.part is not None else ():
            if view.inspection.scores is not None:
                self._take(view, view.inspection.scores)

    def safe(self, why: str, /) -> None:
        """Nothing is to be done."""

    def _take(self, view: CameraView, scores: FrameScores) -> None:
        frame, names = view.captured.frame, self.names(view)
        history = self._seen.setdefault(view.camera, deque(maxlen=_HISTORY))
        history.append(scores.raw_score)
        if not (names.kept or names.overlay or self._video is not None or self._window):
            return
        if frame is None:
            raise OutputError("drawing is too slow, the frame was let go")
        if self._folder is not None and names.kept:
            write_png(self._folder / names.kept, frame)
        if not (names.overlay or self._video is not None or self._window):
            return
        picture = self._drawn(frame, view.inspection, scores, np.array(history))
        if self._folder is not None and names.overlay:
            write_png(self._folder / names.overlay, picture)
        if self._video is not None:
            self._film(self._video, picture)
        if self._window:
            self._cv2.namedWindow(TITLE, self._cv2.WINDOW_NORMAL)  # that there is stays as it is
            self._cv2.imshow(TITLE, picture)
            self._cv2.waitKey(1)

    def names(self, view: CameraView, /) -> PictureNames:
        """Return how the pictures of a frame are called, those that it gets; from any thread."""
        inspection = view.inspection
        if self._folder is None or inspection.scores is None:
            return PictureNames(None, None)
        source = view.captured.name.replace("/", "__").rsplit(".", 1)[0]
        name = f"{self._run_id}-{view.camera}-{inspection.frame_id:08d}-{source}"
        (stem,) = flat_names([name], suffix="")
        drawn, kept = (is_drawn(which, inspection.verdict) for which in (self._draw, self._keep))
        return PictureNames(f"{stem}.png" if drawn else None, f"{stem}.raw.png" if kept else None)

    def close(self) -> None:
        """Finish the video and close the window."""
        if self._writer is not None:
            self._writer.release()
        if self._window:
            self._cv2.destroyAllWindows()

    def _open_window(self) -> None:
        try:
            self._cv2.namedWindow(TITLE, self._cv2.WINDOW_NORMAL)
        except self._cv2.error as error:
            raise OutputError(
                "this OpenCV cannot show windows: --video or --overlays does without"
            ) from error

    def _drawn(
        self,
        frame: Frame,
        inspection: Inspection,
        scores: FrameScores,
        history: npt.NDArray[np.float64],
    ) -> Frame:
        return draw_overlay(
            frame,
            scores.patch_scores,
            scale=HeatScale.of(history, false_alarm_rate=0.01),
            contour_at=scores.pixel_threshold,
            verdict=inspection.verdict.value,
            score=scores.score,
            threshold=scores.threshold,
            recurring=inspection.recurring,
            view=inspection.view,
        )

    def _film(self, path: Path, picture: Frame) -> None:
        if self._writer is None:
            self._size = (picture.shape[1], picture.shape[0])
            code = self._cv2.VideoWriter.fourcc(*CODECS[path.suffix.lower()])
            self._writer = self._cv2.VideoWriter(str(path), code, 10.0, self._size)
        if not self._writer.isOpened():
            raise OutputError(f'video "{path}" could not be written')
        if (picture.shape[1], picture.shape[0]) != self._size:
            picture = self._cv2.resize(picture, self._size)
        self._writer.write(picture)


class DefectSheets:
    """Writes a picture of each recurring defect: frames that have it, its patches outlined.

    Parameters
    ----------
    run_id : str
        Begins the name of each file.
    folder : Path
    kept : int
        Frames that a defect may be found in afterwards: those of the window.
    """

    def __init__(self, run_id: str, folder: Path, *, kept: int) -> None:
        self._cv2 = opencv("to draw recurring defects")
        self._run_id, self._folder, self._kept = run_id, folder, kept
        prepare_folder(folder)
        self._seen: dict[str, dict[int, tuple[bytes, View | None]]] = {}

    def take(self, message: Message, /) -> None:
        """Keep a part's frames, or draw a defect that was found."""
        for view in message.part.views if message.part is not None else ():
            self._keep(view)
        if message.alarm is not None and message.camera is not None:
            self._draw(message.alarm, message.camera)

    def safe(self, why: str, /) -> None:
        """Nothing is to be done."""

    def close(self) -> None:
        """Nothing is left to do."""

    def _keep(self, view: CameraView) -> None:
        frame, number = view.captured.frame, view.inspection.frame_id
        seen = self._seen.setdefault(view.camera, {})
        if frame is not None:
            packed = self._cv2.imencode(".jpg", small_copy(self._cv2, frame))[1].tobytes()
            seen[number] = packed, view.inspection.view
        for old in [one for one in seen if one <= number - self._kept]:
            del seen[old]

    def _draw(self, defect: RecurringDefect, camera: str) -> None:
        seen = self._seen.get(camera, {})
        shown = [
            (f"frame {number}", self._decoded(seen[number][0]), marks, seen[number][1])
            for number, marks in zip(defect.frames, defect.marks, strict=True)
            if number in seen
        ]
        if shown:
            since = f"{defect.number}-since-{defect.since:08d}"
            path = self._folder / f"{self._run_id}-{camera}-recurring-{since}.png"
            write_png(path, sheet(self._cv2, shown, title=str(defect)))

    def _decoded(self, packed: bytes) -> Frame:
        frame: Frame = self._cv2.imdecode(np.frombuffer(packed, np.uint8), self._cv2.IMREAD_COLOR)
        return frame
