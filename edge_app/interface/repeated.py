"""Requests that come twice: the second one gets the answer of the first."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from zeroline.edge_app.control import RefusedError

#: Seconds for which an answer is kept, and the most answers.
KEPT, MOST = 600.0, 100_000


class Repeated:
    """Keeps answers by the key that a client has made up for its request (Idempotency-Key)."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answers: OrderedDict[str, tuple[float, object, str]] = OrderedDict()

    def answer(self, key: str | None, asked: object, do: Callable[[], str]) -> str:
        """Return what `do` returns, or has returned when the key came before.

        Parameters
        ----------
        key : str or None
            Without one it is always done.
        asked : object
            What is asked for; equal where the same is.
        do : callable
            Returns at once. What it refuses is not kept: the client may ask again.

        Raises
        ------
        RefusedError
            `invalid`: the key came with another request.
        """
        if key is None:
            return do()
        with self._lock:
            now = time.monotonic()
            while self._answers:
                oldest = next(iter(self._answers))
                if now - self._answers[oldest][0] < KEPT and len(self._answers) < MOST:
                    break
                del self._answers[oldest]
            if key in self._answers:
                _, before, answer = self._answers[key]
                if before != asked:
                    raise RefusedError(
                        f'Idempotency-Key "{key}" came before with another request', kind="invalid"
                    )
                return answer
            answer = do()
            self._answers[key] = now, asked, answer
            return answer
