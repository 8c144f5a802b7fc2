"""Which pictures go: by age, by size, and to leave room on the disk."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from zeroline.edge_app.configuration.storage import Storage
from zeroline.edge_app.store.entries import Entry, Ticket
from zeroline.edge_app.store.files import remove, remove_days
from zeroline.edge_app.store.reserve import SIZE, free_bytes
from zeroline.edge_app.store.schema import FILE

GB = 1e9
DAY = 86_400.0
#: Pictures that go with one commit.
_GROUP = 100
#: Seconds that a group waits for its commit. A database that is locked ends the pass.
_PATIENCE = 1.0
#: Share of a bound that is made free beyond it, so that not every picture needs a pass.
_SLACK = 0.01
_GONE = "DELETE FROM picture WHERE path = ?"


class Retention:
    """Removes pictures: the oldest of OK parts first, then of UNCERTAIN and FAULT, NG last.

    The file goes first, then its row: a kill between them leaves a row, and the next pass meets it.

    For free space pictures make room for newer pictures and rows, and for other programs only down
    to `keep_free_gb` GB of pictures, or 1 GB: a disk that another program fills does not cost all
    of them. Pictures leave twice the reserve free in any case.

    Parameters
    ----------
    data : Path
        The data folder.
    storage : Storage
    reader : Connection
        May only read.
    put : callable
        Hands an entry to the writer; returns whether it was taken.
    closing : callable
        Tells whether the store is about to close: then nothing more is removed.

    Attributes
    ----------
    held : int
        Bytes of all pictures.
    keep_free : float
        Bytes of the disk that pictures leave free.
    """

    def __init__(
        self,
        data: Path,
        storage: Storage,
        reader: sqlite3.Connection,
        put: Callable[[Entry], bool],
        closing: Callable[[], bool],
    ) -> None:
        self._data, self._reader, self._put, self._closing = data, reader, put, closing
        self._days = storage.keep_days * DAY
        self._most = None if storage.keep_gb is None else storage.keep_gb * GB
        self.keep_free = max(storage.keep_free_gb * GB, 2 * SIZE)
        (held,) = reader.execute("SELECT coalesce(sum(bytes), 0) FROM picture").fetchone()
        self.held = int(held)
        self._enough_at = self._own()  # bytes of the store when there was room the last time
        self._rowless: set[str] = set()  # removed, and their rows are still there

    def kept_until(self, wall: float) -> float:
        """Return until when a picture of a time is kept."""
        return wall + self._days

    def short_of(self, size: int) -> float:
        """Return the bytes that the disk lacks for a picture of a size; 0 where it fits."""
        return max(0.0, self.keep_free + size - free_bytes(self._data))

    def over(self, size: int) -> bool:
        """Tell whether a picture of a size would cross a bound."""
        return self.short_of(size) > 0 or (self._most is not None and self.held + size > self._most)

    def added(self, size: int) -> None:
        """Count a new picture."""
        self.held += size
        if self.short_of(0) == 0:
            self._enough_at = self._own()

    def run(self, *, waited_for: Callable[[], bool]) -> bool:
        """Remove what is too old, then what is too much.

        Parameters
        ----------
        waited_for : callable
            Tells whether new pictures wait. Then the pass ends early: many old pictures, as with a
            shorter `keep_days`, must not keep new ones from being written.

        Returns
        -------
        bool
            Whether all is done.

        Raises
        ------
        OSError, sqlite3.OperationalError
            If the disk or the database refuses; the next pass goes on.
        """
        now = time.time()
        if not self._remove(self._old(now), waited_for):
            return False
        remove_days(self._data, now - self._days - DAY)
        self.make_room(0)
        return True

    def make_room(self, size: int) -> None:
        """Remove what has to go before pictures of a size can come; raises as `run`."""
        if self._most is not None and self.held + size > self._most:
            most = (1 - _SLACK) * self._most
            self._remove(self._in_order(), lambda: self.held + size <= most)
        if 0 < self.short_of(size) <= self._may_give(size):
            wanted = size + int(_SLACK * self.keep_free)
            self._remove(
                self._in_order(), lambda: self.short_of(wanted) == 0 or self._may_give(size) <= 0
            )
        if self.short_of(size) == 0:
            self._enough_at = self._own() + size

    def _may_give(self, size: int) -> float:
        """Return the bytes that pictures may give: what the store has grown by, or has over 1 GB.

        Where that is less than what the disk lacks, giving it would help nobody.
        """
        grown = self._own() + size - self._enough_at
        return max(grown, self.held + size - max(self.keep_free, GB))

    def _own(self) -> int:
        """Return the bytes that the store takes: pictures and database."""
        files = (self._data / f"{FILE}{more}" for more in ("", "-wal"))
        return self.held + sum(file.stat().st_size for file in files if file.exists())

    def _old(self, now: float) -> Iterator[list[sqlite3.Row]]:
        for rank in range(3):
            yield from self._groups(
                "SELECT path, bytes FROM picture WHERE rank = ? AND kept_until < ? LIMIT ?",
                (rank, now, _GROUP),
            )

    def _in_order(self) -> Iterator[list[sqlite3.Row]]:
        return self._groups(
            "SELECT path, bytes FROM picture ORDER BY rank, kept_until LIMIT ?", (_GROUP,)
        )

    def _groups(self, sql: str, values: tuple[float, ...]) -> Iterator[list[sqlite3.Row]]:
        """Yield pictures in groups; each is gone before the next is asked for."""
        while rows := self._reader.execute(sql, values).fetchall():
            yield rows

    def _remove(self, groups: Iterator[list[sqlite3.Row]], enough: Callable[[], bool]) -> bool:
        """Remove pictures until it is enough; return whether none are left before that."""
        for group in groups:
            gone = []
            for row in group:
                if enough():
                    break
                remove(self._data, row["path"])
                if row["path"] not in self._rowless:
                    self.held -= row["bytes"]
                gone.append(row["path"])
            if not gone:
                return False
            self._rowless.update(gone)
            ticket = Ticket()
            rows = Entry(tuple((_GONE, (path,)) for path in gone), ticket)
            if not (self._put(rows) and ticket.wait(_PATIENCE)):
                return False  # the rows are met again
            self._rowless.difference_update(gone)
            if len(gone) < len(group) or self._closing():
                return False
        return True
