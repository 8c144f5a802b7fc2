"""How far a line has come through its source."""

from __future__ import annotations

from collections.abc import Callable

from zeroline.edge_app.messages import Kind, Message


class Progress:
    """Counts parts.

    Parameters
    ----------
    advance : callable
        Takes the number of parts just done.
    """

    def __init__(self, advance: Callable[[int], None]) -> None:
        self._advance = advance

    def take(self, message: Message, /) -> None:
        """Count a part."""
        if message.kind is Kind.PART:
            self._advance(1)

    def safe(self, why: str, /) -> None:
        """Nothing is to be done."""

    def close(self) -> None:
        """Nothing is left to do."""
