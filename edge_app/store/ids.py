"""Ids of parts: which are taken, and how the station's own go on."""

from __future__ import annotations

import sqlite3
import threading


class Ids:
    """Knows the ids of all parts: stored, waiting to be stored, and promised.

    Parameters
    ----------
    reader : Connection
        May only read; used by one thread at a time, whichever.
    """

    def __init__(self, reader: sqlite3.Connection) -> None:
        self._reader, self._lock = reader, threading.Lock()
        self._promised: set[str] = set()  # asked for, and not yet committed
        self._waiting: set[str] = set()  # written, and not yet committed

    def has(self, part: str) -> bool:
        """Tell whether there is a part of an id, also one that waits for its commit."""
        with self._lock:
            return part in self._waiting or self._stored(part)

    def free(self, name: str) -> str:
        """Return an id that no part has, and keep it for the caller.

        Parameters
        ----------
        name : str
            It is the id where it is free, else ``name (2)``, ``name (3)`` and so on.
        """
        with self._lock:
            found = name
            if self._taken(name):
                # n is free and n - 1 is not: doubling, then halving, asks a few times only
                low, high = 1, 2
                while self._taken(f"{name} ({high})"):
                    low, high = high, high * 2
                while high - low > 1:
                    middle = (low + high) // 2
                    if self._taken(f"{name} ({middle})"):
                        low = middle
                    else:
                        high = middle
                found = f"{name} ({high})"
            self._promised.add(found)
            return found

    def last_counter(self, prefix: str) -> int:
        """Return the largest N of the stored ids ``<prefix>-N``; 0 where there is none."""
        first, end = f"{prefix}-", f"{prefix}."  # "." comes after "-"
        with self._lock:
            (largest,) = self._reader.execute(
                "SELECT max(CAST(substr(id, ?) AS INTEGER)) FROM part "
                "WHERE id > ? AND id < ? AND substr(id, ?) NOT GLOB '*[^0-9]*'",
                (len(first) + 1, first, end, len(first) + 1),
            ).fetchone()
        return int(largest or 0)

    def written(self, part: str) -> None:
        """Say that a part waits for its commit."""
        with self._lock:
            self._waiting.add(part)

    def settled(self, parts: list[str]) -> None:
        """Say that parts are in the database, or never will be."""
        with self._lock:
            self._promised.difference_update(parts)
            self._waiting.difference_update(parts)

    def _taken(self, part: str) -> bool:
        return part in self._promised or part in self._waiting or self._stored(part)

    def _stored(self, part: str) -> bool:
        found = self._reader.execute("SELECT 1 FROM part WHERE id = ?", (part,)).fetchone()
        return found is not None
