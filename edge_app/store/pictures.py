"""The pictures of parts: kept by a thread of its own, which nobody waits for."""

from __future__ import annotations

import hashlib
import logging
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from zeroline.edge_app.configuration.storage import Storage
from zeroline.edge_app.draw.overlay import HeatScale, draw_overlay
from zeroline.edge_app.events import Event, EventName
from zeroline.edge_app.messages import Message
from zeroline.edge_app.parts import CameraView, JudgedPart
from zeroline.edge_app.store.entries import Entry
from zeroline.edge_app.store.files import (
    folder_of,
    map_bytes,
    newest_files,
    of_kinds,
    png_bytes,
    remove,
    write_whole,
)
from zeroline.edge_app.store.reserve import Reserve, free_bytes
from zeroline.edge_app.store.retention import Retention
from zeroline.runtime.line.room import in_words
from zeroline.runtime.results import Verdict

#: What may wait: frames, and their bytes. The first part always may.
MOST_FRAMES, MOST_BYTES = 32, 256_000_000
#: Seconds between two passes of retention, and after one that could not do all.
_PASS, _SOON = 60.0, 1.0
#: Share of the free space beyond it from which on pictures are kept again: not to and fro.
_BACK = 0.05
#: Scores that the colours of overlays rest on, for each camera.
_HISTORY = 256
_RANKS = {Verdict.OK: 0, Verdict.UNCERTAIN: 1, Verdict.FAULT: 1, Verdict.NG: 2}
_PICTURE = "INSERT OR REPLACE INTO picture VALUES (?, ?, ?, ?, ?, ?, ?, ?)"

_log = logging.getLogger(__name__)

#: Whether pictures are written: they are; the disk has less room than it is to have; it has none,
#: or cannot be written.
Room = Literal["there", "low", "full"]


@dataclass(frozen=True)
class _Job:
    """The pictures of a part.

    Attributes
    ----------
    part : JudgedPart
    views : tuple of CameraView
        Those with a frame.
    seen : dict of str to tuple of float
        The last raw scores of each camera, for the colours.
    """

    part: JudgedPart
    views: tuple[CameraView, ...]
    seen: dict[str, tuple[float, ...]]

    @property
    def size(self) -> int:
        """Bytes of its frames."""
        return sum(v.captured.frame.nbytes for v in self.views if v.captured.frame is not None)


