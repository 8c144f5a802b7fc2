"""Verdicts on a line: what is said of the frames in a window."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from zeroline.runtime.arrays import Float32, Float64
from zeroline.runtime.cuda import cupy_errors
from zeroline.runtime.errors import DeviceError, ScoringError
from zeroline.runtime.framing.view import View
from zeroline.runtime.judgement import Judgement
from zeroline.runtime.line.contents import Comparison, Contents
from zeroline.runtime.line.known import KnownDefect, Recognition
from zeroline.runtime.line.modes import GroupsWatch
from zeroline.runtime.line.scorer import WindowScorer
from zeroline.runtime.line.slots import Slot, Slots
from zeroline.runtime.line.tracker import DefectTracker, FoundDefect
from zeroline.runtime.line.window import Matches
from zeroline.runtime.results import (
    FrameScores,
    Reason,
    RecurringDefect,
    Revision,
    ScoreResult,
    Verdict,
)
from zeroline.runtime.stages.modes import TwoGroups
from zeroline.runtime.stages.regions import MAP_SIDE, Region, regions_of_map
from zeroline.runtime.stages.threshold import ThresholdRule

#: Of many tiles the map of the regions is no more times as large.
_MOST_TIMES = 4
#: While the window warms up, and where a known defect says all.
NO_THRESHOLD = Judgement(None, None, scores_used=0)


@dataclass(frozen=True)
class RecurringNews:
    """What a search for recurring defects has changed.

    Attributes
    ----------
    revisions : tuple of Revision
        Frames that are NG after all.
    alarms : tuple of RecurringDefect
        Defects that were not known.
    withdrawn : tuple of RecurringDefect
        Defects that the search has not found again.
    failure : str
        Why a search failed; empty where none did.
    """

    revisions: tuple[Revision, ...] = ()
    alarms: tuple[RecurringDefect, ...] = ()
    withdrawn: tuple[RecurringDefect, ...] = ()
    failure: str = ""


class LineJudge:
    """Gives verdicts; it alone writes `Slot.verdict`, `reason`, `settled` and `recurring`.

    Parameters
    ----------
    scorer : WindowScorer
        Scores the frames of the window.
    slots : Slots
        Those frames.
    contents : Contents
        Ignores patches of recurring defects.
    tracker : DefectTracker or None
        Knows recurring defects.
    least : int
        Frames before the first verdict.
    settle : int or None
        After so many later frames a frame is judged once more.
    band : float
        Scores nearer to the threshold are UNCERTAIN.

    Raises
    ------
    ScoringError
        For numbers out of range.
    """

    def __init__(
        self,
        scorer: WindowScorer,
        slots: Slots,
        contents: Contents,
        tracker: DefectTracker | None,
        *,
        least: int,
        settle: int | None,
        band: float,
    ) -> None:
        capacity = len(slots.filled)
        if not 2 <= least <= capacity:
            raise ScoringError(f"min_window is {least}, 2 to {capacity} is expected")
        if band < 0 or (settle is not None and settle < 1):
            raise ScoringError(
                f"band {band}, settle {settle}: a number from 0 on, and for settle from 1 on or "
                "None, are expected"
            )
        self._slots, self._scorer, self._contents = slots, scorer, contents
        self._tracker, self._least, self._settle, self._band = tracker, least, settle, band
        self._watch = GroupsWatch()
        self._groups: TwoGroups | None = None

    @property
    def recurring(self) -> tuple[RecurringDefect, ...]:
        """Recurring defects that frames of the window have."""
        known = () if self._tracker is None else self._tracker.known
        return tuple(self._described(defect) for defect in known)

    def judge(self, slot: Slot, compared: Comparison, rule: ThresholdRule, /) -> FrameScores | None:
        """Judge a new frame, and write its verdict down.

        Returns
        -------
        FrameScores or None
            None where there is no score; without thresholds while the window warms up.
        """
        scores, score, judgement = None, None, NO_THRESHOLD
        if compared.patch_scores is not None:
            place = compared.place if compared.admitted else None
            raw = self._scorer.keep(slot, compared.patch_scores)
            neighbours = self._scorer.nearest(slot.tokens, place)
            self._scorer.refresh(everyone=len(self._slots) <= self._least, beside=neighbours)
            if self._scorer.level is not None:
                raw = self._scorer.keep(slot, compared.patch_scores)
            shown = self._scorer.shown(compared.patch_scores, slot)
            score = self._scorer.rescored_new(raw, slot.tokens, place)
            if compared.count + 1 >= self._least:
                window_scores = self._scorer.scores()
                judgement = self._scorer.judgement(window_scores, rule, band=self._band)
                self._look_at_groups(window_scores, rule)
            thresholds = judgement.threshold, judgement.pixel_threshold
            scores = FrameScores(score, raw, *thresholds, shown)
        slot.verdict, slot.reason = judgement.verdict(score, recurring=slot.recurring)
        if compared.other:  # what it scores says nothing about a part
            slot.verdict, slot.reason = Verdict.UNCERTAIN, Reason.OTHER_PRODUCT
        return scores

    def _look_at_groups(self, window_scores: Mapping[int, float], rule: ThresholdRule) -> None:
        if rule.automatic:
            recurring = np.array([self._slots[place].recurring for place in window_scores], bool)
            scores = np.array(list(window_scores.values()), np.float32)
            self._groups = self._watch.look(scores, recurring=recurring)

    def take_groups(self) -> TwoGroups | None:
        """Return the two groups of scores that the last frame has made; None where it has not."""
        groups, self._groups = self._groups, None
        return groups

    def score_everyone(self) -> None:
        """Score all frames of the window, of which many have come at once."""
        self._scorer.refresh(everyone=True)

    def everyone(self) -> ScoreResult:
        """Score all frames of the window anew; see `RollingInspector.scores`."""
        held = list(self._slots.in_order())
        self._scorer.look_ahead([place for place, _ in held])
        rows = [self._scorer.score_held(place) for place, _ in held]
        if len(rows) < 2 or any(row is None for row in rows):
            raise ScoringError(f"{len(rows)} frame(s) in the window: mutual scoring needs 2")
        raw = np.array([slot.raw_score for _, slot in held], np.float32)
        scores = self._scorer.rescored(raw, [slot.tokens.class_tokens for _, slot in held])
        recurring = np.array([slot.recurring for _, slot in held])
        patch_scores = np.stack([row for row in rows if row is not None])
        return ScoreResult(
            patch_scores, raw, scores, recurring,
            matching=self._scorer.form, level=self._scorer.level,
        )  # fmt: skip

    def settle(self, number: int, rule: ThresholdRule) -> tuple[Revision, ...]:
        """Judge frames once more that have waited long enough, once the window has warmed up.

        A later look may raise a verdict to NG, and judge what came while the window was warming
        up; it clears nothing, since members of a recurring defect arrive and match each other.

        Parameters
        ----------
        number : int
            Of the newest frame.
        rule : ThresholdRule
            For the threshold.
        """
        if self._settle is None or len(self._slots) < self._least:
            return ()
        due = [
            (place, slot)
            for place, slot in self._slots.in_order()
            if not slot.settled and number - slot.frame_id >= self._settle
        ]
        maps = [self._scorer.score_held(place) for place, _ in due]  # a device may fail in these
        revisions: list[Revision] = []
        for (place, slot), patch_scores in zip(due, maps, strict=True):
            slot.settled = True
            if patch_scores is None:
                continue
            window_scores = self._scorer.scores()
            score = window_scores[place]
            judgement = self._scorer.judgement(window_scores, rule, band=self._band)
            verdict, reason = judgement.verdict(score, recurring=slot.recurring)
            if verdict is not Verdict.NG and slot.reason is not Reason.WARMING_UP:
                verdict, reason = slot.verdict, slot.reason
            thresholds = judgement.threshold, judgement.pixel_threshold
            scores = FrameScores(score, slot.raw_score, *thresholds, patch_scores)
            revisions.append(_revised(slot, scores, verdict, reason))
        return tuple(revisions)

    def recognise(
        self, matches: Matches, compared: Comparison, rule: ThresholdRule, /
    ) -> Recognition | None:
        """Return the known defect that a new frame has, None where it has none."""
        if self._tracker is None or not self._tracker.known:
            return None
        limit = self._map_limit(rule)
        return self._tracker.recognise(matches, place=compared.left_out, limit=limit)

    def _map_limit(self, rule: ThresholdRule) -> Float64 | None:
        """Return the scores (P,) over which patches are unusual, as they are matched.

        None while the window warms up.
        """
        if sum(slot.scored for _, slot in self._slots.in_order()) < self._least:
            return None
        limit = self._scorer.judgement(self._scorer.scores(), rule, band=0.0).pixel_threshold
        return None if limit is None else self._scorer.limits(limit)

    def search(
        self, slot: Slot, compared: Comparison, scores: FrameScores | None, rule: ThresholdRule, /
    ) -> RecurringNews:
        """Apply what a search for recurring defects has brought, and start the next one if due.

        It is told of the new frame, whose verdict and scores stand.
        """
        if self._tracker is None:
            return RecurringNews()
        unexplained = slot.verdict is Verdict.NG and not slot.recurring
        if compared.admitted and unexplained and scores is not None:
            self._tracker.not_good(compared.place, int(scores.patch_scores.argmax()))
        news = RecurringNews()
        try:
            with cupy_errors():
                brought = self._tracker.step(limit=lambda: self._map_limit(rule))
        except DeviceError as error:
            return RecurringNews(failure=str(error))
        if brought is not None:
            self._contents.ignore_later(dict(brought.ignored))
            withdrawn = [self._withdrawn(defect) for defect in brought.withdrawn]
            revisions = [r for found in brought.found for r in self._found(found)]
            alarms = [self._described(found.defect) for found in brought.found if found.new]
            news = RecurringNews(tuple(revisions), tuple(alarms), tuple(withdrawn), brought.failure)
        try:
            with cupy_errors():
                if not self._contents.ignore_next():
                    self._tracker.search()
        except DeviceError as error:
            news = replace(news, failure=news.failure or str(error))
        return news

    def _withdrawn(self, defect: KnownDefect) -> RecurringDefect:
        """Count a defect's frames like others again; what was NG stays NG."""
        assert self._tracker is not None  # noqa: S101 - the caller has asked
        for place in defect.members:
            others = (known.members for known in self._tracker.known)
            self._slots[place].recurring = any(place in members for members in others)
        return self._described(defect)

    def _found(self, found: FoundDefect) -> list[Revision]:
        """Score frames without those that share their defect, and call them NG."""
        members = tuple(found.defect.members)
        maps: dict[int, Float32 | None] = {}
        for place in found.places:
            self._slots[place].recurring = True
            maps[place] = None
            with suppress(DeviceError), cupy_errors():  # the alarm stands without these scores
                maps[place] = self._scorer.score_held(place, without=members)
        rescored = self._scorer.scores()
        revisions = []
        for place, patch_scores in maps.items():
            slot, scores = self._slots[place], None
            if patch_scores is not None:
                raw = slot.raw_score
                scores = FrameScores(rescored[place], raw, None, None, patch_scores)
            revisions.append(_revised(slot, scores, *NO_THRESHOLD.verdict(None, recurring=True)))
        return sorted(revisions, key=lambda revision: revision.frame_id)

    def _described(self, defect: KnownDefect) -> RecurringDefect:
        marks = {self._slots[place].frame_id: m.marks for place, m in defect.members.items()}
        frames = tuple(sorted(marks))
        since = sum(slot.frame_id >= frames[0] for _, slot in self._slots.in_order())
        return RecurringDefect(
            defect.number,
            defect.one_place,
            defect.since,
            defect.since_part,
            frames,
            len(frames) / since,
            np.stack([marks[frame] for frame in frames]),
        )


