"""A folder into which a camera writes pictures: each is taken once it is whole.

The folder is read again and again: what the kernel tells of other folders (inotify) it does not
tell of network shares, where such folders lie.
"""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TypeAlias
from urllib.parse import parse_qsl

from zeroline.edge_app.captured import Captured
from zeroline.edge_app.errors import ImageError, InputError
from zeroline.edge_app.events import Event, EventName, Events
from zeroline.edge_app.images import SUFFIXES, read_image
from zeroline.runtime.frames import CaptureTime, Frame
from zeroline.runtime.results import Reason

#: How an address begins that names a folder to be watched.
SCHEME = "watch:"
#: What is done with a picture after its verdict.
AFTER = ("stay", "move", "delete")
#: The folder beside the pictures that they are moved to.
INSPECTED = "inspected"
#: Seconds between two looks at the folder.
INTERVAL = 0.1
#: Seconds for which a file's size and time must stay before it is read.
QUIET = 0.3
#: Seconds that a quiet file gets to become a whole picture: a share may stall in its middle.
PATIENCE = 5.0
#: Names that are remembered, so that a name that comes again is another part.
_NAMES = 100_000

#: What tells a file from a later one of the same name: time, size, inode.
Stamp: TypeAlias = tuple[int, int, int]


@dataclass
class _Seen:
    """A file in the folder.

    Attributes
    ----------
    stamp : tuple of int
    since : float
        When it was first seen so, monotonic.
    taken : bool
        Whether it was given.
    """

    stamp: Stamp
    since: float
    taken: bool = False


