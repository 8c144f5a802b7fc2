"""Scores of the frames in a window, and the thresholds that they make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from zeroline.runtime.arrays import Float32, Float64
from zeroline.runtime.judgement import Judgement, judge
from zeroline.runtime.line.slots import Slot, Slots
from zeroline.runtime.line.window import Window
from zeroline.runtime.stages.levels import in_one_pose, less_level, place_levels
from zeroline.runtime.stages.maps import map_maximum
from zeroline.runtime.stages.rscin import rscin
from zeroline.runtime.stages.threshold import ThresholdRule
from zeroline.runtime.tokens import Tokens

#: Frames whose scores are looked at again with each push, in turn, for the threshold.
REFRESHED = 4


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
    levels_from : int or None
        From so many frames on, each place's own level is taken off; None: never.

    Attributes
    ----------
    level : array, shape (P,), float32, or None
        Each place's own level, as it was when scores were last refreshed.
    """

    def __init__(
        self,
        window: Window,
        slots: Slots,
        *,
        size: int,
        neighbours: tuple[int, ...],
        levels_from: int | None = None,
    ) -> None:
        self._window, self._slots, self._size = window, slots, size
        self._neighbours, self._levels_from = neighbours, levels_from
        self._turn = 0
        self.level: Float32 | None = None

    @property
    def form(self) -> str:
        """The form of matching."""
        return self._window.shape.form

    def shown(self, patch_scores: Float32, slot: Slot) -> Float32:
        """Return a frame's patch scores (P,) less its places' levels, where they are taken off."""
        if self.level is None:
            return patch_scores
        absent = None if slot.absent is None else slot.absent[None]
        scores: Float32 = less_level(patch_scores[None], self.level, absent=absent)[0]
        return scores

    def limits(self, shown: float) -> Float64:
        """Return a limit of shown scores as limits (P,) of scores as they are matched."""
        if self.level is None:
            return np.full(self._window.shape.patches, shown)
        limits: Float64 = self.level + np.float64(shown)
        return limits

    def raw_score(self, shown: Float32) -> float:
        """Return the image score of a map, before RsCIN."""
        tiles = self._window.shape.tiles
        return float(map_maximum(shown[None], size=self._size, tiles=tiles)[0])

    def keep(self, slot: Slot, patch_scores: Float32) -> float:
        """Write down a frame's scores as they were matched; return its image score."""
        slot.patch_scores = patch_scores
        slot.raw_score = self.raw_score(self.shown(patch_scores, slot))
        return slot.raw_score

    def score_held(self, place: int, *, without: Sequence[int] = ()) -> Float32 | None:
        """Score a frame of the window anew; its patch scores (P,) as they are shown.

        None where nothing matches.

        Parameters
        ----------
        place : int
            Its place.
        without : sequence of int
            Places that do not count.
        """
        patch_scores = self._window.patch_scores(place, without=without)
        if patch_scores is None:
            return None
        self.keep(self._slots[place], patch_scores)
        return self.shown(patch_scores, self._slots[place])

    def look_ahead(self, places: Sequence[int]) -> None:
        """Ask for the scores of some frames at once, before `score_held`; see `Window`."""
        self._window.look_ahead_held(places)

    def refresh(self, *, everyone: bool, beside: Sequence[int] = ()) -> None:
        """Score some frames of the window anew, in turn, or all of them.

        Parameters
        ----------
        everyone : bool
        beside : sequence of int
            Places that will be scored next; a device is asked for all of them at once.
        """
        places = [place for place, _ in self._slots.in_order()]
        if not everyone:
            count = len(places)
            places = [places[(self._turn + step) % count] for step in range(min(REFRESHED, count))]
        self._window.look_ahead_held(list(dict.fromkeys([*places, *beside])))
        for place in places:
            self.score_held(place)
        self._turn += REFRESHED
        if self._levels_from is not None:
            self._find_levels(anew=places)

    def _find_levels(self, *, anew: Sequence[int]) -> None:
        """Find the levels again, and score some frames by them; all, where they begin or end."""
        before, self.level = self.level, None
        slots = [slot for _, slot in self._slots.in_order() if slot.patch_scores is not None]
        assert self._levels_from is not None  # noqa: S101 - the caller has asked
        if len(slots) >= self._levels_from and in_one_pose([slot.turn for slot in slots]):
            scores = np.array([slot.patch_scores for slot in slots], np.float32)
            nowhere = np.zeros(scores.shape[1], bool)
            absent = np.array([nowhere if s.absent is None else s.absent for s in slots])
            self.level = np.asarray(place_levels(scores, absent=absent), np.float32)
        if (before is None) == (self.level is None):
            slots = [self._slots[place] for place in anew]
        for slot in slots:
            if slot.patch_scores is not None:
                self.keep(slot, slot.patch_scores)

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
        nearest = self.nearest(tokens, place)
        if not nearest:
            return raw
        for other in nearest:
            self.score_held(other)
        known = [self._slots[other] for other in nearest if self._slots[other].scored]
        raws = [raw, *(slot.raw_score for slot in known)]
        class_tokens = [tokens.class_tokens, *(slot.tokens.class_tokens for slot in known)]
        return float(self.rescored(raws, class_tokens)[0])

    def nearest(self, tokens: Tokens, place: int | None) -> list[int]:
        """Return the places of a new frame's neighbours, by which its score is rescored.

        Parameters are those of `rescored_new`.
        """
        held = [(other, slot) for other, slot in self._slots.in_order() if other != place]
        most = max(self._neighbours, default=1) - 1
        if most < 1 or not held:
            return []
        theirs = np.concatenate([slot.tokens.class_tokens for _, slot in held])
        alike = theirs @ tokens.class_tokens[0]
        own = np.square(tokens.class_tokens[0]).sum()
        if np.count_nonzero(alike > own) > most:  # the frame is not among its own neighbours
            most += 1
        nearest = np.argsort(-alike, kind="stable")[:most]
        return [held[number][0] for number in nearest]

    def scores(self) -> dict[int, float]:
        """Return the scores after RsCIN of all frames that have one, by place."""
        scored = [(place, slot) for place, slot in self._slots.in_order() if slot.scored]
        raws = [slot.raw_score for _, slot in scored]
        values = self.rescored(raws, [slot.tokens.class_tokens for _, slot in scored])
        return {place: float(score) for (place, _), score in zip(scored, values, strict=True)}

    def judgement(
        self, scores: Mapping[int, float], rule: ThresholdRule, *, band: float
    ) -> Judgement:
        """Make the thresholds from `scores` of the window's frames; see `judgement.judge`."""
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
