"""The one thread that writes the database: it commits whenever it is free."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice

from zeroline.edge_app.events import Event, EventName
from zeroline.edge_app.store.deliveries import KEEP, Deliveries
from zeroline.edge_app.store.entries import Entry, set_stored
from zeroline.edge_app.store.reserve import Reserve
from zeroline.edge_app.store.rows import UNSTORED

#: Entries that may wait while the database cannot be written: nearly an hour at 30 parts a second,
#: and about 200 MB (docs/store.md).
MOST_WAITING = 100_000
#: Entries of one commit, so that the first of them does not wait for all that came after it.
_GROUP = 500
#: Entries after which the WAL, then of about 7 MB, is carried over into the database.
_CHECKPOINT = 500
#: Seconds: from a commit that failed to the next try; that a cursor of an output alone waits.
_RETRY, _IDLE = 0.25, 5.0
#: What is wrong with one row, where others go in. A database that is locked, full or damaged
#: raises other errors.
_ROW_FAULTS = (
    sqlite3.IntegrityError, sqlite3.DataError, sqlite3.InterfaceError, sqlite3.ProgrammingError,
    OverflowError, UnicodeEncodeError,
)  # fmt: skip

_log = logging.getLogger(__name__)


class _RefusedError(Exception):
    """An entry that can never be written."""

    def __init__(self, entry: Entry, cause: Exception) -> None:
        super().__init__(str(cause))
        self.entry = entry


class Writer:
    """Writes what is put into it, in order, in a thread of its own.

    What arrives during a commit is the next commit. A database that cannot be written now is tried
    again and again. Nothing is lost meanwhile, up to `MOST_WAITING` entries.

    Parameters
    ----------
    connection : Connection
        The only one that writes; left open at the end.
    reserve : Reserve
        Given up where the disk is full.
    deliveries : Deliveries
        What outputs have, written with each commit.
    settled : callable
        Is told of the ids of parts that are in the database from now on, or never will be.
    events : callable
        Is told `storage.full` once when rows do not go in, and `storage.back` when they do again.

    Attributes
    ----------
    rows : int
        Entries that were written.
    refused : int
        Entries that were lost: there was no room to wait, or the database can never take them.
    commit_seconds : float
        Time of the last commit.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        *,
        reserve: Reserve,
        deliveries: Deliveries,
        settled: Callable[[list[str]], None],
        events: Callable[[Event], None],
    ) -> None:
        self._connection, self._reserve, self._deliveries = connection, reserve, deliveries
        self._settled, self._events = settled, events
        self.rows = self.refused = 0
        self.commit_seconds = 0.0
        self._waiting: deque[Entry] = deque()
        self._changed = threading.Condition()
        self._closing: float | None = None  # when to give up, by the monotonic clock
        self._trouble = ""
        self._overrun = False
        self._since_checkpoint = 0
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Entries that are not yet in the database."""
        return len(self._waiting)

    @property
    def trouble(self) -> str:
        """Why nothing can be written now; empty where it can."""
        return self._trouble

    def put(self, entry: Entry) -> bool:
        """Take an entry; return whether there was room for it. Never waits."""
        with self._changed:
            closed = self._closing is not None
            full = closed or len(self._waiting) >= MOST_WAITING
            if full:
                self.refused += 1
            else:
                self._waiting.append(entry)
                self._changed.notify()
            tell = full and not closed and not self._overrun
            self._overrun = full
        if full and entry.part is not None:
            self._settled([entry.part])
        if tell:
            self._tell(
                EventName.STORAGE_FULL,
                f"rows are lost: {MOST_WAITING} wait for the store, and there is no room for more",
                reason="too many rows wait",
            )
        return not full

    def close(self, *, within: float) -> int:
        """Write all that waits, and end; return how many entries could not be written.

        Parameters
        ----------
        within : float
            Seconds after which a database that cannot be written is given up.
        """
        with self._changed:
            self._closing = time.monotonic() + within
            self._changed.notify()
        self._thread.join()
        with contextlib.suppress(sqlite3.Error):
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return len(self._waiting)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing is not None, _IDLE)
                group = list(islice(self._waiting, _GROUP))
                closing = self._closing
            if not group and not self._deliveries.dirty:
                if closing is not None:
                    return
                continue
            if not self._written(group) and closing is not None and time.monotonic() > closing:
                return

    def _written(self, group: list[Entry]) -> bool:
        """Try to commit a group; return whether it is in the database."""
        began = time.perf_counter()
        try:
            self._commit(group)
        except _RefusedError as error:
            self._refuse(error)
            return True
        except Exception as error:  # noqa: BLE001 - whatever it is, rows wait and the thread lives
            _log.debug("a commit failed", exc_info=True)
            self._failed(error)
            return False
        self.commit_seconds = time.perf_counter() - began
        self._done(group)
        self._since_checkpoint += max(len(group), 1)
        if self._since_checkpoint >= _CHECKPOINT:
            self._checkpoint()
        return True

    def _commit(self, group: Sequence[Entry]) -> None:
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            for entry in group:
                self._execute(entry)
            self._deliveries.write(connection, group)
            connection.execute("COMMIT")
        except BaseException:
            self._deliveries.undo()
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        self._deliveries.written()

    def _execute(self, entry: Entry) -> None:
        try:
            for sql, values in entry.statements:
                self._connection.execute(sql, values)
            if entry.body is not None:
                self._connection.execute(KEEP, (entry.number, entry.body))
            if entry.ticket is not None and entry.ticket.left_unstored and entry.part is not None:
                self._connection.execute(UNSTORED, (entry.number,))
        except _ROW_FAULTS as error:
            raise _RefusedError(entry, error) from error

    def _done(self, group: Sequence[Entry]) -> None:
        with self._changed:
            for _ in group:
                self._waiting.popleft()
        self.rows += len(group)
        set_stored(entry.ticket for entry in group if entry.ticket is not None)
        parts = [entry.part for entry in group if entry.part is not None]
        if parts:
            self._settled(parts)
        if self._trouble:
            self._trouble = ""
            self._tell(
                EventName.STORAGE_BACK,
                "the store can be written again",
                reason="",
            )
        self._reserve_again()
        for event in self._deliveries.told():
            self._pass_on(event)

    def _failed(self, error: Exception) -> None:
        """Make room where there is none; tell once; wait a little."""
        if self._reserve.is_needed(str(error)) and self._reserve.give_up():
            return
        if not self._trouble:
            self._trouble = str(error)
            self._tell(
                EventName.STORAGE_FULL,
                f"the store cannot be written: {error}. Rows wait in memory",
                reason=str(error),
            )
        time.sleep(_RETRY)

    def _refuse(self, error: _RefusedError) -> None:
        """Leave out an entry that the database can never take, and say so."""
        with self._changed:
            self._waiting.remove(error.entry)
        self.refused += 1
        entry = error.entry
        if entry.part is not None:
            self._settled([entry.part])
        self._pass_on(
            Event(
                EventName.STATION_FAULT,
                f"message {entry.number} cannot be stored: {error}",
                {"reason": str(error), "message": entry.number},
                part=entry.part,
            )
        )

    def _checkpoint(self) -> None:
        """Carry a long WAL over; where a reader or the disk is in its way, the next one does."""
        self._since_checkpoint = 0
        with contextlib.suppress(sqlite3.Error):
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def _reserve_again(self) -> None:
        with contextlib.suppress(OSError):
            self._reserve.make()

    def _tell(self, name: EventName, text: str, *, reason: str) -> None:
        data = {"what": "rows", "reason": reason, "waiting": len(self._waiting)}
        self._pass_on(Event(name, text, data))

    def _pass_on(self, event: Event) -> None:
        try:
            self._events(event)
        except Exception:  # noqa: BLE001 - rows go on
            _log.warning("an event could not be passed on", exc_info=True)
