"""Recurring defects on a line: found beside it, and recognised in each frame once known.

What a search finds (`line.search`) becomes a known defect with members, frames of the window that
have it. The inspector ignores their marked patches, one frame with each push. From then on each
new frame is held against the known defect alone (`line.known`). Each search measures the known
defects again: what it does not find again is withdrawn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from zeroline.runtime.arrays import Bools, Float32, Float64, array_namespace
from zeroline.runtime.grid import widened
from zeroline.runtime.line.finest import Examples, finest_frame, patch_distances
from zeroline.runtime.line.known import KnownDefect, Member, Recognition, recognised
from zeroline.runtime.line.search import (
    MOST_FRAMES,
    PATIENCE,
    RecurringSearch,
    SearchOutcome,
    SearchSchedule,
)
from zeroline.runtime.line.searched import window_search
from zeroline.runtime.line.slots import REFERENCE_ID, Slots
from zeroline.runtime.line.window import Matches, Window
from zeroline.runtime.recurring.codegraph import Community
from zeroline.runtime.recurring.constants import LEAST, OVERLAP
from zeroline.runtime.recurring.filter import shared
from zeroline.runtime.stages.degrees import finest_degree

#: A group of which more than this share are frames of a reference set is a normal variation.
REFERENCE_SHARE = 0.1


@dataclass(frozen=True)
class FoundDefect:
    """A defect, and frames of the window that were not known to have it.

    Attributes
    ----------
    defect : KnownDefect
        What they have.
    new : bool
        Whether the defect was not known before.
    places : tuple of int
        These frames, by their places.
    """

    defect: KnownDefect
    new: bool
    places: tuple[int, ...]


@dataclass(frozen=True)
class SearchNews:
    """What a search has brought.

    Attributes
    ----------
    found : tuple of FoundDefect
        New defects, and new members of known ones.
    withdrawn : tuple of KnownDefect
        Defects that the search did not find again.
    ignored : mapping
        By place, the patches (P,) that nobody may match from now on; none: as the frame came.
    failure : str
        Why it failed; empty else.
    """

    found: tuple[FoundDefect, ...]
    withdrawn: tuple[KnownDefect, ...]
    ignored: Mapping[int, Bools]
    failure: str = ""


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

    def recognise(
        self, matches: Matches, *, place: int, limit: Float64 | None
    ) -> Recognition | None:
        """Return the known defect that a new frame has, None where it has none.

        Parameters
        ----------
        matches : Matches
            Of the frame.
        place : int
            The place that it will take, or that of its original: it does not count.
        limit : array, shape (P,), or None
            Scores over which patches are unusual; None: nothing can be said.
        """
        if limit is None or not self._known:
            return None
        finest = self._window.finest
        recognition = recognised(
            self._known,
            [matches.features[scale] for scale in finest],
            [matches.to_slots[scale] for scale in finest],
            tiles=self._window.tiles,
        )
        if recognition is None:
            return None
        without = [place, *recognition.defect.members]
        scores = self._window.score(matches, without=without)
        return recognition if self._is_unusual(recognition, scores, limit) else None

    def forget(self, place: int) -> None:
        """Take note that the frame in a place has left the window."""
        self._unexplained.pop(place, None)
        for defect in self._known:
            defect.members.pop(place, None)
        self._known = [defect for defect in self._known if defect.members]

    def add_member(self, place: int, recognition: Recognition, *, confirmed: bool = False) -> Bools:
        """Count the frame in a place among a defect's members.

        Returns
        -------
        array, shape (P,), bool
            Its patches that nobody may match any more.
        """
        features = self._window.features_in(place)
        places = np.flatnonzero(recognition.marks)
        chosen = array_namespace(features[0]).asarray(places)
        examples = Examples(tuple(features[scale][chosen] for scale in self._window.finest), places)
        marks = np.zeros(len(self._roi), bool)
        marks[self._roi] = recognition.marks
        defect = recognition.defect
        defect.members[place] = Member(place, marks, examples, confirmed)
        self._unexplained.pop(place, None)
        if all(other is not defect for other in self._known):  # its last member has just left
            self._known.append(defect)
        return self._ignored(place)

    def not_good(self, place: int, patch: int) -> None:
        """Take note that the frame in a place is NG at a patch (of P) for no known defect."""
        self._unexplained[place] = int(np.searchsorted(np.flatnonzero(self._roi), patch))

    def step(self, *, limit: Callable[[], Float64 | None]) -> SearchNews | None:
        """Count a frame, and return what a search has brought; None where none has ended.

        `limit` gives that of `recognise`.
        """
        self._schedule.since += 1
        if self._schedule.since < PATIENCE:
            return None
        outcome = self._search.outcome()
        if outcome is None:
            return None
        if outcome.result is None:
            return SearchNews((), (), {}, outcome.failure)
        before = [(defect, dict(defect.members)) for defect in self._known]
        kept = dict(self._unexplained), self._count
        try:
            return self._news(outcome, limit())
        except Exception:  # a device that fails: nothing of it was told, so nothing of it stays
            self._known = [defect for defect, _ in before]
            for defect, members in before:
                defect.members.clear()
                defect.members.update(members)
            self._unexplained, self._count = kept
            raise

    def _news(self, outcome: SearchOutcome, limit: Float64 | None) -> SearchNews:
        """Return what a search has brought, and know it from now on."""
        changed: set[int] = set()
        withdrawn = self._measured_again(outcome, changed)
        found = self._applied(outcome, limit, changed)
        if found:
            self._schedule.succeeded()
        ignored = {place: self._ignored(place) for place in sorted(changed)}
        return SearchNews(tuple(found), tuple(withdrawn), ignored)

    def search(self) -> None:
        """Start a search, if one is due."""
        filled = int(self._slots.filled.sum())
        waiting = any(not m.confirmed for defect in self._known for m in defect.members.values())
        if self._search.running or not self._schedule.due(filled, self._alike, waiting=waiting):
            return
        places = sorted(self._slots.newest(MOST_FRAMES))
        frames = [(place, self._slots[place].frame_id) for place in places]
        known = [np.flatnonzero(np.isin(places, list(d.members))) for d in self._known]
        search = window_search(
            self._window,
            self._slots,
            places,
            rate=self._schedule.rate,
            roi=self._roi,
            known=known,
        )
        self._search.begin(frames, [defect.number for defect in self._known], search)
        self._schedule.began(self._alike())

    def _alike(self) -> int:
        """Return how many of the NG frames have two others among their nearest, at their worst.

        Nearest are as many as there are NG frames: those of one defect are all there, and others
        hardly ever.
        """
        places = list(self._unexplained)
        if len(places) < LEAST:
            return 0
        rows = patch_distances(self._window, places, list(self._unexplained.values()))
        nearest = np.argpartition(rows, len(places) - 1, axis=1)[:, : len(places)]
        return int((np.isin(nearest, places).sum(axis=1) >= LEAST - 1).sum())

    def close(self) -> None:
        """End the thread; more than once does no harm."""
        self._search.close()

    def _ignored(self, place: int) -> Bools:
        """Return the patches (P,) of a frame that known defects mark, as wide as they are seen."""
        marks = np.zeros(len(self._roi), bool)
        for defect in self._known:
            if place in defect.members:
                marks |= defect.members[place].marks
        tiles = self._window.shape.tiles
        wide: Bools = widened(marks[None], by=self._blur, tiles=tiles)[0]
        return wide

    def _is_unusual(self, recognition: Recognition, scores: Float32 | None, limit: Float64) -> bool:
        """Tell whether a frame is unusual where it has a defect; `scores` without the members."""
        if scores is None:
            return False
        over = scores > limit
        return bool(over[self._roi][recognition.marks].any())

    def _measured_again(self, outcome: SearchOutcome, changed: set[int]) -> list[KnownDefect]:
        """Confirm members that the search has found again, and drop defects that it has not.

        A defect whose frames leave the window is not judged by the fewer that are left: it leaves
        with them.
        """
        assert outcome.result is not None  # noqa: S101 - the caller has asked
        withdrawn = []
        defects = {defect.number: defect for defect in self._known}
        for number, images in zip(outcome.known, outcome.result.borne_out, strict=True):
            defect = defects.get(number)
            if defect is None:
                continue
            seen = {
                place
                for place, frame_id in outcome.frames
                if place in defect.members and self._slots[place].frame_id == frame_id
            }
            if images is not None:
                for image in images.tolist():
                    place, _ = outcome.frames[image]
                    if place in seen:
                        self._confirm(defect, place)
            elif len(seen) >= defect.found_in and not _found_again(seen, outcome):
                withdrawn.append(defect)
                changed |= set(defect.members)
        self._known = [d for d in self._known if all(d is not other for other in withdrawn)]
        return withdrawn

    def _confirm(self, defect: KnownDefect, place: int) -> None:
        member = defect.members[place]
        defect.members[place] = Member(place, member.marks, member.examples, confirmed=True)

    def _applied(
        self, outcome: SearchOutcome, limit: Float64 | None, changed: set[int]
    ) -> list[FoundDefect]:
        """Return what a search says about frames that are still in the window."""
        assert outcome.result is not None  # noqa: S101 - the caller has asked
        results = []
        for community, gap in zip(outcome.result.communities, outcome.gaps, strict=True):
            marked = self._still_there(outcome, community)
            if marked:
                found = self._taken(marked, outcome, community, gap, limit)
                changed |= set(marked) | set(found.places)
                if found.places:
                    results.append(found)
        return results

    def _still_there(self, outcome: SearchOutcome, community: Community) -> dict[int, Bools]:
        """Return the marks (P') of a community's frames in the window, by place.

        Empty where the community is a normal variation: reference frames have it too.
        """
        seen = [outcome.frames[number] for number in community.members.tolist()]
        references = sum(frame_id == REFERENCE_ID for _, frame_id in seen)
        if references > REFERENCE_SHARE * len(seen):
            return {}
        return {
            place: marks
            for (place, frame_id), marks in zip(seen, community.marks, strict=True)
            if frame_id != REFERENCE_ID and self._slots.holds(place, frame_id)
        }

    def _taken(
        self,
        marked: Mapping[int, Bools],
        outcome: SearchOutcome,
        community: Community,
        gap: float,
        limit: Float64 | None,
    ) -> FoundDefect:
        """Make the frames members, and those that came since the search began and have it too."""
        assert outcome.result is not None  # noqa: S101 - the caller has asked
        defect = self._same(list(marked))
        new = defect is None
        if defect is None:
            self._count += 1
            first = min((self._slots[place] for place in marked), key=lambda slot: slot.frame_id)
            defect = KnownDefect(
                self._count,
                first.frame_id,
                first.part_id,
                community.evidence.one_place,
                outcome.result.relevant,
                gap,
                found_in=len(marked),
            )
            self._known.append(defect)
        before = set(defect.members)
        for place, marks in marked.items():
            self.add_member(place, Recognition(defect, marks), confirmed=True)
        last = max(frame_id for _, frame_id in outcome.frames)
        for place, slot in self._slots.in_order():
            if slot.frame_id > last and place not in defect.members and limit is not None:
                recognition = self._recognised([defect], place)
                if recognition is None:
                    continue
                scores = self._window.patch_scores(place, without=list(defect.members))
                if self._is_unusual(recognition, scores, limit):
                    self.add_member(place, recognition)
        return FoundDefect(defect, new, tuple(sorted(set(defect.members) - before)))

    def _recognised(
        self, known: Sequence[KnownDefect], place: int, *, but: Sequence[int] = ()
    ) -> Recognition | None:
        """Hold a frame of the window against known defects."""
        frame = finest_frame(self._window, place)
        return recognised(known, *frame, tiles=self._window.tiles, but=but)

    def _same(self, places: Sequence[int]) -> KnownDefect | None:
        """Return the known defect that these frames have, None where it is another one.

        It is the same if both share frames, or if most of these look like its examples.
        """
        for defect in self._known:
            if shared(np.array(places), np.array(list(defect.members))) >= OVERLAP:
                return defect
        if not self._known:
            return None
        recognitions = [self._recognised(self._known, place, but=places) for place in places]
        for defect in self._known:
            having = sum(r is not None and r.defect is defect for r in recognitions)
            if having > len(places) / 2:
                return defect
        return None


def _found_again(places: set[int], outcome: SearchOutcome) -> bool:
    """Tell whether a community of a search is made of these places' frames."""
    assert outcome.result is not None  # noqa: S101 - the caller has asked
    known = np.array(sorted(places))
    return any(
        shared(known, np.array([outcome.frames[i][0] for i in c.members.tolist()])) >= OVERLAP
        for c in outcome.result.communities
    )
