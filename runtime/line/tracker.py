"""Recurring defects on a line: found beside it, and recognised in each frame once known.

What a search finds (`line.search`) becomes a known defect with members, frames of the window that
have it. The inspector ignores their marked patches, one frame with each push. From then on each
new frame is held against the known defect alone: some hundred patches instead of the whole window.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from zeroline.runtime.arrays import Bools, array_namespace, to_host
from zeroline.runtime.grid import widened
from zeroline.runtime.line.search import (
    MOST_FRAMES,
    PATIENCE,
    RecurringSearch,
    SearchOutcome,
    SearchSchedule,
)
from zeroline.runtime.line.slots import REFERENCE_ID, Slots
from zeroline.runtime.line.window import Matches, Window, mean_distances
from zeroline.runtime.recurring.codegraph import Community
from zeroline.runtime.recurring.constants import LEAST
from zeroline.runtime.recurring.marking import marks_of_newcomer
from zeroline.runtime.stages.degrees import finest_degree

#: A group of which more than this share are frames of a reference set is a normal variation.
REFERENCE_SHARE = 0.1


@dataclass(frozen=True)
class Member:
    """A frame of the window that has a known defect.

    Attributes
    ----------
    place : int
        Its place in the window.
    marks : array, shape (P,), bool
        Where it has the defect.
    examples : tuple of arrays, shape (m, C_l)
        Features of its marked patches, by layer, of the finest degree.
    """

    place: int
    marks: Bools
    examples: tuple[Any, ...]


@dataclass
class KnownDefect:
    """A recurring defect that was found; the tracker alone writes here.

    Attributes
    ----------
    number : int
        From 1.
    since : int
        The first frame that is known to have it.
    since_part : str or None
        The name of that frame's part.
    relevant, gap : float
        See `marks_of_newcomer`.
    members : dict
        Frames of the window that have it, by place.
    """

    number: int
    since: int
    since_part: str | None
    relevant: float
    gap: float
    members: dict[int, Member] = field(default_factory=dict)


@dataclass(frozen=True)
class Recognition:
    """A known defect in a frame.

    Attributes
    ----------
    defect : KnownDefect
        Which one.
    marks : array, shape (P',), bool
        Where.
    """

    defect: KnownDefect
    marks: Bools


@dataclass(frozen=True)
class SearchResult:
    """A defect, and frames of the window that were not known to have it.

    Attributes
    ----------
    defect : KnownDefect
        What they have.
    new : bool
        Whether the defect was not known before.
    ignored : mapping
        For each of these frames, by place, the patches (P,) that nobody may match any more.
    """

    defect: KnownDefect
    new: bool
    ignored: Mapping[int, Bools]


class DefectTracker:
    """Knows the recurring defects of a window.

    It reads window and slots and returns what is to be done; the inspector does it.

    Parameters
    ----------
    window : Window
        The distances.
    slots : Slots
        What is in it.
    roi : array, shape (P,), bool
        Patches that count.
    wait : bool
        See `RecurringSearch`.
    """

    def __init__(self, window: Window, slots: Slots, *, roi: Bools, wait: bool) -> None:
        self._window, self._slots, self._roi = window, slots, roi
        # how far the largest degree spreads a mark, in patches
        _, self._blur = finest_degree(window.shape.degrees)
        self._search = RecurringSearch(wait=wait)
        self._schedule = SearchSchedule(window.shape.capacity)
        self._unexplained: dict[int, int] = {}  # worst patch (of P') by place of NG frames
        self._known: list[KnownDefect] = []
        self._count = 0

    @property
    def known(self) -> tuple[KnownDefect, ...]:
        """Defects that frames of the window have."""
        return tuple(self._known)

    def recognise(self, matches: Matches) -> Recognition | None:
        """Return the known defect that a new frame has, None where it has none."""
        if not self._known:
            return None
        finest = self._window.finest
        return self._recognised(
            [matches.features[scale] for scale in finest],
            [matches.to_slots[scale] for scale in finest],
        )

    def forget(self, place: int) -> None:
        """Take note that the frame in a place has left the window."""
        self._unexplained.pop(place, None)
        for defect in self._known:
            defect.members.pop(place, None)
        self._known = [defect for defect in self._known if defect.members]

    def add_member(self, place: int, recognition: Recognition) -> Bools:
        """Count the frame in a place among a defect's members.

        Returns
        -------
        array, shape (P,), bool
            Its patches that nobody may match any more.
        """
        features = self._window.features_in(place)
        places = array_namespace(features[0]).asarray(np.flatnonzero(recognition.marks))
        examples = tuple(features[scale][places] for scale in self._window.finest)
        marks = np.zeros(len(self._roi), bool)
        marks[self._roi] = recognition.marks
        defect = recognition.defect
        defect.members[place] = Member(place, marks, examples)
        self._unexplained.pop(place, None)
        if all(other is not defect for other in self._known):  # its last member has just left
            self._known.append(defect)
        ignored: Bools = widened(marks[None], by=self._blur)[0]
        return ignored

    def not_good(self, place: int, patch: int) -> None:
        """Take note that the frame in a place is NG at a patch (of P) for no known defect."""
        self._unexplained[place] = int(np.searchsorted(np.flatnonzero(self._roi), patch))

    def step(self) -> tuple[list[SearchResult], str]:
        """Count a frame, and return what a search has brought.

        Returns
        -------
        list of SearchResult
            New defects, and new members of known ones.
        str
            Why a search failed; empty where none did.
        """
        self._schedule.since += 1
        if self._schedule.since < PATIENCE:
            return [], ""
        outcome = self._search.outcome()
        if outcome is None:
            return [], ""
        results = self._applied(outcome)
        if results:
            self._schedule.succeeded()
        return results, outcome.failure

    def search(self) -> None:
        """Start a search, if one is due."""
        filled = int(self._slots.filled.sum())
        if self._search.running or not self._schedule.due(filled, self._alike):
            return
        places = sorted(self._slots.newest(MOST_FRAMES))
        frames = [(place, self._slots[place].frame_id) for place in places]
        self._search.begin(frames, self._window.finest_table(places))
        self._schedule.began(self._alike())

    def _alike(self) -> int:
        """Return how many of the NG frames have two others among their nearest, at their worst.

        Nearest are as many as there are NG frames: those of one defect are all there, and others
        hardly ever.
        """
        places = list(self._unexplained)
        if len(places) < LEAST:
            return 0
        rows = self._window.patch_distances(places, list(self._unexplained.values()))
        nearest = np.argpartition(rows, len(places) - 1, axis=1)[:, : len(places)]
        return int((np.isin(nearest, places).sum(axis=1) >= LEAST - 1).sum())

    def close(self) -> None:
        """End the thread; more than once does no harm."""
        self._search.close()

    def _applied(self, outcome: SearchOutcome) -> list[SearchResult]:
        """Return what a search says about frames that are still in the window."""
        if outcome.result is None:
            return []
        results = []
        for community in outcome.result.communities:
            seen = [outcome.frames[number] for number in community.members.tolist()]
            marked = self._still_there(seen, community)
            if marked:
                results.append(self._result(marked, outcome, community.evidence.gap))
        return results

    def _still_there(
        self, seen: Sequence[tuple[int, int]], community: Community
    ) -> dict[int, Bools]:
        """Return the marks (P') of a community's frames in the window, by place.

        Empty where the community is a normal variation: reference frames have it too.
        """
        references = sum(frame_id == REFERENCE_ID for _, frame_id in seen)
        if references > REFERENCE_SHARE * len(seen):
            return {}
        return {
            place: marks
            for (place, frame_id), marks in zip(seen, community.marks, strict=True)
            if frame_id != REFERENCE_ID and self._slots.holds(place, frame_id)
        }

    def _result(
        self, marked: Mapping[int, Bools], outcome: SearchOutcome, gap: float
    ) -> SearchResult:
        """Make the frames members, and those that came since the search began and have it too."""
        defect = self._same(list(marked))
        new = defect is None
        if defect is None:
            assert outcome.result is not None  # noqa: S101 - it has communities
            self._count += 1
            first = min((self._slots[place] for place in marked), key=lambda slot: slot.frame_id)
            defect = KnownDefect(
                self._count, first.frame_id, first.part_id, outcome.result.relevant, gap
            )
            self._known.append(defect)
        ignored = {
            place: self.add_member(place, Recognition(defect, marks))
            for place, marks in marked.items()
        }
        last = max(frame_id for _, frame_id in outcome.frames)
        for place, slot in self._slots.in_order():
            if slot.frame_id > last:
                recognition = self._recognised(*self._window.finest_frame(place))
                if recognition is not None and recognition.defect is defect:
                    ignored[place] = self.add_member(place, recognition)
        return SearchResult(defect, new, ignored)

    def _same(self, places: Sequence[int]) -> KnownDefect | None:
        """Return the known defect that most of these frames have, None where it is another one."""
        if not self._known:
            return None
        recognitions = [
            self._recognised(*self._window.finest_frame(place), but=places) for place in places
        ]
        for defect in self._known:
            having = sum(r is not None and r.defect is defect for r in recognitions)
            if having > len(places) / 2:
                return defect
        return None

    def _recognised(
        self, features: Sequence[Any], half_squared: Sequence[Any], *, but: Sequence[int] = ()
    ) -> Recognition | None:
        """Hold a frame against what is known.

        Parameters
        ----------
        features : sequence of arrays, shape (P', C_l)
            By layer.
        half_squared : sequence of arrays, shape (W, P')
            ½d² to each slot, by layer.
        but : sequence of int
            Places that do not count, since their frames may have the same defect.
        """
        for defect in self._known:
            rows = to_host(mean_distances(_as_if_matched(features, half_squared, defect)))
            counted = np.isfinite(rows).all(axis=0)
            counted[list(but)] = False
            places = np.flatnonzero(counted)
            members = np.flatnonzero(np.isin(places, list(defect.members)))
            marks = marks_of_newcomer(
                rows[:, places], members, relevant=defect.relevant, gap=defect.gap
            )
            if marks is not None:
                return Recognition(defect, marks)
        return None


def _as_if_matched(
    features: Sequence[Any], half_squared: Sequence[Any], defect: KnownDefect
) -> list[Any]:
    """Return ½d² by layer as if the members' marked patches could still be matched."""
    members = list(defect.members.values())
    full = []
    for layer, (frame, held) in enumerate(zip(features, half_squared, strict=True)):
        xp = array_namespace(held)
        theirs = xp.concatenate([member.examples[layer] for member in members])
        mine, theirs = frame.astype(xp.float32), theirs.astype(xp.float32)
        norms = (mine * mine).sum(axis=1)[:, None] + (theirs * theirs).sum(axis=1)
        near = norms / 2 - mine @ theirs.T
        rows, first = held.copy(), 0
        for member in members:
            last = first + len(member.examples[layer])
            nearest = near[:, first:last].min(axis=1)
            before = rows[member.place]
            matched = xp.isfinite(before)  # not of one part
            rows[member.place] = xp.where(matched, xp.minimum(before, nearest), before)
            first = last
        full.append(rows)
    return full
