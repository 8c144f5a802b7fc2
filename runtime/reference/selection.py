"""Which frames may be known-good: they are scored against each other, and the unusual are left out.

A person, or a line, offers frames. Bad ones may be among them, and a defect that several of them
share scores as normal. So recurring defects are searched for, and what is unusual is left out and
named, whether a set is made or loaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from zeroline.runtime.arrays import Bools, Float32, to_host
from zeroline.runtime.batch import score_tokens
from zeroline.runtime.errors import ScoringError
from zeroline.runtime.judgement import judge
from zeroline.runtime.results import Reason
from zeroline.runtime.stages.degrees import Degrees
from zeroline.runtime.stages.rscin import rscin as rescore
from zeroline.runtime.stages.threshold import ThresholdRule, clearly_not_good
from zeroline.runtime.tokens import Tokens

#: From so many frames on the search sees a defect that a fifth of them have; in fewer, one may
#: stay unseen.
ENOUGH = 60
#: A set of which more than this share is unusual was taken on a bad day. At a rate of 0.01 it is
#: one of 60, and of 3,000 clean sets of 60 one has four.
UNUSUAL_SHARE = 0.05
#: Fewer unusual frames than this are no reason for a warning, however small the set.
LEAST_UNUSUAL = 2


@dataclass(frozen=True)
class Scoring:
    """How frames are scored against each other; the options of `score_tokens`.

    Attributes
    ----------
    size : int
        Side S of the maps, in pixels.
    degrees : tuple of int, or "fused"
        Neighbourhood sizes of LNAMD.
    rscin : tuple of int
        Neighbourhood sizes of RsCIN; empty: off.
    interval : (float, float)
        Part of the sorted distances that is averaged.
    threads : int or None
        Worker threads.
    roi : array, shape (P,), bool, or None
        Patches that count; None: all.
    own_level : bool
        Take each place's own level off.
    """

    size: int
    degrees: Degrees
    rscin: tuple[int, ...] = ()
    interval: tuple[float, float] = (0.0, 0.3)
    threads: int | None = None
    roi: Bools | None = field(default=None, compare=False, repr=False)
    own_level: bool = False


@dataclass(frozen=True)
class Selection:
    """What was found in N frames.

    Attributes
    ----------
    scores : array, shape (N,), float32
        Against each other, after RsCIN.
    threshold : float
        A score over it is unusual.
    reasons : tuple of Reason or None
        Why each frame is not good enough; None: it is.
    confirmed : array, shape (N,), bool
        Frames that a person has called good: they are kept, whatever is found.
    """

    scores: Float32 = field(compare=False, repr=False)
    threshold: float
    reasons: tuple[Reason | None, ...]
    confirmed: Bools = field(compare=False, repr=False)

    @property
    def kept(self) -> Bools:
        """Which frames are kept, (N,)."""
        return np.array([reason is None for reason in self.reasons], bool) | self.confirmed

    @property
    def warning(self) -> str:
        """What is wrong with the frames as a set, in one line; empty where nothing is."""
        count = len(self.reasons)
        found = [reason for reason, kept in zip(self.reasons, self.kept, strict=True) if not kept]
        recurring, unusual = found.count(Reason.RECURRING), found.count(Reason.SCORE)
        if recurring:
            return f"{recurring} of {count} frames share a defect: a tool may be broken"
        if unusual >= LEAST_UNUSUAL and unusual > UNUSUAL_SHARE * count:
            return f"{unusual} of {count} frames are unusual: are these good parts?"
        return ""


def select_good(
    tokens: Tokens,
    scoring: Scoring,
    /,
    *,
    false_alarm_rate: float,
    not_good: Sequence[Reason | None] = (),
    confirmed: Bools | None = None,
    groups: Sequence[int] | None = None,
    absent: Bools | None = None,
) -> Selection:
    """Choose the frames that a reference set may hold.

    Left out are frames whose score lies over the automatic threshold, those that have a recurring
    defect, and those that were not good before.

    Parameters
    ----------
    tokens : Tokens
        Of N ≥ 2 frames.
    scoring : Scoring
    false_alarm_rate : float
        Of the threshold; about this share of good frames is left out as well.
    not_good : sequence of Reason or None, optional
        What is known of each frame before: why it is NG.
    confirmed : array, shape (N,), bool, optional
        Frames that a person has called good.
    groups : sequence of int, optional
        Frames of one group are of one part.
    absent : array, shape (N, P), bool, optional
        Patches of each frame that show no part. Such a frame is scored, and left out: its tokens
        do not tell which they are.

    Returns
    -------
    Selection

    Raises
    ------
    ScoringError
        For fewer than two parts, or a rate out of range.
    """
    scored = _scored(tokens, scoring, groups, absent)
    rule = ThresholdRule(false_alarm_rate=false_alarm_rate)
    judgement = judge(scored.scores, scored.scores, rule, recurring=scored.recurring)
    assert judgement.threshold is not None  # noqa: S101 - of two scores at least
    before = list(not_good or (None,) * len(tokens))
    if absent is not None:
        before = [
            known or (Reason.PART_NOT_WHOLE if away.any() else None)
            for known, away in zip(before, absent, strict=True)
        ]
    reasons = [
        known or judgement.verdict(float(score), recurring=bool(has))[1]
        for known, score, has in zip(before, scored.scores, scored.recurring, strict=True)
    ]
    return Selection(
        scored.scores, judgement.threshold, tuple(reasons), _or_none(confirmed, reasons)
    )


def recheck(tokens: Tokens, scoring: Scoring, /, *, confirmed: Bools | None = None) -> Selection:
    """Look at a set that somebody has made: who made it, and with what, is not known.

    Left out are frames that have a recurring defect, and those that are clearly not good. The
    threshold of `select_good` would take a frame or two of a good set each time that it is loaded.

    Parameters
    ----------
    tokens : Tokens
        Of N ≥ 2 frames.
    scoring : Scoring
    confirmed : array, shape (N,), bool, optional
        Frames that a person has called good.

    Returns
    -------
    Selection
        The threshold is the least score that was left out for itself, or inf.

    Raises
    ------
    ScoringError
        For fewer than two frames.
    """
    scored = _scored(tokens, scoring, None)
    others = ~scored.recurring
    clear = np.zeros(len(tokens), bool)
    if others.any():
        clear[others] = clearly_not_good(scored.scores[others].astype(np.float64))
    reasons = [
        Reason.RECURRING if has else Reason.SCORE if over else None
        for has, over in zip(scored.recurring, clear, strict=True)
    ]
    limit = float(scored.scores[clear].min()) if clear.any() else np.inf
    return Selection(scored.scores, limit, tuple(reasons), _or_none(confirmed, reasons))


def recurring_among(
    tokens: Tokens,
    scoring: Scoring,
    /,
    *,
    groups: Sequence[int] | None = None,
    absent: Bools | None = None,
) -> Bools:
    """Return which of N frames have a defect that several of them share, (N,) bool.

    Parameters and errors are those of `select_good`.
    """
    return _scored(tokens, scoring, groups, absent).recurring


def _or_none(confirmed: Bools | None, reasons: Sequence[Reason | None]) -> Bools:
    return np.zeros(len(reasons), bool) if confirmed is None else np.asarray(confirmed, bool)


@dataclass(frozen=True)
class _Scored:
    scores: Float32
    recurring: Bools


def _scored(
    tokens: Tokens,
    scoring: Scoring,
    groups: Sequence[int] | None,
    absent: Bools | None = None,
) -> _Scored:
    """Score frames against each other; outside the region of interest nothing counts."""
    count = len(tokens)
    if count < 2 or (groups is not None and len(set(groups)) < 2):
        raise ScoringError(f"{count} frame(s) of one part: a reference set needs 2 parts or more")
    result = score_tokens(
        tokens,
        size=scoring.size,
        degrees=scoring.degrees,
        rscin=(),
        interval=scoring.interval,
        groups=groups,
        roi=scoring.roi,
        absent=absent,
        own_level=scoring.own_level,
        codegraph=True,
        threads=scoring.threads,
    )
    scores: Any = to_host(result.raw_scores)
    if scoring.rscin:
        scores = rescore(
            scores, to_host(tokens.class_tokens), neighbours=scoring.rscin, normalise=False
        )
    return _Scored(np.asarray(scores, np.float32), to_host(result.recurring))
