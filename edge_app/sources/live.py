"""Live cameras, of which the latest frame counts.

A live source runs on; a thread takes its frames as they come and keeps the latest one, and what
nobody took in time is counted.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from zeroline.edge_app.captured import Captured
from zeroline.edge_app.errors import ImageError
from zeroline.edge_app.events import Event, EventName, Events
from zeroline.edge_app.opencv import opencv
from zeroline.edge_app.passwords import without_password
from zeroline.edge_app.sources.packets import frame_of, take_packets
from zeroline.runtime.frames import CaptureTime
from zeroline.runtime.results import Reason

URL = re.compile(r"(rtsps?|https?|udp|tcp)://")
#: Seconds before a lost camera is tried again: doubled each time, up to the last.
BACK_OFF = (0.5, 10.0)
#: Seconds without a frame after which a live source is at fault.
SILENCE = 5.0
#: Seconds after which the opening of a stream, and the wait for its next frame, are given up: long
#: enough for cameras that send a whole picture only every ten seconds, the others being changes.
LIMITS = (15.0, 10.0)

_DECODERS = 1  # threads of FFmpeg for a live stream: each after the first holds back one frame
_DOUBT = 0.1  # seconds for which the first frame after a silence is not given yet, see `_keep`
_FAILURES = 10  # reads of a stream that may fail one after the other: frames that are damaged
_BETWEEN = 0.1  # seconds between two requests to a camera that sends one picture for each
_SLICE = 0.2  # seconds after which a wait looks whether it shall end


@dataclass(frozen=True)
class _Taken:
    """What a camera gave last; a picture that was sent as one is decoded when it is asked for."""

    content: npt.NDArray[np.uint8]
    time: CaptureTime
    packets: bool
    clock: float | None

    def captured(self, name: str, dropped: int) -> Captured:
        try:
            frame = frame_of(self.content, packets=self.packets)
        except ImageError as error:
            return Captured(
                None, name, time=self.time, fault=str(error), reason=Reason.DAMAGED_FRAME,
                dropped=dropped, clock=self.clock,
            )  # fmt: skip
        return Captured(frame, name, time=self.time, dropped=dropped, clock=self.clock)


class LiveSource:
    """A camera or a stream; a thread reads it, and the latest frame counts.

    A source that is lost is opened again, with growing pauses, until `close`.

    Parameters
    ----------
    address : str
        Device number, URL or GStreamer pipeline.
    events : Events
        Is told of losses.
    stop : Event
        Ends it; `close` sets it.
    patience : float, optional
        Seconds without a frame after which the source is at fault; `SILENCE`, when not given.
    """

    live = True
    incomplete = False
    announced: int | None = None

    def __init__(
        self,
        address: str,
        *,
        events: Events,
        stop: threading.Event,
        patience: float | None = None,
    ) -> None:
        self._address, self._events = address, events
        self._is_url = URL.match(address) is not None
        self._shown = without_password(address)
        self._cv2 = opencv("to read cameras")
        self._patience = patience
        self._ended = stop
        self._changed = threading.Condition()
        self._latest: _Taken | None = None
        self._closed = False
        self._arrived = self._taken = 0
        self._certain = 0.0  # from when on the latest frame may be given
        self._trouble: BaseException | None = None
        self._thread = threading.Thread(target=self._read, name="zeroline-capture", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[Captured]:
        while not self._ended.is_set():
            patience = SILENCE if self._patience is None else self._patience
            until = time.monotonic() + patience
            with self._changed:
                there = False
                while not there and (left := until - time.monotonic()) > 0:
                    there = self._changed.wait_for(self._ready, timeout=min(_SLICE, left))
                if self._trouble is not None:
                    raise self._trouble
                if self._ended.is_set():
                    return
                latest, number = self._latest if there else None, self._arrived
                dropped = number - self._taken - 1
                if latest is not None:
                    self._latest, self._taken = None, number
            if latest is None:
                text = f"no frame for {patience:g} s"
                yield Captured(None, "", fault=text, reason=Reason.NO_FRAME)
            else:
                yield latest.captured(str(number - 1), dropped)

    def finished(self, captured: Captured, /) -> None:
        """Nothing is to be done."""

    def close(self) -> None:
        """End the thread; waits for it for a moment, the first time."""
        closed, self._closed = self._closed, True
        self._ended.set()
        with self._changed:
            self._changed.notify_all()
        if not closed:  # one that waits for a hung camera ends with the program
            self._thread.join(timeout=0.5)

    def _ready(self) -> bool:
        given = self._latest is not None and time.monotonic() >= self._certain
        return given or self._ended.is_set() or self._trouble is not None

    def _read(self) -> None:
        pause = BACK_OFF[0]
        lost = False
        try:
            while not self._ended.is_set():
                capture = self._open()
                packets = capture.isOpened() and take_packets(self._cv2, capture)
                began = self._arrived
                failed = 0
                while capture.isOpened() and not self._ended.is_set():
                    asked = time.monotonic()
                    there, frame = capture.read()
                    waited = time.monotonic() - asked if self._is_url else 0.0
                    if waited >= LIMITS[1]:
                        break
                    failed = 0 if there else failed + 1
                    if failed > (_FAILURES if self._is_url else 0):
                        break
                    if not there:
                        continue
                    if lost:
                        self._emit(EventName.CAMERA_BACK, "frames again")
                        lost, pause = False, BACK_OFF[0]
                    clock = capture.get(self._cv2.CAP_PROP_POS_MSEC) / 1000
                    ticks = clock if clock > 0 else None  # 0 or less: it has none
                    taken = _Taken(frame, CaptureTime.now(), packets, ticks)
                    self._keep(taken, doubtful=waited >= SILENCE)
                self._drop_doubtful()
                capture.release()
                if self._ended.is_set():
                    return
                if packets and self._is_url and self._arrived == began + 1:
                    self._ended.wait(_BETWEEN)  # a camera that sends one picture a request
                    continue
                if not lost or self._arrived > began:
                    self._emit(EventName.CAMERA_LOST, "no frames, tried again until they come")
                    lost = True
                self._ended.wait(pause)
                pause = min(2 * pause, BACK_OFF[1])
        except BaseException as error:  # noqa: BLE001 - raised where the frames are taken
            self._trouble = error
            with self._changed:
                self._changed.notify_all()

    def _keep(self, taken: _Taken, *, doubtful: bool) -> None:
        """Keep a frame as the latest one.

        The first one after a silence may be what FFmpeg held back when it began: then the next
        one, or the stream's end, follows at once, and takes its place.
        """
        with self._changed:
            self._latest = taken
            self._certain = time.monotonic() + _DOUBT if doubtful else 0.0
            self._arrived += 1
            self._changed.notify_all()

    def _emit(self, name: EventName, what: str) -> None:
        self._events(Event(name, f"source {self._shown}: {what}", {"source": self._shown}))

    def _drop_doubtful(self) -> None:
        with self._changed:
            if time.monotonic() < self._certain:
                self._latest = None

    def _open(self) -> Any:
        cv2 = self._cv2
        if self._address.isascii() and self._address.isdigit():
            capture = cv2.VideoCapture(int(self._address))
        elif not self._is_url:
            capture = cv2.VideoCapture(self._address, cv2.CAP_GSTREAMER)
        else:
            # a stream that stops sending must not block the thread for FFmpeg's half minute
            settings = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, int(1000 * LIMITS[0]),
                        cv2.CAP_PROP_READ_TIMEOUT_MSEC, int(1000 * LIMITS[1]),
                        cv2.CAP_PROP_N_THREADS, _DECODERS]  # fmt: skip
            capture = cv2.VideoCapture(self._address, cv2.CAP_FFMPEG, settings)
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        return capture
