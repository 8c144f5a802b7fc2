"""The search for recurring defects beside the line: when it starts, and what became of it.

The window's distances go through CoDeGraph (`zeroline.runtime.recurring`) on a thread of their
own. What a search finds is applied a fixed number of frames after its start, so that the verdicts
on a file do not depend on the machine's speed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from zeroline.runtime.errors import in_one_line
from zeroline.runtime.recurring.codegraph import CodegraphResult
from zeroline.runtime.recurring.constants import LEAST, LEAST_IMAGES
from zeroline.runtime.recurring.members import least_members

#: What a search has found is applied so many frames after its start.
PATIENCE = 8
#: Frames that a search sees, the newest: its cost grows with their square and more.
MOST_FRAMES = 256
#: A search may begin so many times while as many frames pass as it sees.
MOST_SEARCHES = 8
#: False alarms of a recurring defect for each part, under the model of steady distances: a search
#: answers for the parts since the one before, so that a day has as many as another.
ALARMS_PER_PART = 1 / 5000

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SearchOutcome:
    """What a search has brought.

    Attributes
    ----------
    frames : tuple of (int, int)
        Places in the window and numbers of the frames that it saw.
    known : tuple of int
        Numbers of the defects that were known, in the order of the result's `borne_out`.
    result : CodegraphResult or None
        None where it failed.
    gaps : tuple of float
        For each community, the gap by which newcomers are recognised.
    failure : str
        Why it failed; empty else.
    """

    frames: tuple[tuple[int, int], ...]
    known: tuple[int, ...]
    result: CodegraphResult | None
    gaps: tuple[float, ...] = ()
    failure: str = ""


class SearchSchedule:
    """When a search begins: once while as many frames pass as it sees, and sooner for a reason.

    One reason is that NG frames match each other (`DefectTracker` counts them). A search that
    finds nothing doubles the wait for the next one, unless three more frames match by then. The
    plain schedule, every W/4 frames, raised alarms as soon, and searched three times as often
    (docs/performance.md). The other reason is that recognised frames wait to be confirmed: then
    after half as many frames.

    Parameters
    ----------
    capacity : int
        W.
    """

    def __init__(self, capacity: int) -> None:
        seen = min(capacity, MOST_FRAMES)
        self._longest = max(LEAST_IMAGES, seen)
        self._shortest = self._wait = max(4, seen // MOST_SEARCHES)
        self._alike = 0  # NG frames that matched each other at the last search, or fewer since
        self.since = -1  # frames since the last search

    @property
    def rate(self) -> float:
        """The false-alarm rate of a search that begins now: it answers for the frames since."""
        return min(0.5, ALARMS_PER_PART * max(1, self.since + 1))

    def due(self, filled: int, alike: Callable[[], int], *, waiting: bool = False) -> bool:
        """Tell whether a search shall begin.

        Parameters
        ----------
        filled : int
            Frames in the window.
        alike : callable
            Counts the NG frames that match each other.
        waiting : bool
            Whether recognised frames wait to be confirmed.
        """
        if filled < LEAST_IMAGES or self.since < self._shortest:
            return False
        if self.since >= (self._longest // 2 if waiting else self._longest):
            return True
        count, least = alike(), least_members(filled)
        if count < least / 2:
            self._wait = self._shortest
        self._alike = min(self._alike, count)
        more = count >= self._alike + LEAST
        return count >= least and (more or self.since >= self._wait)

    def began(self, alike: int) -> None:
        """Take note that a search has begun, while so many NG frames match each other."""
        self.since, self._alike = 0, alike
        self._wait = min(2 * self._wait, self._longest)

    def succeeded(self) -> None:
        """Take note that a search has found something."""
        self._wait = self._shortest


#: What a search does: the result, and for each community the gap that newcomers are held against.
Search = Callable[[], tuple[CodegraphResult, Sequence[float]]]


class RecurringSearch:
    """Runs one search at a time, again and again.

    Parameters
    ----------
    wait : bool
        Whether a search that is not ready when it is due is waited for, so that verdicts repeat;
        else it is asked again with the next frame.
    """

    def __init__(self, *, wait: bool) -> None:
        self._wait = wait
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="zeroline-recurring")
        self._running: Future[Any] | None = None
        self._frames: tuple[tuple[int, int], ...] = ()
        self._known: tuple[int, ...] = ()

    @property
    def running(self) -> bool:
        """Whether a search has begun and its outcome was not taken."""
        return self._running is not None

    def begin(self, frames: list[tuple[int, int]], known: Sequence[int], search: Search) -> None:
        """Start a search.

        Parameters
        ----------
        frames : list of (int, int)
            Places and numbers of the frames that it sees.
        known : sequence of int
            Numbers of the defects whose members it measures again.
        search : callable
            The search.
        """
        self._frames, self._known = tuple(frames), tuple(known)
        self._running = self._thread.submit(search)

    def outcome(self) -> SearchOutcome | None:
        """Return what the search has brought; None where none has begun, or it is not ready."""
        search = self._running
        if search is None or not (self._wait or search.done()):
            return None
        self._running = None
        try:
            result, gaps = search.result()
            return SearchOutcome(self._frames, self._known, result, tuple(gaps))
        except Exception as error:  # noqa: BLE001 - the line goes on without this search
            _log.warning("a search for recurring defects failed", exc_info=True)
            return SearchOutcome(self._frames, (), None, failure=in_one_line(error))

    def close(self) -> None:
        """End the thread; more than once does no harm."""
        self._thread.shutdown(wait=True, cancel_futures=True)
