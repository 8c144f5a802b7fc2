"""The newest picture of a camera with its overlay, as JPEG and as a stream of them."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass

import numpy as np

from zeroline.edge_app.control import Control, Newest
from zeroline.edge_app.draw.overlay import HeatScale, draw_overlay, draw_unscored
from zeroline.edge_app.opencv import opencv

#: Seconds from picture to picture, and their quality.
PERIOD, _QUALITY = 0.1, 80
#: Between two pictures of a stream, which is multipart/x-mixed-replace.
BOUNDARY = "zeroline-frame"
_HISTORY = 256


@dataclass(frozen=True)
class Picture:
    """A picture that may be sent.

    Attributes
    ----------
    number : int
        Of the frame.
    jpeg : bytes
    """

    number: int
    jpeg: bytes


class LiveView:
    """Draws and encodes a camera's newest frame, once for all who look, and only for them.

    Parameters
    ----------
    control : Control
    camera : str
        A name that the control knows.
    """

    def __init__(self, control: Control, camera: str) -> None:
        self._control, self._camera = control, camera
        self._lock = asyncio.Lock()
        self._made: Picture | None = None
        self._made_at = float("-inf")
        self._seen: deque[float] = deque(maxlen=_HISTORY)

    async def newest(self) -> Picture | None:
        """Return the newest picture, at most a tenth of a second old; None before the first.

        Raises
        ------
        RefusedError
            If the camera is unknown.
        """
        async with self._lock:
            # in a thread: a station that hangs must not hang who asks how it is
            newest = await asyncio.to_thread(self._control.newest, self._camera)
            if newest is None:
                return None
            fresh = time.monotonic() - self._made_at < PERIOD
            if self._made is None or (newest.number != self._made.number and not fresh):
                self._made_at = time.monotonic()
                self._made = await asyncio.to_thread(self._encoded, newest)
            return self._made

    async def stream(self, ended: threading.Event) -> AsyncIterator[bytes]:
        """Yield parts of a multipart stream, until `ended` is set.

        Each part is asked for when the one before has gone: a slow viewer gets fewer pictures, and
        the newest ones.
        """
        sent = None
        while not ended.is_set():
            picture = await self.newest()
            if picture is not None and picture.number != sent:
                sent = picture.number
                head = (
                    f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\n"
                    f"Content-Length: {len(picture.jpeg)}\r\nX-Zeroline-Frame: {sent}\r\n\r\n"
                )
                yield head.encode() + picture.jpeg + b"\r\n"
            await asyncio.sleep(PERIOD)
        yield f"--{BOUNDARY}--\r\n".encode()

    def _encoded(self, newest: Newest) -> Picture:
        cv2 = opencv("to show pictures")
        frame, inspection = newest.captured.frame, newest.inspection
        scores = inspection.scores
        if frame is None or scores is None:
            text = inspection.fault or (inspection.reason.value if inspection.reason else "")
            drawn = draw_unscored(frame, verdict=inspection.verdict.value, text=text)
        else:
            self._seen.append(scores.raw_score)
            drawn = draw_overlay(
                frame,
                scores.patch_scores,
                scale=HeatScale.of(np.array(self._seen), false_alarm_rate=0.01),
                contour_at=scores.pixel_threshold,
                verdict=inspection.verdict.value,
                score=scores.score,
                threshold=scores.threshold,
                recurring=inspection.recurring,
                view=inspection.view,
            )
        options = [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]
        return Picture(newest.number, cv2.imencode(".jpg", drawn, options)[1].tobytes())
