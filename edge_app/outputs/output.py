"""What an output is, and what it adds to a message."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from zeroline.edge_app.errors import OutputError
from zeroline.edge_app.messages import Message
from zeroline.runtime.results import Verdict


class Output(Protocol):
    """Takes messages, in order, each call from the output's own thread.

    A call may raise, wait or hang: nothing else notices.
    """

    def take(self, message: Message, /) -> None:
        """Take a message.

        Raises
        ------
        TryAgainError
            It is to be given once more, before all others.
        Exception
            This message is lost to it.
        """

    def safe(self, why: str, /) -> None:
        """Stand safe, which is not OK; `why` is start, stop, fault, pause or setup."""

    def close(self) -> None:
        """Finish."""


@runtime_checkable
class Durable(Protocol):
    """An output that reads what it has not sent from an outbox: a full queue loses nothing."""

    @property
    def delivered_up_to(self) -> int:
        """Number of the last message that is done with."""

    def catch_up(self) -> None:
        """Send what the outbox has; called at the start, and again while it raises TryAgainError.

        Raises
        ------
        TryAgainError
        """


class Outbox(Protocol):
    """Messages that the store keeps for an output until they are delivered.

    They come into it in the order of their numbers; some may be missing.
    """

    @property
    def delivered_up_to(self) -> int:
        """Number of the last delivered message, over restarts; 0 before the first."""

    def after(self, number: int, limit: int) -> list[tuple[int, str]]:
        """Return the first `limit` messages after one, with their bodies as JSON, in order."""


class TryAgainError(OutputError):
    """A message that an output will take later.

    Parameters
    ----------
    text : str
        What does not work; empty where it works, and there is more to do.
    after : float
        Seconds until the next try.
    missed : int
        Messages that are lost to the output by now.
    """

    def __init__(self, text: str, *, after: float, missed: int = 0) -> None:
        super().__init__(text)
        self.after, self.missed = after, missed


def completed(body: Mapping[str, Any], *, uncertain: str, unstored: bool) -> dict[str, Any]:
    """Return a message's body with what its output says of it: `action` of a part, and `unstored`.

    Parameters
    ----------
    body : mapping
    uncertain : {"reject", "third", "stop"}
        The action of an UNCERTAIN part.
    unstored : bool
        Whether it leaves before the store has it.
    """
    if "late" not in body:  # it is no part
        return {**body, "unstored": unstored}
    actions = {Verdict.OK.value: "pass", Verdict.UNCERTAIN.value: uncertain}
    return {**body, "action": actions.get(body["verdict"], "reject"), "unstored": unstored}