def _revised(
    slot: Slot, scores: FrameScores | None, verdict: Verdict, reason: Reason | None
) -> Revision:
    """Write down a frame's new verdict, and return it."""
    first, slot.verdict, slot.reason = slot.verdict, verdict, reason
    return Revision(
        slot.frame_id, slot.part_id, scores, verdict, reason, first, recurring=slot.recurring
    )


def ng_regions(verdict: Verdict, scores: FrameScores | None, view: View) -> tuple[Region, ...]:
    """Return boxes round what is wrong in an NG frame, of which the network sees a view."""
    if verdict is not Verdict.NG or scores is None or scores.pixel_threshold is None:
        return ()
    side = MAP_SIDE * min(max(view.tiles), _MOST_TIMES)
    above = scores.pixel_threshold
    drawn = view.map(scores.patch_scores, side=side)
    found = regions_of_map(drawn, above=above, frame_size=view.size, to_frame=view.to_picture)
    worst = int(scores.patch_scores.argmax())
    highest = float(scores.patch_scores[worst])
    if found or view.tiles == (1, 1) or highest <= above:
        return found
    # it lies at the edge of a tile, and the next tile, which counts more there, scores it lower
    corners = np.clip(view.patch_corners(worst, len(scores.patch_scores)), 0, view.size[::-1])
    left, top = corners.min(axis=0).round().astype(int).tolist()
    right, bottom = corners.max(axis=0).round().astype(int).tolist()
    return (Region(left, top, right - left, bottom - top, highest),)
