"""Recurring defects on a line: looked for beside it, and recognised in each frame once known.

Once in W frames (256 at most), and sooner where NG frames look alike, the window's distances go
through CoDeGraph (`zeroline.runtime.recurring`) on a thread of their own; what it finds is
applied a fixed number of frames later, so that a line's verdicts do not depend on the machine's
speed. The marked patches are then ignored from all frames, one frame with each push. From then on
each new frame is held against the known defect alone: some hundred patches instead of the whole
window.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from zeroline.runtime.arrays import array_namespace, to_host
from zeroline.runtime.grid import outermost, widened
from zeroline.runtime.line.window import Matches, Window, mean_distances
from zeroline.runtime.recurring.codegraph import (
    LEAST_IMAGES,
    CodegraphResult,
    Community,
    codegraph,
)
from zeroline.runtime.recurring.communities import LEAST
from zeroline.runtime.recurring.members import least_members
from zeroline.runtime.recurring.recognition import marks_of_newcomer

Bools = npt.NDArray[np.bool_]

#: What a search has found is applied so many frames after its start.
PATIENCE = 8
#: Frames that a search looks at, the newest: its cost grows with their square and more.
MOST = 256
#: A group of which more than this share are frames of a reference bank is a normal look.
_REFERENCES = 0.1


@dataclass(frozen=True)
class Carrier:
    """A frame of the window that has a recurring defect.

    Attributes
    ----------
    slot : int
    marks : array, shape (P,), bool
        Where.
    examples : tuple of arrays, shape (m, C_l)
        Features of its marked patches, by layer, of the smallest degree.
    """

    slot: int
    marks: Bools
    examples: tuple[Any, ...]


@dataclass
class KnownDefect:
    """A recurring defect that has been found.

    Attributes
    ----------
    number : int
        From 1.
    since : int
        The first frame that is known to have it.
    relevant, gap : float
        See `marks_of_newcomer`.
    carriers : dict
        Frames of the window that have it, by slot.
    """

    number: int
    since: int
    relevant: float
    gap: float
    carriers: dict[int, Carrier] = field(default_factory=dict)


@dataclass(frozen=True)
class SearchResult:
    """What a search brought: a defect, and frames of the window that were not known to have it.

    Attributes
    ----------
    known : KnownDefect
    new : bool
        Whether the defect was not known before.
    slots : tuple of int
    """

    known: KnownDefect
    new: bool
    slots: tuple[int, ...]


class DefectTracker:
    """Watches a window for recurring defects.

    Parameters
    ----------
    window : Window
    roi : array, shape (P,), bool
        Patches that count.
    blur : int
        How far the largest degree spreads a mark, in patches.
    """

    def __init__(self, window: Window, *, roi: Bools, blur: int) -> None:
        self._window, self._roi, self._blur = window, roi, blur
        capacity = window.shape.capacity
        looked_at = min(capacity, MOST)
        self._every, self._soonest = max(LEAST_IMAGES, looked_at), max(4, looked_at // 8)
        self._edge = outermost(len(roi))[roi]
        self._entered = np.zeros(capacity, np.int64)  # the frame that a slot holds
        self._reference: Bools = np.zeros(capacity, bool)
        self._known: list[KnownDefect] = []
        self._names = 0
        self._to_ignore: list[tuple[int, Bools]] = []
        self._searcher = ThreadPoolExecutor(1, thread_name_prefix="zeroline-recurring")
        self._search: tuple[int, list[tuple[int, int]], Future[CodegraphResult]] | None = None
        self._last = 0
        self._unexplained: dict[int, int] = {}  # NG frames without a known defect: worst patches
        self._wait = self._soonest  # frames to the next search, where no more look alike by then
        self._seen_alike = 0  # how many did at the last search

    @property
    def known(self) -> tuple[KnownDefect, ...]:
        """Defects that frames of the window have."""
        return tuple(self._known)

    def recognise(
        self, features: Sequence[Any], matches: Matches
    ) -> tuple[KnownDefect, Bools] | None:
        """Return the known defect that a new frame has, and where (P',); None where it has none.

        Parameters
        ----------
        features : sequence of arrays, shape (P', C_l)
            By scale.
        matches : Matches
        """
        if not self._known:
            return None
        finest = self._window.finest
        return self._recognised(
            [features[scale] for scale in finest], [matches.to_slots[scale] for scale in finest]
        )

    def entered(self, slot: int, frame: int, *, reference: bool = False) -> None:
        """Note that a frame took a slot, in place of what was there."""
        self._entered[slot], self._reference[slot] = frame, reference
        self._to_ignore = [item for item in self._to_ignore if item[0] != slot]
        self._unexplained.pop(slot, None)
        for known in self._known:
            known.carriers.pop(slot, None)
        self._known = [known for known in self._known if known.carriers]

    def carries(self, slot: int, known: KnownDefect, marks: Bools) -> None:
        """Note that the frame in a slot has a known defect; its marks (P',) will be ignored."""
        features = self._window.features_in(slot)
        places = array_namespace(features[0]).asarray(np.flatnonzero(marks))
        examples = tuple(features[scale][places] for scale in self._window.finest)
        self._unexplained.pop(slot, None)
        everywhere = np.zeros(len(self._roi), bool)
        everywhere[self._roi] = marks
        known.carriers[slot] = Carrier(slot, everywhere, examples)
        if all(other is not known for other in self._known):  # its last carrier has just left
            self._known.append(known)
        self._to_ignore.append((slot, widened(everywhere[None], by=self._blur)[0]))

    def not_good(self, slot: int, patch: int) -> None:
        """Note that the frame in a slot is NG at a patch (of P), for no defect that is known."""
        self._unexplained[slot] = int(np.searchsorted(np.flatnonzero(self._roi), patch))

    def step(self, frame: int) -> list[SearchResult]:
        """Do what is due after a frame, and return what a search has brought.

        Parameters
        ----------
        frame : int
            Number of the frame.
        """
        found = []
        if self._search is not None and frame - self._search[0] >= PATIENCE:
            found = self._collected()
        if self._to_ignore:
            self._window.ignore_patches(*self._to_ignore.pop(0))
        elif self._search is None and self._due(frame):
            self._start(frame)
        return found

    def close(self) -> None:
        """End the thread; more than once does no harm."""
        self._searcher.shutdown(wait=True, cancel_futures=True)

    def _due(self, frame: int) -> bool:
        since, filled = frame - self._last, int(self._window.filled.sum())
        if filled < LEAST_IMAGES or since < self._soonest:
            return False
        if since >= self._every:
            return True
        alike, least = self._alike(), least_members(filled)
        if alike < least / 2:
            self._wait = self._soonest
        self._seen_alike = min(self._seen_alike, alike)
        more = alike >= self._seen_alike + LEAST
        return alike >= least and (more or since >= self._wait)

    def _alike(self) -> int:
        """Return how many of the NG frames have two others among their nearest, at their worst.

        Nearest are as many as there are NG frames: those of one defect are all there, and others
        hardly ever.
        """
        slots = list(self._unexplained)
        if len(slots) < LEAST:
            return 0
        rows = self._window.patch_distances(slots, list(self._unexplained.values()))
        nearest = np.argpartition(rows, len(slots) - 1, axis=1)[:, : len(slots)]
        return int((np.isin(nearest, slots).sum(axis=1) >= LEAST - 1).sum())

    def _start(self, frame: int) -> None:
        filled = np.flatnonzero(self._window.filled)
        newest = np.argsort(-self._entered[filled], kind="stable")[:MOST]
        slots = np.sort(filled[newest]).tolist()
        table = self._window.finest_table(slots)
        held = [(slot, int(self._entered[slot])) for slot in slots]
        search = self._searcher.submit(codegraph, table, edge=self._edge)
        self._search = frame, held, search
        self._last, self._wait = frame, min(2 * self._wait, self._every)
        self._seen_alike = self._alike()

    def _collected(self) -> list[SearchResult]:
        """Return what the search has brought about frames that are still in the window."""
        assert self._search is not None  # noqa: S101 - the caller looked
        _, held, search = self._search
        self._search = None
        outcome = search.result()
        brought = [self._found(community, outcome, held) for community in outcome.communities]
        found = [one for one in brought if one is not None]
        if found:
            self._wait = self._soonest
        return found

    def _found(
        self, community: Community, outcome: CodegraphResult, held: list[tuple[int, int]]
    ) -> SearchResult | None:
        members = [held[number] for number in community.members.tolist()]
        if np.mean([self._reference[slot] for slot, _ in members]) > _REFERENCES:
            return None
        there = [
            (slot, marks)
            for (slot, frame), marks in zip(members, community.marks, strict=True)
            if self._entered[slot] == frame and not self._reference[slot]
        ]
        if not there:
            return None
        known = self._same(there)
        new = known is None
        if known is None:
            self._names += 1
            first = min(int(self._entered[slot]) for slot, _ in there)
            known = KnownDefect(self._names, first, outcome.relevant, community.evidence.gap)
            self._known.append(known)
        for slot, marks in there:
            self.carries(slot, known, marks)
        slots = [slot for slot, _ in there]
        for slot in self._entered_after(max(frame for _, frame in held)):
            told = self._recognised(*self._window.finest_frame(slot))
            if told is not None and told[0] is known:
                self.carries(slot, *told)
                slots.append(slot)
        return SearchResult(known, new, tuple(slots))

    def _entered_after(self, frame: int) -> list[int]:
        """Return the slots of later frames, in their order."""
        later = [slot for slot, number in enumerate(self._entered) if number > frame]
        return sorted(later, key=lambda slot: int(self._entered[slot]))

    def _same(self, there: Sequence[tuple[int, Bools]]) -> KnownDefect | None:
        """Return the known defect that most of these frames have, None where it is another one."""
        if not self._known:
            return None
        twins = [slot for slot, _ in there]
        told = [self._recognised(*self._window.finest_frame(slot), but=twins) for slot in twins]
        for known in self._known:
            if sum(one is not None and one[0] is known for one in told) > len(there) / 2:
                return known
        return None

    def _recognised(
        self, features: Sequence[Any], half_squared: Sequence[Any], *, but: Sequence[int] = ()
    ) -> tuple[KnownDefect, Bools] | None:
        """Hold a frame against what is known.

        Parameters
        ----------
        features : sequence of arrays, shape (P', C_l)
            By layer.
        half_squared : sequence of arrays, shape (W, P')
            ½d² to each slot, by layer.
        but : sequence of int
            Slots that do not count, since their frames may have the same defect.
        """
        for known in self._known:
            rows = to_host(mean_distances(_as_if_matched(features, half_squared, known)))
            counted = np.isfinite(rows).all(axis=0)
            counted[list(but)] = False
            there = np.flatnonzero(counted)
            members = np.flatnonzero(np.isin(there, list(known.carriers)))
            marks = marks_of_newcomer(
                rows[:, there], members, relevant=known.relevant, gap=known.gap
            )
            if marks is not None:
                return known, marks
        return None


def _as_if_matched(
    features: Sequence[Any], half_squared: Sequence[Any], known: KnownDefect
) -> list[Any]:
    """Return ½d² by layer as if the carriers' marked patches could still be matched."""
    carriers = list(known.carriers.values())
    full = []
    for layer, (frame, held) in enumerate(zip(features, half_squared, strict=True)):
        xp = array_namespace(held)
        theirs = xp.concatenate([carrier.examples[layer] for carrier in carriers])
        mine, theirs = frame.astype(xp.float32), theirs.astype(xp.float32)
        norms = (mine * mine).sum(axis=1)[:, None] + (theirs * theirs).sum(axis=1)
        near = norms / 2 - mine @ theirs.T
        rows, first = held.copy(), 0
        for carrier in carriers:
            last = first + len(carrier.examples[layer])
            nearest = near[:, first:last].min(axis=1)
            matched = xp.isfinite(rows[carrier.slot])  # not of one part
            rows[carrier.slot] = xp.where(
                matched, xp.minimum(rows[carrier.slot], nearest), rows[carrier.slot]
            )
            first = last
        full.append(rows)
    return full