def is_sampled(part: str, share: float) -> bool:
    """Tell whether an OK part is one of those whose pictures are kept; the same each time.

    Parameters
    ----------
    part : str
        Its id.
    share : float
        Of all OK parts, 0 to 1.
    """
    digest = hashlib.sha256(part.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64


class PictureKeeper:
    """Keeps the pictures of parts that are not OK, and of a share of the others.

    Raw frame, overlay and map. What does not fit into its queue, or onto the disk, is dropped and
    counted.

    Parameters
    ----------
    data : Path
        The data folder.
    storage : Storage
    reader : Connection
        May only read; closed at the end.
    put : callable
        Hands an entry to the writer; returns whether it was taken.
    reserve : Reserve
        Where it was given up, the disk is full.
    events : callable
        Is told once when pictures stop, `storage.low` or `storage.full`, and `storage.back`.

    Attributes
    ----------
    written, dropped : int
        Parts' pictures that were written, and that were not.
    """

    def __init__(
        self,
        data: Path,
        storage: Storage,
        reader: sqlite3.Connection,
        *,
        put: Callable[[Entry], bool],
        reserve: Reserve,
        events: Callable[[Event], None],
    ) -> None:
        self._data, self._storage, self._reader = data, storage, reader
        self._put, self._reserve, self._events = put, reserve, events
        self._closing: float | None = None  # when to end, by the monotonic clock
        self._retention = Retention(data, storage, reader, put, self._is_closing)
        self.written = self.dropped = 0
        self.room: Room = "there"
        self._retry_at: float | None = None  # since a write failed, by the monotonic clock
        self._seen: dict[str, deque[float]] = {}
        self._jobs: deque[_Job] = deque()
        self._frames = self._bytes = 0
        self._changed = threading.Condition()
        self._next_pass = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="store-pictures", daemon=True)
        self._sweep()

    def start(self) -> None:
        """Begin to keep."""
        self._thread.start()

    @property
    def bytes_held(self) -> int:
        """Bytes of all pictures on the disk."""
        return self._retention.held

    @property
    def waiting(self) -> int:
        """Frames that wait."""
        return self._frames

    def offer(self, message: Message) -> None:
        """Take the pictures of a part, if they are to be kept and there is room. Never waits."""
        part = message.part
        if part is None:
            return
        self._remember(part)
        views = tuple(view for view in part.views if view.captured.frame is not None)
        ok = part.verdict is Verdict.OK and not part.late
        if not views or (ok and not is_sampled(part.name.id, self._storage.ok_sample)):
            return
        job = _Job(part, views, {v.camera: tuple(self._seen.get(v.camera, ())) for v in views})
        with self._changed:
            more = self._frames + len(views) > MOST_FRAMES or self._bytes + job.size > MOST_BYTES
            if self._closing is not None or (self._frames and more):
                self.dropped += 1
                return
            self._jobs.append(job)
            self._frames += len(views)
            self._bytes += job.size
            self._changed.notify()

    def close(self, *, within: float) -> int:
        """Write what waits, but for so many seconds at most; return how many frames did not fit."""
        with self._changed:
            self._closing = time.monotonic() + within
            self._changed.notify()
        self._thread.join()
        self._reader.close()
        return self._frames

    def _sweep(self) -> None:
        """Remove what a kill has left: half a file, and files without their row."""
        for path in newest_files(self._data):
            name = path.relative_to(self._data).as_posix()
            known = self._reader.execute("SELECT 1 FROM picture WHERE path = ?", (name,))
            if known.fetchone() is None:
                remove(self._data, name)

    def _remember(self, part: JudgedPart) -> None:
        for view in part.views:
            scores = view.inspection.scores
            if scores is not None:
                seen = self._seen.setdefault(view.camera, deque(maxlen=_HISTORY))
                seen.append(scores.raw_score)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: self._jobs or self._closing is not None,
                    max(0.0, self._next_pass - time.monotonic()),
                )
                closing = self._closing
                job = self._jobs[0] if self._jobs else None
            if closing is not None and (job is None or time.monotonic() > closing):
                return
            if job is not None:
                kept = self._guarded(partial(self._keep, job))
                with self._changed:
                    self.written += bool(kept)
                    self.dropped += not kept
                    self._jobs.popleft()
                    self._frames -= len(job.views)
                    self._bytes -= job.size
            if time.monotonic() >= self._next_pass:
                done = self._guarded(partial(self._retention.run, waited_for=self._is_waited_for))
                self._next_pass = time.monotonic() + (_PASS if done else _SOON)
                self._guarded(partial(self._look, 0))

    def _is_waited_for(self) -> bool:
        return bool(self._jobs)

    def _is_closing(self) -> bool:
        return self._closing is not None

    def _guarded(self, act: Callable[[], object]) -> object:
        """Do something; what fails is tried again at the next pass, and stops nothing."""
        try:
            return act()
        except Exception:  # noqa: BLE001 - rows and verdicts go on
            _log.warning("keeping pictures failed", exc_info=True)
            return None

    def _keep(self, job: _Job) -> bool:
        """Write the pictures of a part, then their rows; return whether there was room."""
        if self.room != "there" and not self._look(job.size):
            return False  # not worth drawing
        part, folder = job.part, folder_of(job.part.name.id, job.part.time.wall)
        contents, rows = {}, []
        wall, until = part.time.wall, self._retention.kept_until(part.time.wall)
        rank = max(_RANKS[part.verdict], 1 if part.late else 0)
        for view in job.views:
            drawn = dict(_drawn(view, job.seen[view.camera]))
            for kind, name in of_kinds(view.camera, list(drawn)).items():
                contents[name] = drawn[kind]
                row = (
                    (folder / name).as_posix(), part.name.id, view.camera, kind, len(drawn[kind]),
                    rank, wall, until,
                )  # fmt: skip
                rows.append((_PICTURE, row))
        size = sum(map(len, contents.values()))
        if not self._look(size):
            return False
        try:
            write_whole(self._data / folder, contents)
        except OSError as error:  # a full disk, or one that is broken, or may not be written
            self._retry_at = time.monotonic() + _SOON
            self._say("full", reason=error.strerror or str(error))
            return False
        self._retry_at = None
        self._say("there")
        self._retention.added(size)
        return self._put(Entry(tuple(rows)))

    def _look(self, size: int) -> bool:
        """Look whether pictures of a size fit; make room among the older ones; tell a change.

        After a write that failed only one that works tells that all is well again.
        """
        kept = self._retention
        if kept.over(size):
            kept.make_room(size)
        slack = 0 if self.room == "there" else int(_BACK * kept.keep_free)
        if kept.short_of(size + slack) == 0:
            if self._retry_at is not None:
                return time.monotonic() >= self._retry_at
            self._say("there")
        elif self.room == "full" or not self._reserve.there:
            self._say("full", reason="no space left")
        else:
            self._say("low")
        return self.room == "there"

    def _say(self, room: Room, *, reason: str = "") -> None:
        before, self.room = self.room, room
        if room == before:
            return
        free, bound = free_bytes(self._data), int(self._retention.keep_free)
        name, text = {
            "full": (EventName.STORAGE_FULL, f"no pictures are kept: {reason}"),
            "low": (
                EventName.STORAGE_LOW,
                f"the disk has {in_words(free)} free, {in_words(bound)} are to stay free: no "
                "pictures are kept",
            ),
            "there": (EventName.STORAGE_BACK, "pictures are kept again"),
        }[room]
        self._events(Event(name, text, {"what": "pictures", "reason": reason, "free_bytes": free}))


def _drawn(view: CameraView, seen: tuple[float, ...]) -> Iterator[tuple[str, bytes]]:
    """Yield the kinds of pictures of a view, and their bytes."""
    frame, inspection = view.captured.frame, view.inspection
    scores = inspection.scores
    assert frame is not None  # noqa: S101 - only those with a frame are taken
    yield "raw", png_bytes(frame)
    if scores is None or inspection.verdict is Verdict.FAULT:
        return
    picture = draw_overlay(
        frame,
        scores.patch_scores,
        scale=HeatScale.of(np.array(seen), false_alarm_rate=0.01),
        contour_at=scores.pixel_threshold,
        verdict=inspection.verdict.value,
        score=scores.score,
        threshold=scores.threshold,
        recurring=inspection.recurring,
        view=inspection.view,
    )
    yield "overlay", png_bytes(picture)
    tiles = (1, 1) if inspection.view is None else inspection.view.tiles
    yield "map", map_bytes(scores.patch_scores, tiles=tiles)
