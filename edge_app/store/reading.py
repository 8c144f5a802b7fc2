"""What a store has, read while a station runs: short queries that can write nothing."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from zeroline.edge_app.errors import InputError
from zeroline.edge_app.store.schema import FILE, damaged, is_damage, open_to_read

#: Rows of one query: a long one would keep the WAL from being carried over.
_PAGE = 1000
_JSON = ("regions", "latency_ms", "data")
_TRUTHS = ("late", "unstored", "recurring", "near_duplicate", "admitted")


@dataclass(frozen=True)
class Wanted:
    """Which parts are wanted; all bounds together.

    Attributes
    ----------
    since, until : float or None
        Seconds since 1970: from the one on, and before the other.
    verdict : str or None
        "OK", "NG", "UNCERTAIN" or "FAULT": the verdict now, after revisions.
    camera : str or None
        Parts that this camera saw.
    part : str or None
        The id.
    lot, serial : str or None
        As the trigger told them.
    """

    since: float | None = None
    until: float | None = None
    verdict: str | None = None
    camera: str | None = None
    part: str | None = None
    lot: str | None = None
    serial: str | None = None

    def condition(self) -> tuple[str, list[Any]]:
        """Return the same as SQL, with its values."""
        terms, values = ["1"], list[Any]()
        for value, term in (
            (self.since, "part.wall >= ?"),
            (self.until, "part.wall < ?"),
            (self.verdict, "coalesce(part.revised, part.verdict) = ?"),
            (self.part, "part.id = ?"),
            (self.lot, "part.lot = ?"),
            (self.serial, "part.serial = ?"),
            (
                self.camera,
                "EXISTS (SELECT 1 FROM frame WHERE frame.number = part.number AND camera = ?)",
            ),
        ):
            if value is not None:
                terms.append(term)
                values.append(value)
        if self.verdict not in (None, "OK"):
            terms.append("coalesce(revised, verdict) <> 'OK'")  # for the index of those
        return " AND ".join(terms), values


class Records:
    """A store that is read. A context manager; for one thread at a time.

    Parameters
    ----------
    data : Path
        The data folder.

    Raises
    ------
    InputError
        If there is no store, or it cannot be read.
    """

    def __init__(self, data: Path) -> None:
        self.data = data
        self.connection = open_to_read(data / FILE)

    def __enter__(self) -> Records:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        """Close; an error of the database becomes one line."""
        self.connection.close()
        if isinstance(error, sqlite3.DatabaseError):
            path = self.data / FILE
            if is_damage(error):
                raise damaged(path, error) from error
            raise InputError(f'store "{path}" cannot be read: {error}') from error

    def parts(
        self, wanted: Wanted, *, limit: int | None = None, newest_first: bool = True
    ) -> Iterator[dict[str, Any]]:
        """Yield parts with their frames, as JSON objects.

        Parameters
        ----------
        wanted : Wanted
        limit : int, optional
            At the most.
        newest_first : bool
            By the number of their messages.
        """
        condition, values = wanted.condition()
        order, beyond = ("DESC", "<") if newest_first else ("ASC", ">")
        last, left = None, limit
        while left is None or left > 0:
            more = "" if last is None else f" AND number {beyond} ?"
            count = _PAGE if left is None else min(left, _PAGE)
            rows = self.connection.execute(
                f"SELECT * FROM part WHERE {condition}{more} ORDER BY number {order} LIMIT ?",  # noqa: S608 - ours
                (*values, *([] if last is None else [last]), count),
            ).fetchall()
            for row in rows:
                yield {**_plain(row), "frames": self._frames(row["number"])}
            if len(rows) < count:
                return
            last, left = rows[-1]["number"], None if left is None else left - len(rows)

    def part(self, part: str) -> dict[str, Any]:
        """Return all that is known of a part, as a JSON object.

        Raises
        ------
        InputError
            If there is none.
        """
        found = next(self.parts(Wanted(part=part)), None)
        if found is None:
            raise InputError(f'there is no part "{part}" in "{self.data / FILE}"')
        later = self._of("later_verdict", part, "number")
        return {
            **found,
            "later_verdicts": [{**one, "frames": self._frames(one["number"])} for one in later],
            "revisions": self._of("revision", part, "number"),
            "feedback": self._of("feedback", part, "id"),
            "events": self._of("event", part, "number"),
            "pictures": self._of("picture", part, "path"),
        }

    def revisions(self, part: str) -> dict[str, dict[str, Any]]:
        """Return the last revision of a part by each camera."""
        return {one["camera"]: one for one in self._of("revision", part, "number")}

    def answers(self) -> dict[str, str]:
        """Return what a person said last of each part, notes left out."""
        return dict(
            self.connection.execute(
                "SELECT part, answer FROM feedback WHERE answer <> 'note' ORDER BY id"
            ).fetchall()
        )

    def pictures(self, part: str, kind: str) -> dict[str, str]:
        """Return the paths of a part's pictures of a kind, in the data folder, by camera."""
        return {
            one["camera"]: one["path"]
            for one in self._of("picture", part, "path")
            if one["kind"] == kind
        }

    def _frames(self, number: int) -> list[dict[str, Any]]:
        rows = self.connection.execute("SELECT * FROM frame WHERE number = ?", (number,))
        return [_plain(row) for row in rows]

    def _of(self, table: str, part: str, order: str) -> list[dict[str, Any]]:
        rows = self.connection.execute(
            f"SELECT * FROM {table} WHERE part = ? ORDER BY {order}",  # noqa: S608 - ours
            (part,),
        )
        return [_plain(row) for row in rows]


def _plain(row: sqlite3.Row) -> dict[str, Any]:
    """Return a row as a JSON object."""
    values = dict(row)
    for name in _JSON:
        if values.get(name) is not None:
            values[name] = json.loads(values[name])
    for name in _TRUTHS:
        if values.get(name) is not None:
            values[name] = bool(values[name])
    return values
