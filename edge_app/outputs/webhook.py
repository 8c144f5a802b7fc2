"""A webhook: each message is one signed POST to the plant's own server, at least once, in order."""

from __future__ import annotations

import json
import logging
import random
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from zeroline.edge_app.errors import OutputError
from zeroline.edge_app.messages import Message
from zeroline.edge_app.outputs.output import Outbox, TryAgainError, completed
from zeroline.edge_app.outputs.posting import NotTakenError, Poster

#: Answers that speak of this message, not of the address, the secret or the server.
ABOUT_THE_MESSAGE = frozenset({400, 409, 413, 415, 422})
#: Tries of a message for any other failure, before it is held for its own fault.
TRIES = 5
#: Seconds before the second try, doubled with each one, and the most of them.
FIRST_WAIT, LONGEST_WAIT = 0.5, 60.0
#: Seconds in one call, and messages in one look at the outbox: a long backlog is sent in pieces.
_PIECE, _BATCH = 1.0, 100
#: Messages sent from memory whose numbers are kept, so that the outbox does not bring them again.
_REMEMBERED = 100_000

_log = logging.getLogger(__name__)


class Webhook:
    """Posts messages from memory.

    A message that fails is tried again, first after half a second, then ever later up to a minute,
    and all later ones wait. What tells a message that no server takes from a server that takes
    nothing is the last message that it took, sent once more: receivers drop repeated numbers. If
    it is taken again and the one in question still is not, that one is skipped, as an error.

    Parameters
    ----------
    url : str
    secret : str or None
        Signs each message.
    timeout_s : float
        Seconds to wait for an answer.
    uncertain : {"reject", "third", "stop"}
        The action of an UNCERTAIN part.
    """

    def __init__(
        self, url: str, *, secret: str | None, timeout_s: float = 5.0, uncertain: str = "reject"
    ) -> None:
        self._poster = Poster(url, secret=secret, timeout_s=timeout_s)
        self._uncertain = uncertain
        self._last: tuple[int, bytes] | None = None  # that was taken
        self._tries = 0  # of the message under way
        self._random = random.Random()  # noqa: S311 - for waits

    def take(self, message: Message, /) -> None:
        """Post a message.

        Raises
        ------
        TryAgainError
        OutputError
            If the server refuses this message alone.
        """
        body = completed(message.body, uncertain=self._uncertain, unstored=message.unstored)
        self._send(message.number, body)

    def safe(self, why: str, /) -> None:
        """Post nothing: an event tells it."""

    def close(self) -> None:
        """Let go of the connection."""
        self._poster.close()

    def _send(self, number: int, body: dict[str, Any]) -> None:
        packed = json.dumps(body, allow_nan=False).encode()
        error = self._tried(number, packed)
        self._tries += 1
        if error is not None and self._others_are_taken(error):
            if self._last is not None:
                error = self._tried(number, packed)
            if error is not None:
                self._tries = 0
                raise OutputError(f"message {number} is skipped, {error}")
        if error is not None:
            raise TryAgainError(str(error), after=self._wait(error))
        self._last, self._tries = (number, packed), 0

    def _tried(self, number: int, body: bytes) -> NotTakenError | None:
        try:
            self._poster.post(number, body)
        except NotTakenError as error:
            return error
        return None

    def _others_are_taken(self, error: NotTakenError) -> bool:
        """Tell whether the server takes what it took before, where a message may be at fault."""
        refused = error.status in ABOUT_THE_MESSAGE
        if not refused and self._tries < TRIES:
            return False
        return refused if self._last is None else self._tried(*self._last) is None

    def _wait(self, error: NotTakenError) -> float:
        longest = min(FIRST_WAIT * 2.0 ** min(self._tries - 1, 20), LONGEST_WAIT)
        wait = self._random.uniform(longest / 2, longest)
        return wait if error.wish is None else max(wait, error.wish)


class DurableWebhook(Webhook):
    """Posts what the store has, from the last delivered message on; see `Webhook`.

    What the outbox does not have yet goes from memory, and not again when it is there. Whatever
    ends the process, the next one goes on: the last messages may come twice.

    Parameters
    ----------
    url, secret, timeout_s, uncertain
        As of `Webhook`.
    outbox : Outbox
        Read in this output's own thread.
    delivered : callable
        Takes the number up to which messages are done with.
    """

    def __init__(
        self,
        url: str,
        *,
        outbox: Outbox,
        delivered: Callable[[int], None],
        secret: str | None,
        timeout_s: float = 5.0,
        uncertain: str = "reject",
    ) -> None:
        super().__init__(url, secret=secret, timeout_s=timeout_s, uncertain=uncertain)
        self._outbox, self._delivered = outbox, delivered
        self._up_to = outbox.delivered_up_to
        self._read: deque[tuple[int, str]] = deque()
        self._sent: dict[int, None] = {}  # from memory, and not seen in the outbox yet
        if self._up_to > 0:
            for number, body in outbox.after(self._up_to - 1, 1):
                if number == self._up_to:
                    self._last = number, json.dumps(self._stored(body)).encode()

    @property
    def delivered_up_to(self) -> int:
        """Number of the last message that is done with."""
        return max(self._up_to, next(reversed(self._sent), 0))

    def catch_up(self) -> None:
        """Send what the outbox has.

        Raises
        ------
        TryAgainError
        """
        self._drain(None)

    def take(self, message: Message, /) -> None:
        """Post what the outbox has up to this message, and it from memory where it is not there.

        Raises
        ------
        TryAgainError
        OutputError
            If the server refuses this message alone.
        """
        self._drain(message.number)
        if message.number > self._up_to and message.number not in self._sent:
            try:
                super().take(message)
            except TryAgainError:
                raise
            except OutputError:
                self._from_memory(message.number)  # the outbox would bring it again
                raise
            self._from_memory(message.number)

    def _from_memory(self, number: int) -> None:
        self._sent[number] = None
        if len(self._sent) > _REMEMBERED:
            del self._sent[next(iter(self._sent))]

    def _drain(self, last: int | None) -> None:
        """Send what the outbox has, up to a number."""
        began = time.monotonic()
        while (stored := self._next(last)) is not None:
            number, text = stored
            fault = None
            if number not in self._sent:
                try:
                    self._send(number, self._stored(text))
                except TryAgainError:
                    raise
                except OutputError as error:
                    fault = str(error)
            self._read.popleft()
            self._sent.pop(number, None)
            self._up_to = number
            self._delivered(number)
            if fault is not None:
                raise TryAgainError(fault, after=0.0, missed=1)
            if time.monotonic() - began > _PIECE:
                raise TryAgainError("", after=0.0)

    def _next(self, last: int | None) -> tuple[int, str] | None:
        if not self._read:
            try:
                self._read.extend(self._outbox.after(self._up_to, _BATCH))
            except Exception:  # noqa: BLE001 - a store that fails must not stop verdicts
                _log.warning("the outbox cannot be read", exc_info=True)
        if not self._read or (last is not None and self._read[0][0] > last):
            return None
        return self._read[0]

    def _stored(self, text: str) -> dict[str, Any]:
        return completed(json.loads(text), uncertain=self._uncertain, unstored=False)
