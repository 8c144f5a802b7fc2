"""Verdicts on a line: scores of the frames in a window, and what is said of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zeroline.runtime.arrays import Float32
from zeroline.runtime.errors import ScoringError
from zeroline.runtime.line.contents import Comparison, Contents
from zeroline.runtime.line.slots import Slot, Slots
from zeroline.runtime.line.tracker import DefectTracker, KnownDefect, SearchResult
from zeroline.runtime.line.window import Window
from zeroline.runtime.results import (
    FrameScores,
    Judgement,
    Reason,
    RecurringDefect,
    Revision,
    ScoreResult,
    Verdict,
    judge,
)
from zeroline.runtime.stages.maps import map_maximum
from zeroline.runtime.stages.regions import Region, regions
from zeroline.runtime.stages.rscin import rscin
from zeroline.runtime.stages.threshold import ThresholdRule
from zeroline.runtime.tokens import Tokens

#: Frames whose scores are looked at again with each push, in turn, for the threshold.
REFRESHED = 4

#: While the window warms up, and where a known defect says all.
NO_THRESHOLD = Judgement(None, None, scores_used=0)


class WindowScorer:
    """Scores frames against a window; it alone writes `Slot.raw_score`.

    Parameters
    ----------
    window : Window
        The distances.
    slots : Slots
        What is in it.
    size : int
        Side S of the maps whose maximum is the image score, in pixels.
    neighbours : tuple of int
        Of RsCIN; empty: off.
    """

    def __init__(
        self, window: Window, slots: Slots, *, size: int, neighbours: tuple[int, ...]
    ) -> None:
        self._window, self._slots, self._size = window, slots, size
        self._neighbours = neighbours
        self._turn = 0

    @property
    def form(self) -> str:
        """The form of matching."""
        return self._window.shape.form

    def raw_score(self, patch_scores: Float32) -> float:
        """Return the image score of a map, before RsCIN."""
        return float(map_maximum(patch_scores[None], size=self._size)[0])

    def keep(self, place: int, raw_score: float) -> None:
        """Write down the score of the frame in a place."""
        self._slots[place].raw_score = raw_score

    def score_held(self, place: int, *, without: Sequence[int] = ()) -> Float32 | None:
        """Score a frame of the window anew; its patch scores (P,), None where nothing matches.

        Parameters
        ----------
        place : int
            Its place.
        without : sequence of int
            Places that do not count.
        """
        patch_scores = self._window.patch_scores(place, without=without)
        if patch_scores is not None:
            self.keep(place, self.raw_score(patch_scores))
        return patch_scores

    def refresh(self, *, everyone: bool) -> None:
        """Score some frames of the window anew, in turn, or all of them."""
        places = [place for place, _ in self._slots.in_order()]
        if not everyone:
            count = len(places)
            places = [places[(self._turn + step) % count] for step in range(min(REFRESHED, count))]
        for place in places:
            self.score_held(place)
        self._turn += REFRESHED

    def rescored(self, raw_scores: Any, class_tokens: Sequence[Float32]) -> Float32:
        """Return scores after RsCIN (n,) of n frames, by their class tokens (1, D) each."""
        raw = np.asarray(raw_scores, np.float32)
        if not self._neighbours:
            return raw
        tokens = np.concatenate(class_tokens)
        scores = rscin(raw, tokens, neighbours=self._neighbours, normalise=False)
        return np.asarray(scores, np.float32)

    def rescored_new(self, raw: float, tokens: Tokens, place: int | None) -> float:
        """Return a new frame's score after RsCIN; its neighbours are scored anew first.

        Parameters
        ----------
        raw : float
            Before RsCIN.
        tokens : Tokens
            Of this one frame.
        place : int or None
            Where it is in the window, if it was admitted.
        """
        held = [(other, slot) for other, slot in self._slots.in_order() if other != place]
        most = max(self._neighbours, default=1) - 1
        if most < 1 or not held:
            return raw
        theirs = np.concatenate([slot.tokens.class_tokens for _, slot in held])
        nearest = np.argsort(-(theirs @ tokens.class_tokens[0]), kind="stable")[:most]
        for number in nearest:
            self.score_held(held[number][0])
        known = [held[number][1] for number in nearest if held[number][1].scored]
        raws = [raw, *(slot.raw_score for slot in known)]
        class_tokens = [tokens.class_tokens, *(slot.tokens.class_tokens for slot in known)]
        return float(self.rescored(raws, class_tokens)[0])

    def scores(self) -> dict[int, float]:
        """Return the scores after RsCIN of all frames that have one, by place."""
        scored = [(place, slot) for place, slot in self._slots.in_order() if slot.scored]
        raws = [slot.raw_score for _, slot in scored]
        values = self.rescored(raws, [slot.tokens.class_tokens for _, slot in scored])
        return {place: float(score) for (place, _), score in zip(scored, values, strict=True)}

    def judgement(
        self, scores: Mapping[int, float], rule: ThresholdRule, *, band: float
    ) -> Judgement:
        """Make the thresholds from `scores` of the window's frames; see `results.judge`."""
        slots = [self._slots[place] for place in scores]
        return judge(
            np.array(list(scores.values()), np.float32),
            np.array([slot.raw_score for slot in slots], np.float32),
            rule,
            recurring=np.array([slot.recurring for slot in slots], bool),
            known_good=np.array([slot.reference for slot in slots], bool),
            compared_with=len(self._slots),
            capacity=self._window.shape.capacity,
            band=band,
        )


