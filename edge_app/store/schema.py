"""The tables of a store, and the named steps that lead an older file to them."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from zeroline.edge_app.errors import InputError

#: The database in a data folder.
FILE = "zeroline.sqlite"
#: Bytes. A part changes about five pages: with pages of 1024 the disk writes 17 kB for a part, with
#: 4096 it writes 29 kB (docs/store.md).
PAGE = 1024


class Migration(NamedTuple):
    """A step from one version to the next; all of it happens, or nothing.

    Attributes
    ----------
    name : str
        What it brings.
    statements : tuple of str
        SQL.
    """

    name: str
    statements: tuple[str, ...]


_RECORDS = Migration(
    "records",
    (
        # `number` is that of the message: rows are appended, and the newest is found at once
        """CREATE TABLE part (
            number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, station TEXT, run TEXT,
            wall REAL NOT NULL, verdict TEXT NOT NULL, reason TEXT, late INTEGER NOT NULL,
            unstored INTEGER NOT NULL, lot TEXT, serial TEXT, decided_ms REAL, revised TEXT)""",
        "CREATE INDEX part_by_time ON part (wall)",
        """CREATE INDEX part_not_ok ON part (coalesce(revised, verdict), wall)
            WHERE coalesce(revised, verdict) <> 'OK'""",
        # a second verdict on a part, as after its deadline; the first one stays in `part`
        """CREATE TABLE later_verdict (
            number INTEGER PRIMARY KEY, part TEXT NOT NULL, run TEXT, wall REAL NOT NULL,
            verdict TEXT NOT NULL, reason TEXT, late INTEGER NOT NULL, decided_ms REAL)""",
        "CREATE INDEX later_verdict_by_part ON later_verdict (part)",
        """CREATE TABLE frame (
            number INTEGER NOT NULL, camera TEXT NOT NULL, recipe TEXT, recipe_version TEXT,
            bundle TEXT, source TEXT, frame INTEGER, wall REAL, verdict TEXT NOT NULL, reason TEXT,
            score REAL, raw_score REAL, threshold REAL, recurring INTEGER, near_duplicate INTEGER,
            admitted INTEGER, compared_with INTEGER, regions TEXT, fault TEXT, latency_ms TEXT,
            PRIMARY KEY (number, camera)) WITHOUT ROWID""",
        """CREATE TABLE revision (
            number INTEGER PRIMARY KEY, part TEXT, camera TEXT, run TEXT, wall REAL NOT NULL,
            verdict TEXT NOT NULL, reason TEXT, first_verdict TEXT NOT NULL, recurring INTEGER,
            score REAL, raw_score REAL, threshold REAL)""",
        "CREATE INDEX revision_by_part ON revision (part) WHERE part IS NOT NULL",
        """CREATE TABLE event (
            number INTEGER PRIMARY KEY, wall REAL NOT NULL, name TEXT NOT NULL, run TEXT,
            station TEXT, camera TEXT, part TEXT, by TEXT, text TEXT NOT NULL, data TEXT)""",
        "CREATE INDEX event_by_part ON event (part) WHERE part IS NOT NULL",
        """CREATE TABLE feedback (
            id INTEGER PRIMARY KEY, part TEXT NOT NULL, wall REAL NOT NULL, answer TEXT NOT NULL,
            note TEXT NOT NULL, by TEXT NOT NULL)""",
        "CREATE INDEX feedback_by_part ON feedback (part)",
        """CREATE TABLE recipe_version (
            version TEXT PRIMARY KEY, name TEXT NOT NULL, text TEXT NOT NULL, wall REAL NOT NULL)
            WITHOUT ROWID""",
        """CREATE TABLE run (
            run TEXT PRIMARY KEY, station TEXT, program TEXT NOT NULL, wall REAL NOT NULL)
            WITHOUT ROWID""",
        # rank: 0 of an OK part, 1 of an UNCERTAIN or FAULT one, 2 of an NG one
        """CREATE TABLE picture (
            path TEXT PRIMARY KEY, part TEXT NOT NULL, camera TEXT NOT NULL, kind TEXT NOT NULL,
            bytes INTEGER NOT NULL, rank INTEGER NOT NULL, wall REAL NOT NULL,
            kept_until REAL NOT NULL) WITHOUT ROWID""",
        "CREATE INDEX picture_by_part ON picture (part)",
        "CREATE INDEX picture_by_age ON picture (rank, kept_until)",
    ),
)
_OUTBOX = Migration(
    "outbox",
    (
        "CREATE TABLE outbox (number INTEGER PRIMARY KEY, body TEXT NOT NULL)",
        "CREATE TABLE delivery (output TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID",
    ),
)
# a part is found at once by what its trigger called it; parts without such names take no room
_NAMES = Migration(
    "names",
    (
        "CREATE INDEX part_by_lot ON part (lot) WHERE lot IS NOT NULL",
        "CREATE INDEX part_by_serial ON part (serial) WHERE serial IS NOT NULL",
    ),
)
#: In order, never changed; a file's `user_version` counts those that it has.
MIGRATIONS = (_RECORDS, _OUTBOX, _NAMES)


def version_of(connection: sqlite3.Connection, path: Path) -> int:
    """Return the version of a database.

    Raises
    ------
    InputError
        If it is newer than this program.
    """
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > len(MIGRATIONS):
        raise InputError(
            f'store "{path}" has version {version}, this zeroline knows up to {len(MIGRATIONS)}: '
            "a newer zeroline has written it. Install that one, or restore a backup of before "
            "(zeroline records restore)"
        )
    return version


def migrate(connection: sqlite3.Connection, path: Path) -> int:
    """Lead a database to the newest version, each step in one transaction.

    Parameters
    ----------
    connection : Connection
        With ``isolation_level=None``.
    path : Path
        For the error.

    Returns
    -------
    int
        The version that it had; 0 of a new file.

    Raises
    ------
    InputError
        If the database is newer than this program.
    sqlite3.Error
        If a step fails; the database is then as before it.
    """
    done = version_of(connection, path)
    for version, migration in enumerate(MIGRATIONS[done:], done + 1):
        connection.execute("BEGIN IMMEDIATE")
        try:
            for statement in migration.statements:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {version}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
    return done


def open_to_write(path: Path) -> tuple[sqlite3.Connection, int]:
    """Open a database as its one writer; an older one is led on, and made where there is none.

    Its owner alone writes and checkpoints: SQLite before 3.51.3 may damage a file where two
    connections do.

    Returns
    -------
    Connection
    int
        The version that it had; 0 of a new file.

    Raises
    ------
    InputError
        If it is damaged, or newer than this program; it is left as it is.
    sqlite3.OperationalError
        If it cannot be opened for another reason, such as a full disk.
    """
    connection = sqlite3.connect(path, timeout=1.0, isolation_level=None, check_same_thread=False)
    try:
        connection.execute(f"PRAGMA page_size = {PAGE}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        before = migrate(connection, path)
    except BaseException as error:
        connection.close()
        if isinstance(error, sqlite3.DatabaseError) and is_damage(error):
            raise damaged(path, error) from error
        raise
    return connection, before


def open_to_read(path: Path) -> sqlite3.Connection:
    """Open a database that may only be read; any thread may use it, one at a time.

    Raises
    ------
    InputError
        If there is none, or it is damaged, or of another version than this program's.
    """
    if not path.is_file():
        raise InputError(
            f'there is no store "{path}": --data names a data folder, or a station\'s file'
        )
    try:
        try:
            connection, version = _opened_to_read(path)
        except sqlite3.OperationalError:
            # a disk that may only be read: no station writes there where there is no WAL
            if path.with_name(f"{FILE}-wal").exists():
                raise
            connection, version = _opened_to_read(path, more="&immutable=1")
    except sqlite3.DatabaseError as error:
        if is_damage(error):
            raise damaged(path, error) from error
        raise InputError(f'store "{path}" cannot be read: {error}') from error
    if version < len(MIGRATIONS):
        connection.close()
        raise InputError(
            f'store "{path}" has version {version}, {len(MIGRATIONS)} is expected: '
            "the next start of the station brings it there"
        )
    connection.row_factory = sqlite3.Row
    return connection


def _opened_to_read(path: Path, *, more: str = "") -> tuple[sqlite3.Connection, int]:
    """Return a connection, and the version of what it reads."""
    address = f"file:{quote(str(path.absolute()))}?mode=ro{more}"
    connection = sqlite3.connect(
        address, uri=True, timeout=5.0, isolation_level=None, check_same_thread=False
    )
    try:
        return connection, version_of(connection, path)
    except BaseException:
        connection.close()
        raise


def is_damage(error: sqlite3.DatabaseError) -> bool:
    """Tell whether an error is one of the file's content."""
    return "not a database" in str(error) or "malformed" in str(error)


def damaged(path: Path, error: sqlite3.DatabaseError) -> InputError:
    """Return what a person is told of a damaged file."""
    return InputError(
        f'store "{path}" is damaged ({error}). It is left as it is: move it away, or restore a '
        "backup (zeroline records restore)"
    )
