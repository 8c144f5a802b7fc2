"""What waits to be written, and what tells that it is."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

#: SQL and its values.
Statement = tuple[str, tuple[Any, ...]]


#: Of all tickets: many thousand may wait, and one of each would take more room than their rows.
_changed = threading.Condition()


class Ticket:
    """Tells when something that was handed to the store is on the disk."""

    __slots__ = ("_stored", "left_unstored")

    def __init__(self) -> None:
        self._stored = self.left_unstored = False

    @property
    def stored(self) -> bool:
        """Whether its commit has returned: it survives a kill and a power cut."""
        return self._stored

    def wait(self, timeout: float) -> bool:
        """Wait for the commit, so many seconds at most; return `stored`."""
        if not self._stored:
            with _changed:
                _changed.wait_for(lambda: self._stored, timeout)
        return self._stored

    def leave(self) -> None:
        """Say that the verdict leaves before its commit; its row then says so, where it can."""
        self.left_unstored = True


def set_stored(tickets: Iterable[Ticket]) -> None:
    """Say that the commit of some tickets has returned."""
    with _changed:
        for ticket in tickets:
            ticket._stored = True  # for those who wait it is read-only
        _changed.notify_all()


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """Something that goes into the database whole.

    Attributes
    ----------
    statements : tuple of Statement
    ticket : Ticket or None
    part : str or None
        The id that is in the database with it.
    number : int or None
        Of the message.
    body : str or None
        The message as JSON, where an output waits for it.
    """

    statements: tuple[Statement, ...]
    ticket: Ticket | None = None
    part: str | None = None
    number: int | None = None
    body: str | None = None
