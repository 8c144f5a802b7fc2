"""The store of a station: its face to the station, the outputs and the interface."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any

from zeroline.edge_app.configuration.storage import Storage
from zeroline.edge_app.control import Answer
from zeroline.edge_app.errors import OutputError
from zeroline.edge_app.events import Event, EventName
from zeroline.edge_app.messages import Message
from zeroline.edge_app.store.deliveries import Deliveries, Outbox
from zeroline.edge_app.store.entries import Entry, Statement, Ticket
from zeroline.edge_app.store.files import sync_folder
from zeroline.edge_app.store.ids import Ids
from zeroline.edge_app.store.lock import FolderLock
from zeroline.edge_app.store.pictures import PictureKeeper
from zeroline.edge_app.store.reserve import Reserve, free_bytes
from zeroline.edge_app.store.retention import DAY
from zeroline.edge_app.store.rows import as_json, rows_of
from zeroline.edge_app.store.schema import FILE, MIGRATIONS, open_to_read, open_to_write
from zeroline.edge_app.store.writer import Writer

#: Seconds that a clean stop gives to pictures that wait, and to a database that is locked or full.
_CLOSE_PICTURES, _CLOSE_ROWS = 1.5, 1.0
_FEEDBACK = "INSERT INTO feedback (part, wall, answer, note, by) VALUES (?, ?, ?, ?, ?)"
_RECIPE = "INSERT OR IGNORE INTO recipe_version VALUES (?, ?, ?, strftime('%s', 'now'))"
_RUN = "INSERT OR IGNORE INTO run VALUES (?, ?, ?, strftime('%s', 'now'))"
_UNTIL = "UPDATE picture SET kept_until = wall + ? WHERE kept_until <> wall + ?"

_log = logging.getLogger(__name__)


class Store:
    """Keeps parts, events and pictures in a data folder. A context manager.

    One thread writes the database: it commits whenever it is free, and what arrives meanwhile is
    the next commit. Another keeps pictures. Every method may be called from any thread, and none
    waits for the disk.

    Parameters
    ----------
    data : Path
        The data folder; made where there is none.
    storage : Storage
        What is kept for how long.
    station : str
        Name of the station.
    events : callable
        Is told `storage.migrated`, `storage.low`, `storage.full` and `storage.back`,
        `output.dropped`, and `station.fault` where a row can never be written. Never from inside a
        lock.

    Raises
    ------
    InputError
        If another station has the folder, or the database is damaged or newer than this program.
    OutputError
        If the folder cannot be written.
    """

    def __init__(
        self, data: Path, storage: Storage, *, station: str, events: Callable[[Event], None]
    ) -> None:
        self._data, self._station = data, station
        try:
            data.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f'data folder "{data}" cannot be made: {error.strerror}') from error
        self._lock = FolderLock(data)
        self._reserve = Reserve(data)
        self._runs: set[str] = set()
        readers: list[sqlite3.Connection] = []
        connection = None
        try:
            connection, before = self._opened()
            connection.execute(_UNTIL, (storage.keep_days * DAY,) * 2)
            self._reserve.make()
            sync_folder(data)  # the names of new files, and of a new folder, survive a power cut
            sync_folder(data.absolute().parent)
            readers += [open_to_read(data / FILE) for _ in range(2)]
            self._deliveries = Deliveries(connection)
            self._ids = Ids(readers[0])
            self._writer = Writer(
                connection,
                reserve=self._reserve,
                deliveries=self._deliveries,
                settled=self._ids.settled,
                events=events,
            )
            self._pictures = PictureKeeper(
                data,
                storage,
                readers[1],
                put=self._writer.put,
                reserve=self._reserve,
                events=events,
            )
            self._first = 1 + self._newest(connection)
        except BaseException as error:
            for opened in [*readers, *([connection] if connection is not None else [])]:
                opened.close()
            self._lock.release()
            if isinstance(error, sqlite3.Error | OSError):
                raise OutputError(f'store "{data / FILE}" cannot be opened: {error}') from error
            raise
        self._reader, self._connection = readers[0], connection
        self._outboxes: list[Outbox] = []
        self._closed = False
        self._writer.start()
        self._pictures.start()
        if 0 < before < len(MIGRATIONS):
            events(_migrated(before))

    def __enter__(self) -> Store:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()

    def write(self, message: Message) -> Ticket:
        """Hand over a message, with the pictures of its part.

        Parameters
        ----------
        message : Message

        Returns
        -------
        Ticket
            Tells when its rows are on the disk. They never wait for pictures. Where too many rows
            wait already, it never will, and `storage.full` has been told.

        Raises
        ------
        ValueError
            If a number of it is not finite: JSON has none such.
        """
        ticket = Ticket()
        run = message.body.get("run_id")
        statements = rows_of(message, station=self._station)
        if run is not None and run not in self._runs:
            self._runs.add(run)
            statements = ((_RUN, (run, self._station, version("zeroline"))), *statements)
        part = None if message.part is None else message.part.name.id
        body = as_json(message.body) if self._deliveries.wanted else None
        if part is not None:
            self._ids.written(part)
        self._writer.put(Entry(statements, ticket, part, message.number, body))
        self._pictures.offer(message)
        return ticket

    def feedback(self, part: str, answer: Answer, *, note: str, by: str, wall: float) -> Ticket:
        """Keep what a person says of a part, at a time (seconds since 1970)."""
        return self._put(_FEEDBACK, (part, wall, answer.value, note, by))

    def recipe_version(self, version: str, name: str, text: str) -> Ticket:
        """Keep the full text of a recipe, by its hash; once for each."""
        return self._put(_RECIPE, (version, name, text))

    def delivered(self, output: str, number: int) -> None:
        """Say that a durable output has all messages up to one; goes with the next commit."""
        self._deliveries.delivered(output, number)

    def outbox(self, output: str) -> Outbox:
        """Keep messages for a durable output from now on, also over restarts.

        To be called for every durable output, before the first message.
        """
        start = self._deliveries.register(output, self._first - 1)
        self._outboxes.append(Outbox(self._data, start))
        return self._outboxes[-1]

    def next_number(self) -> int:
        """Return the first message number that is free, as it was at the start."""
        return self._first

    def last_counter(self, prefix: str) -> int:
        """Return the largest N of the stored ids ``<prefix>-N``; 0 where there is none."""
        return self._ids.last_counter(prefix)

    def free_id(self, name: str) -> str:
        """Return ``name``, or ``name (2)`` and so on where there is such a part; it is then kept.

        Names that were given before and have no part yet count too.
        """
        return self._ids.free(name)

    def has_part(self, part: str) -> bool:
        """Tell whether a part was written, also where its commit is still to come."""
        return self._ids.has(part)

    def state(self) -> dict[str, Any]:
        """Return how the store is, as JSON.

        ``rows`` that were written, ``waiting`` rows, ``lost`` rows, ``commit_ms`` of the last
        commit, ``trouble`` (why rows do not go in, or null), ``pictures`` (``written`` and
        ``dropped`` in parts, ``waiting`` in frames, ``bytes`` of all, ``room``: there, low or
        full), ``outbox`` (messages that are kept), ``free_bytes`` of the disk, ``full``: whether
        rows or pictures do not go in since there is no room.
        """
        writer, pictures = self._writer, self._pictures
        return {
            "rows": writer.rows,
            "waiting": writer.waiting,
            "lost": writer.refused,
            "commit_ms": round(1e3 * writer.commit_seconds, 3),
            "trouble": writer.trouble or None,
            "pictures": {
                "written": pictures.written,
                "dropped": pictures.dropped,
                "waiting": pictures.waiting,
                "bytes": pictures.bytes_held,
                "room": pictures.room,
            },
            "outbox": self._deliveries.kept,
            "free_bytes": free_bytes(self._data),
            "full": pictures.room == "full" or "full" in writer.trouble,
        }

    def close(self) -> None:
        """Write what waits, end all threads, and let go of the folder.

        Pictures have 1.5 s. Rows have the time they need, but a database that cannot be written has
        1 s. What is then left is lost, and told in the log: its verdicts left as `unstored`.
        """
        if self._closed:
            return
        self._closed = True
        for outbox in self._outboxes:
            outbox.close()
        frames = self._pictures.close(within=_CLOSE_PICTURES)
        rows = self._writer.close(within=_CLOSE_ROWS)
        if frames or rows:
            _log.warning("the store was closed: %d rows and %d frames are lost", rows, frames)
        self._reader.close()
        self._connection.close()  # the last one: SQLite then removes the WAL
        self._lock.release()

    def _put(self, sql: str, values: tuple[Any, ...]) -> Ticket:
        ticket = Ticket()
        statement: Statement = (sql, values)
        self._writer.put(Entry((statement,), ticket))
        return ticket

    def _opened(self) -> tuple[sqlite3.Connection, int]:
        """Open the database; a full disk gets the reserve's room."""
        try:
            return open_to_write(self._data / FILE)
        except sqlite3.OperationalError as error:
            if not (self._reserve.is_needed(str(error)) and self._reserve.give_up()):
                raise
        return open_to_write(self._data / FILE)

    @staticmethod
    def _newest(connection: sqlite3.Connection) -> int:
        """Return the largest message number; 0 where there is none."""
        tables = ("part", "later_verdict", "revision", "event", "outbox", "delivery")
        largest = " UNION ALL ".join(f"SELECT max(number) AS n FROM {one}" for one in tables)  # noqa: S608 - ours
        (newest,) = connection.execute(f"SELECT max(n) FROM ({largest})").fetchone()  # noqa: S608
        return int(newest or 0)


def _migrated(before: int) -> Event:
    steps = [step.name for step in MIGRATIONS[before:]]
    return Event(
        EventName.STORAGE_MIGRATED,
        f"the store was brought from version {before} to {len(MIGRATIONS)} ({', '.join(steps)}): "
        "an older zeroline refuses it",
        {"from": before, "to": len(MIGRATIONS), "steps": steps},
    )
