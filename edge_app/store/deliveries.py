"""Which messages durable outputs have, and which are kept for them."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path

from zeroline.edge_app.events import Event, EventName
from zeroline.edge_app.store.entries import Entry
from zeroline.edge_app.store.schema import FILE, open_to_read

#: Messages that are kept for outputs that do not take them.
MOST_KEPT = 100_000
#: Keeps a message; its number and its body.
KEEP = "INSERT INTO outbox VALUES (?, ?)"


class Outbox:
    """What a durable output has still to take, in order; for the output's own thread.

    Parameters
    ----------
    folder : Path
        The data folder.
    delivered_up_to : int
        See below.

    Attributes
    ----------
    delivered_up_to : int
        Number of the last message that the output had at the start.
    """

    def __init__(self, folder: Path, delivered_up_to: int) -> None:
        self._reader = open_to_read(folder / FILE)
        self._lock = threading.Lock()
        self.delivered_up_to = delivered_up_to

    def after(self, number: int, limit: int) -> list[tuple[int, str]]:
        """Return the numbers and bodies of stored messages after one, ascending, `limit` at most.

        Raises
        ------
        sqlite3.OperationalError
            If the database cannot be read now.
        """
        with self._lock:
            rows = self._reader.execute(
                "SELECT number, body FROM outbox WHERE number > ? ORDER BY number LIMIT ?",
                (number, limit),
            ).fetchall()
        return [(row["number"], row["body"]) for row in rows]

    def close(self) -> None:
        """End reading."""
        with self._lock:
            self._reader.close()


class Deliveries:
    """Keeps messages until all durable outputs have them; the writer writes it with each commit.

    Parameters
    ----------
    connection : Connection
        The writer's; used here before it starts only.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._lock = threading.Lock()
        self._cursors: dict[str, int] = dict(
            connection.execute("SELECT output, number FROM delivery")
        )
        self._outputs: set[str] = set()
        self._new: dict[str, int] = {}  # cursors that the database does not have
        self._writing: dict[str, int] = {}
        self._kept = self._count = int(
            connection.execute("SELECT count(*) FROM outbox").fetchone()[0]
        )
        self._trimmed = self._least = 0  # all up to here are gone, or go with this commit
        self._lost: list[int] = []
        self._telling: set[str] = set()  # outputs that lose messages now

    @property
    def wanted(self) -> bool:
        """Whether an output waits for messages."""
        return bool(self._outputs)

    @property
    def dirty(self) -> bool:
        """Whether the database does not have all cursors."""
        return bool(self._new)

    @property
    def kept(self) -> int:
        """Messages that are kept."""
        return self._kept

    def register(self, output: str, newest: int) -> int:
        """Take an output in; return the last message that it has.

        Parameters
        ----------
        output : str
            Its name.
        newest : int
            The newest message; a new output begins after it.
        """
        with self._lock:
            self._outputs.add(output)
            if output not in self._cursors:
                self._cursors[output] = self._new[output] = newest
            return self._cursors[output]

    def delivered(self, output: str, number: int) -> None:
        """Say that an output has all messages up to one."""
        with self._lock:
            if number > self._cursors.get(output, 0):
                self._cursors[output] = self._new[output] = number

    def write(self, connection: sqlite3.Connection, group: Sequence[Entry]) -> None:
        """Write cursors within a transaction that has new messages; drop what nobody needs."""
        with self._lock:
            self._writing, self._new = self._new, {}
            least = min((self._cursors[name] for name in self._outputs), default=0)
        connection.executemany(
            "INSERT OR REPLACE INTO delivery VALUES (?, ?)", list(self._writing.items())
        )
        self._count = self._kept + sum(entry.body is not None for entry in group)
        if least > self._trimmed:
            gone = connection.execute("DELETE FROM outbox WHERE number <= ?", (least,))
            self._count -= gone.rowcount
        self._lost = []
        if self._count > MOST_KEPT:
            oldest = connection.execute(
                "SELECT number FROM outbox ORDER BY number LIMIT ?", (self._count - MOST_KEPT,)
            )
            self._lost = [number for (number,) in oldest]
            connection.execute("DELETE FROM outbox WHERE number <= ?", (self._lost[-1],))
            self._count = MOST_KEPT
        self._least = least

    def undo(self) -> None:
        """Say that the transaction has not happened."""
        with self._lock:
            self._new = self._writing | self._new
        self._writing, self._lost = {}, []

    def written(self) -> None:
        """Say that the transaction has happened."""
        self._writing, self._kept = {}, self._count
        self._trimmed = max(self._trimmed, self._least)

    def told(self) -> list[Event]:
        """Return what is to be told: outputs that lose messages from now on, once for each."""
        if not self._lost:
            if self._kept < MOST_KEPT:
                self._telling.clear()
            return []
        with self._lock:
            behind = {
                n: self._cursors[n] for n in self._outputs if self._cursors[n] < self._lost[-1]
            }
        new = sorted(behind.keys() - self._telling)
        self._telling |= behind.keys()
        first, self._lost = self._lost[0], []
        return [
            Event(
                EventName.OUTPUT_DROPPED,
                f"output {name} loses messages: it has taken none since {behind[name]}, and "
                f"{MOST_KEPT} wait",
                {"output": name, "first": first, "waiting": self._kept},
            )
            for name in new
        ]