class WatchedFolder:
    """Pictures of a folder, the oldest first, as they come; it ends when it is told to.

    Nothing is lost: it waits for its reader. Folders in it, and files whose names begin with a
    dot, are not looked at.

    Parameters
    ----------
    folder : Path
    after : {"stay", "move", "delete"}
        What is done with a picture after its verdict. One that cannot be read stays.
    events : Events
        Is told when the folder cannot be read, when it can be again, and of pictures that cannot
        be moved or deleted.
    stop : Event
        Ends the wait for a picture; `close` sets it.

    Raises
    ------
    InputError
        If there is no such folder.
    """

    live = False
    incomplete = False
    announced: int | None = None

    def __init__(
        self, folder: Path, *, after: str = "stay", events: Events, stop: threading.Event
    ) -> None:
        if not folder.is_dir():
            raise InputError(f'watched folder "{folder}" does not exist, or is no folder')
        self._folder, self._after = folder, after
        self._events, self._ended = events, stop
        self._seen: dict[str, _Seen] = {}
        self._names: OrderedDict[str, int] = OrderedDict()
        self._given: dict[str, Stamp] = {}  # whose verdicts are under way
        self._finished: SimpleQueue[str] = SimpleQueue()
        self._lost = self._told = False

    def __iter__(self) -> Iterator[Captured]:
        while not self._ended.is_set():
            for name in self._whole():
                captured = self._captured(name)
                if captured is None:
                    continue
                yield captured
                self._put_away()
                if self._ended.is_set():
                    return
            self._put_away()
            self._ended.wait(INTERVAL)

    def finished(self, captured: Captured, /) -> None:
        """Take note that a picture's verdict has left: it is put away with the next look."""
        self._finished.put(captured.name)

    def close(self) -> None:
        """End the iteration; pictures whose verdicts have left are put away."""
        self._ended.set()
        self._put_away()

    def _whole(self) -> list[str]:
        """Look at the folder, and return the names of quiet files that were not given yet."""
        now, found = time.monotonic(), {}
        try:
            with os.scandir(self._folder) as entries:
                for entry in entries:
                    stamp = _stamp(entry)
                    if stamp is not None:
                        found[entry.name] = stamp
        except OSError as error:
            self._tell(lost=True, why=error.strerror or str(error))
            return []
        self._tell(lost=False)
        before, self._seen = self._seen, {}
        for name, stamp in found.items():
            known = before.get(name)
            self._seen[name] = known if known and known.stamp == stamp else _Seen(stamp, now)
        quiet = [
            name
            for name, seen in self._seen.items()
            if not seen.taken and now - seen.since >= QUIET
        ]
        return sorted(quiet, key=lambda name: (self._seen[name].stamp[0], name))

    def _captured(self, name: str) -> Captured | None:
        """Return a picture; None while it is not whole, or where it has gone."""
        seen, path = self._seen[name], self._folder / name
        frame: Frame | None = None
        fault = ""
        try:
            frame = read_image(path)
        except ImageError as error:
            if not path.exists() or time.monotonic() - seen.since < PATIENCE:
                return None
            fault = str(error)
        seen.taken = True
        if frame is not None:
            self._given[name] = seen.stamp
        reason = Reason.DAMAGED_FRAME if fault else None
        taken = CaptureTime.now()
        return Captured(frame, name, self._part(name), taken, fault=fault, reason=reason)

    def _part(self, name: str) -> str:
        """Return the name of a part that no earlier one has."""
        count = self._names.pop(name, 0) + 1
        self._names[name] = count
        if len(self._names) > _NAMES:
            self._names.popitem(last=False)
        return name if count == 1 else f"{name} ({count})"

    def _put_away(self) -> None:
        """Move or delete the pictures that have their verdicts."""
        while not self._finished.empty():
            with suppress(Empty):  # two threads may look at the end
                name = self._finished.get_nowait()
                stamp = self._given.pop(name, None)
                if stamp is not None and self._after != "stay":
                    self._put_one_away(self._folder / name, stamp)

    def _put_one_away(self, path: Path, stamp: Stamp) -> None:
        """Move or delete a picture, unless another one has its name now."""
        try:
            status = path.stat()
            if (status.st_mtime_ns, status.st_size, status.st_ino) != stamp:
                return
            if self._after == "delete":
                path.unlink()
            else:
                (self._folder / INSPECTED).mkdir(exist_ok=True)
                path.rename(_free(self._folder / INSPECTED / path.name))
        except OSError as error:
            if not self._told:
                text = f'picture "{path}" has its verdict and stays: {error.strerror}'
                self._events(Event(EventName.SOURCE_KEPT, text, {"source": str(path)}))
            self._told = True

    def _tell(self, *, lost: bool, why: str = "") -> None:
        if lost == self._lost:
            return
        self._lost = lost
        name = EventName.CAMERA_LOST if lost else EventName.CAMERA_BACK
        what = f"cannot be read: {why}" if lost else "can be read again"
        shown = str(self._folder)
        self._events(Event(name, f'source "{shown}": the folder {what}', {"source": shown}))


def _stamp(entry: os.DirEntry[str]) -> Stamp | None:
    """Return what tells a picture's state; None of what is no picture, or has gone."""
    if entry.name.startswith(".") or Path(entry.name).suffix.lower() not in SUFFIXES:
        return None
    try:
        if not entry.is_file():
            return None
        status = entry.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _free(path: Path) -> Path:
    """Return a path that nothing has: with a number, where something has this one."""
    number, found = 1, path
    while found.exists():
        number += 1
        found = path.with_name(f"{path.stem} ({number}){path.suffix}")
    return found


def watched_words(address: str) -> tuple[Path, str]:
    """Return folder and `after` of an address, such as ``watch:incoming?after=move``.

    Raises
    ------
    InputError
        If the address has another word.
    """
    text, _, query = address.removeprefix(SCHEME).rpartition("?")
    if not text:  # no query
        text, query = query, ""
    options = dict(parse_qsl(query, keep_blank_values=True))
    after = options.pop("after", "stay")
    if options or after not in AFTER:
        raise InputError(
            f'source "{address}": ?after= one of {", ".join(AFTER)} is allowed behind the folder'
        )
    return Path(text), after


def watched_folder(address: str, *, events: Events, stop: threading.Event) -> WatchedFolder:
    """Open a folder by its address.

    Raises
    ------
    InputError
        If there is no such folder, or the address has another word.
    """
    folder, after = watched_words(address)
    return WatchedFolder(folder, after=after, events=events, stop=stop)
