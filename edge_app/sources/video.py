"""Videos as sources: every frame, and a fault for each one that is lost."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from zeroline.edge_app.captured import Captured
from zeroline.edge_app.decoding.pictures import check_size
from zeroline.edge_app.errors import ImageError, InputError
from zeroline.edge_app.events import Event, EventName, Events
from zeroline.edge_app.opencv import opencv
from zeroline.edge_app.sources.packets import codec_of, frame_of, take_packets
from zeroline.runtime.frames import Frame
from zeroline.runtime.results import Reason

#: Milliseconds after which the opening of a video behind a URL, and a read, are given up.
LIMITS = (15_000, 10_000)

# reads that may fail one after the other before a video is at its end: as many as frames are
# missing of what it announces, and at least, and at most, so many
_TRIES = (100, 10_000)
# texts and single pictures, which FFmpeg plays as videos; it fills pictures that are cut
_NO_VIDEOS = frozenset({"ansi", "gif", "mjp2", "sgi", "tiff", "webp"})
_TURNS = {90: 3, 180: 2, 270: 1}  # clockwise degrees, as quarter turns of NumPy


class VideoSource:
    """A video, once, every frame of it.

    A frame that cannot be decoded is a fault, and the frames after it are read. At the end
    frames are counted against what the video announces.

    Parameters
    ----------
    address : str
        File or URL.
    events : Events
        Is told of a count that differs.
    shown : str
        The address as it may be shown.

    Raises
    ------
    InputError
        If it is no video, or no frame of it can be decoded.
    """

    live = False

    def __init__(self, address: str, *, events: Events, shown: str) -> None:
        self._cv2 = cv2 = opencv("to read videos")
        self._address, self._events, self._shown = address, events, shown
        self._capture = open_capture(cv2, address)
        if self._capture is None:
            raise InputError(f'source "{shown}" cannot be opened as a video')
        count = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self._announced = int(count) if 0 < count < 2**31 else 0
        codec = codec_of(cv2, self._capture)
        if codec in _NO_VIDEOS or not (codec or self._announced):
            raise InputError(f'source "{shown}" is a text or a single picture, no video')
        self._demand_size()
        self.incomplete = False
        self._closed = False
        self.announced = self._announced or None
        self._clock = _Clock(self._capture.get(cv2.CAP_PROP_FPS))
        self._turn = 0
        self._packets = take_packets(cv2, self._capture)
        if self._packets:
            turn = int(self._capture.get(cv2.CAP_PROP_ORIENTATION_META)) % 360
            self._turn = _TURNS.get(turn, 0)
        self._failed = 0
        self._first = self._read_on(0)
        if self._packets and self._holds_fields():
            self._decode_by_ffmpeg()
        if self._first is None:
            raise InputError(
                f'source "{shown}": no frame can be decoded (codec {codec or "unknown"}, '
                f"{self._announced or 'no'} frames announced): save it as H.264 or MJPEG"
            )

    def __iter__(self) -> Iterator[Captured]:
        number = lost = 0
        taken, self._first = self._first, None
        try:
            while taken is not None:
                for _ in range(self._failed):
                    yield self._lost(number, "the frame cannot be decoded")
                    number, lost = number + 1, lost + 1
                try:
                    captured = Captured(self._frame(taken), str(number))
                except ImageError as error:
                    captured = self._lost(number, str(error))
                    lost += 1
                yield captured
                number += 1
                if self._closed:
                    return
                taken = self._read_on(number)
            self._count(number, lost)
        finally:
            self._capture.release()

    def finished(self, captured: Captured, /) -> None:
        """Nothing is to be done."""

    def close(self) -> None:
        """End the iteration."""
        self._closed = True

    def _read_on(self, number: int) -> Any:
        """Read the next frame that there is; how many reads failed before it is in `_failed`."""
        least, most = _TRIES
        self._failed = 0
        given_up = time.monotonic() + LIMITS[1] / 1000
        while self._failed < max(least, min(self._announced - number, most)):
            if self._failed and time.monotonic() > given_up:  # a connection that is lost
                return None
            there, taken = self._capture.read()
            if there:
                self._clock.see(self._capture.get(self._cv2.CAP_PROP_POS_MSEC))
                return taken
            self._failed += 1
        return None

    def _demand_size(self) -> None:
        cv2, capture = self._cv2, self._capture
        width = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH))
        height = int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        try:
            check_size(width, height)
        except ImageError as error:
            raise InputError(f'source "{self._shown}" has frames of {error}') from error

    def _frame(self, taken: Any) -> Frame:
        frame = frame_of(taken, packets=self._packets)
        return np.ascontiguousarray(np.rot90(frame, self._turn)) if self._turn else frame

    def _lost(self, number: int, why: str) -> Captured:
        self.incomplete = True
        return Captured(None, str(number), fault=why, reason=Reason.DAMAGED_FRAME)

    def _holds_fields(self) -> bool:
        """Tell whether the first picture is one of two fields, with every second row of a frame."""
        if self._first is None:
            return False
        try:
            height, width = frame_of(self._first, packets=True).shape[:2]
        except ImageError:
            return False
        cv2, capture = self._cv2, self._capture
        size = (capture.get(cv2.CAP_PROP_FRAME_HEIGHT), capture.get(cv2.CAP_PROP_FRAME_WIDTH))
        return size == (2 * height, width)

    def _decode_by_ffmpeg(self) -> None:
        self._capture.release()
        self._capture = open_capture(self._cv2, self._address)
        self._packets, self._turn = False, 0
        self._first = self._read_on(0) if self._capture is not None else None

    def _sent(self) -> int:
        """Count what the file holds, decoded or not; 0 where that is not known."""
        cv2 = self._cv2
        capture = (
            None if self._packets or "://" in self._address else open_capture(cv2, self._address)
        )
        if capture is None or not capture.set(cv2.CAP_PROP_FORMAT, -1):
            return 0
        count = 0
        while capture.read()[0]:
            count += 1
        capture.release()
        return count

    def _count(self, came: int, lost: int) -> None:
        """Tell frames that are lost, and a count that is not the announced one."""
        fewer = came < self._announced
        if fewer and not self.incomplete:
            early = not self._clock.is_over(self._announced)
            self.incomplete = early or self._sent() > came
        if not (fewer or lost):
            return
        announced = f"{self._announced or 'no'} frames were announced, "
        damaged = f", {lost} of them damaged" if lost else ""
        rate = "" if self.incomplete else " up to its end, at a varying rate"
        self._events(
            Event(
                EventName.SOURCE_COUNT,
                f"{'warning' if self.incomplete else 'note'}: source {self._shown}: {announced}"
                f"{came} came{damaged}{rate}",
                {
                    "source": self._shown,
                    "announced": self._announced or None,
                    "came": came,
                    "damaged": lost,
                },
            )
        )


class _Clock:
    """Times of frames, which tell a varying rate from a file that ends early."""

    def __init__(self, rate: float) -> None:
        self._rate = rate if 0 < rate < 1e6 else 0.0
        self._last = self._longest = 0.0  # milliseconds

    def see(self, milliseconds: float) -> None:
        """Take the time of a frame; pictures of later times may come first."""
        if milliseconds > self._last:
            self._longest = max(self._longest, milliseconds - self._last)
            self._last = milliseconds

    def is_over(self, announced: int) -> bool:
        """Tell whether the last frame reaches to the end of so many frames."""
        if not self._rate:
            return False
        frame = 1000 / self._rate
        longest = self._longest + frame if self._longest > 1.5 * frame else 0.5 * frame
        return self._last + frame + longest >= announced * frame


def open_capture(cv2: Any, address: str) -> Any:
    """Open a video by FFmpeg, or by GStreamer where OpenCV has no FFmpeg; None if neither can."""
    settings = [
        cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, LIMITS[0], cv2.CAP_PROP_READ_TIMEOUT_MSEC, LIMITS[1],
    ]  # fmt: skip
    for backend, options in ((cv2.CAP_FFMPEG, settings), (cv2.CAP_GSTREAMER, [])):
        try:
            capture = cv2.VideoCapture(address, backend, options)
        except cv2.error:
            continue
        if capture.isOpened():
            return capture
        capture.release()
    return None


def announces_frames(url: str) -> bool:
    """Tell whether a video behind a URL says how many frames it has; a camera does not."""
    cv2 = opencv("to read videos")
    capture = open_capture(cv2, url)
    if capture is None:
        return False
    count = capture.get(cv2.CAP_PROP_FRAME_COUNT)
    capture.release()
    return bool(0 < count < 2**31)