@dataclass(frozen=True)
class SearchNews:
    """What a search for recurring defects has changed.

    Attributes
    ----------
    revisions : tuple of Revision
        Frames that are NG after all.
    alarms : tuple of RecurringDefect
        Defects that were not known.
    failure : str
        Why a search failed; empty where none did.
    """

    revisions: tuple[Revision, ...] = ()
    alarms: tuple[RecurringDefect, ...] = ()
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
            raw = self._scorer.raw_score(compared.patch_scores)
            place = compared.place if compared.admitted else None
            if place is not None:
                self._scorer.keep(place, raw)
            self._scorer.refresh(everyone=len(self._slots) <= self._least)
            score = self._scorer.rescored_new(raw, slot.tokens, place)
            if compared.count + 1 >= self._least:
                window_scores = self._scorer.scores()
                judgement = self._scorer.judgement(window_scores, rule, band=self._band)
            thresholds = judgement.threshold, judgement.pixel_threshold
            scores = FrameScores(score, raw, *thresholds, compared.patch_scores)
        slot.verdict, slot.reason = judgement.verdict(score, recurring=slot.recurring)
        if compared.other:  # what it scores says nothing about a part
            slot.verdict, slot.reason = Verdict.UNCERTAIN, Reason.OTHER_PRODUCT
        return scores

    def score_everyone(self) -> None:
        """Score all frames of the window, of which many have come at once."""
        self._scorer.refresh(everyone=True)

    def everyone(self) -> ScoreResult:
        """Score all frames of the window anew; see `RollingInspector.scores`."""
        held = list(self._slots.in_order())
        rows = [self._scorer.score_held(place) for place, _ in held]
        if len(rows) < 2 or any(row is None for row in rows):
            raise ScoringError(f"{len(rows)} frame(s) in the window: mutual scoring needs 2")
        raw = np.array([slot.raw_score for _, slot in held], np.float32)
        scores = self._scorer.rescored(raw, [slot.tokens.class_tokens for _, slot in held])
        recurring = np.array([slot.recurring for _, slot in held])
        patch_scores = np.stack([row for row in rows if row is not None])
        return ScoreResult(patch_scores, raw, scores, recurring, matching=self._scorer.form)

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
        revisions: list[Revision] = []
        if self._settle is None or len(self._slots) < self._least:
            return ()
        for place, slot in list(self._slots.in_order()):
            if slot.settled or number - slot.frame_id < self._settle:
                continue
            slot.settled = True
            patch_scores = self._scorer.score_held(place)
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

    def search(self, slot: Slot, compared: Comparison, scores: FrameScores | None) -> SearchNews:
        """Apply what a search for recurring defects has brought, and start the next one if due.

        It is told of the new frame, whose verdict and scores stand.
        """
        if self._tracker is None:
            return SearchNews()
        unexplained = slot.verdict is Verdict.NG and not slot.recurring
        if compared.admitted and unexplained and scores is not None:
            self._tracker.not_good(compared.place, int(scores.patch_scores.argmax()))
        results, failure = self._tracker.step()
        revisions = [revision for result in results for revision in self._found(result)]
        alarms = [self._described(result.defect) for result in results if result.new]
        if not self._contents.ignore_next():
            self._tracker.search()
        return SearchNews(tuple(revisions), tuple(alarms), failure)

    def _found(self, result: SearchResult) -> list[Revision]:
        """Score frames without those that share their defect, and call them NG."""
        self._contents.ignore_later(dict(result.ignored))
        members = tuple(result.defect.members)
        maps = {}
        for place in result.ignored:
            self._slots[place].recurring = True
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


def ng_regions(
    verdict: Verdict, scores: FrameScores | None, frame_size: tuple[int, int]
) -> tuple[Region, ...]:
    """Return boxes round what is wrong in an NG frame of that height and width."""
    if verdict is not Verdict.NG or scores is None or scores.pixel_threshold is None:
        return ()
    return regions(scores.patch_scores, above=scores.pixel_threshold, frame_size=frame_size)
