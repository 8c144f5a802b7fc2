"""The threshold that needs no labels (docs/algorithms.md, "Threshold")."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil
from statistics import NormalDist
from typing import Any

import numpy as np

from zeroline.runtime.arrays import Array, Bools, Float64, to_host
from zeroline.runtime.errors import ScoringError

#: Skew of good scores that is believed before there are scores, and how many scores outweigh it.
#: Image scores are maxima, and maxima are skewed: 0.4 to 1.1 was measured.
SKEW_BELIEVED, SKEW_WEIGHT = 0.6, 250
#: Largest skew. The factor below holds for gamma laws up to here.
MOST_SKEW = 0.9
#: Ratio of the mean upper to the mean lower deviation grows by this for each unit of skew.
UPPER_BY_SKEW = 0.47
#: Mean lower deviation of a normal law in σ, and what each unit of skew takes from it.
LOWER, LOWER_BY_SKEW = 0.798, 0.175
#: Makes the mean rate over many samples the stated one, with z² (3 % exact from 16 scores on).
SAMPLE_TERM = 1.5
#: Scores are clearly NG over the threshold of this rate at skew 1, however the others lie.
CLEARLY = 0.005
#: The first cut rests on the shortest interval with a third of the scores: while less than half are
#: good, half of all scores span good and bad ones. It lies this many half lengths over its middle.
DENSEST, FIRST_CUT = 1 / 3, 7
#: Scores in that interval at the least.
LEAST_DENSE = 8
#: So many times the cut at `CLEARLY` is made anew, since a lower cut may follow.
CUTS = 3
#: A calibrated threshold is the conformal place once it has this many scores for each expected
#: false alarm.
CONFORMAL_FROM = 3


@dataclass(frozen=True)
class Threshold:
    """A threshold, and how many scores made it.

    Attributes
    ----------
    value : float
        In the unit of the scores.
    used : int
        Scores that made it.
    left_out : int
        Scores that did not: they are clearly NG.

    Examples
    --------
    >>> Threshold(0.5, used=40, left_out=2).value
    0.5
    """

    value: float
    used: int
    left_out: int = 0


def auto_threshold(scores: Array | Sequence[float], /, *, false_alarm_rate: float = 0.01) -> float:
    """Return the score above which an image is called NG.

    m + s·k: m is the median of the scores, s the mean distance to it of the scores under it, which
    defects cannot inflate. k grows with the normal quantile of the stated rate, with the skew of
    the scores, and with the uncertainty of few scores. Scores that are clearly NG are left out
    first. See "Threshold" in docs/algorithms.md.

    Parameters
    ----------
    scores : array, shape (N,), float
        Image scores in distance units; most of them of good images.
    false_alarm_rate : float
        Wanted share of good images over the threshold, 0 < rate ≤ 0.5: a mean over many sets. Of
        100 good images at 0.01 none to three are NG. Under 0.005 it is extrapolated.

    Returns
    -------
    float
        In the unit of the scores. The median itself where no score lies under it.

    Raises
    ------
    ScoringError
        For a rate out of range, no score, or scores that are not finite.

    Examples
    --------
    >>> round(auto_threshold([0.30, 0.31, 0.32, 0.33, 0.34, 0.90]), 3)
    0.467
    """
    check_rate(false_alarm_rate)
    return threshold_from(_finite(scores), false_alarm_rate).value


def threshold_from(scores: Float64, rate: float, /) -> Threshold:
    """Return the threshold of scores (n,) at a rate, scores that are clearly NG left out."""
    kept = ~clearly_not_good(scores)
    return Threshold(_quantile(scores[kept], rate), int(kept.sum()), int((~kept).sum()))


def clearly_not_good(scores: Float64, /) -> Bools:
    """Return which scores (n,) lie over the cut of the good ones' own lower half.

    Which are good is first guessed from where scores lie densest, so that up to a half may be bad.
    """
    out = _far_from_the_densest(scores)
    for _ in range(CUTS):
        kept = scores[~out]
        median, lower = _lower_half(kept)
        before, out = out, scores > median + lower * deviations(CLEARLY, len(kept), skew=1)
        if (out == before).all():
            break
    return out


def _far_from_the_densest(scores: Float64) -> Bools:
    """Return which scores (n,) lie far over the shortest interval with a third of them."""
    count = max(int(len(scores) * DENSEST), LEAST_DENSE)
    if len(scores) <= count:
        return np.zeros(len(scores), bool)
    ordered = np.sort(scores)
    lengths = ordered[count - 1 :] - ordered[: len(ordered) - count + 1]
    first = int(lengths.argmin())
    half = lengths[first] / 2
    far: Bools = (half > 0) & (scores > ordered[first] + half + FIRST_CUT * half)
    return far


def deviations(rate: float, count: int, *, skew: float) -> float:
    """Return how many mean lower deviations over the median a rate's threshold lies.

    The quantile of a skewed law by Cornish and Fisher, about its median, times a term for the
    uncertainty of the median and the deviation of `count` scores.
    """
    z = -NormalDist().inv_cdf(rate)
    quantile = (z + skew * z**2 / 6) / (LOWER - LOWER_BY_SKEW * skew)
    return quantile * (1 + (z**2 + SAMPLE_TERM) / count)


def skew_of(scores: Float64, /) -> float:
    """Return the skew of scores (n,): that of their two halves, drawn to the believed one."""
    median, lower = _lower_half(scores)
    above = scores[scores > median]
    if lower == 0 or not above.size:
        return SKEW_BELIEVED
    seen = (float((above - median).mean()) / lower - 1) / UPPER_BY_SKEW
    count = len(scores)
    skew = (count * seen + SKEW_WEIGHT * SKEW_BELIEVED) / (count + SKEW_WEIGHT)
    return min(max(skew, 0.0), MOST_SKEW)


def _quantile(scores: Float64, rate: float) -> float:
    median, lower = _lower_half(scores)
    return median + lower * deviations(rate, len(scores), skew=skew_of(scores))


def _lower_half(scores: Float64) -> tuple[float, float]:
    """Return the median, and the mean distance to it of the scores under it; 0 where none is."""
    median = float(np.median(scores))
    below = scores[scores < median]
    return median, median - float(below.mean()) if below.size else 0.0


def _finite(scores: Any) -> Float64:
    values: Float64 = np.asarray(to_host(scores), np.float64)
    if values.ndim != 1 or values.size == 0 or not np.isfinite(values).all():
        raise ScoringError("scores: one or more finite numbers are expected")
    return values


def check_rate(rate: float, /) -> None:
    """Refuse a false-alarm rate that is out of range."""
    if not 0 < rate <= 0.5:
        raise ScoringError(f"false_alarm_rate is {rate}, 0 < rate <= 0.5 is expected")


#: A good frame's score falls as (number of frames)^−0.016: 0.665 at 8 frames, 0.643 at 64
#: (docs/algorithms.md).
FILL_EXPONENT = 0.0162


@dataclass(frozen=True)
class ThresholdRule:
    """How a threshold is found.

    Attributes
    ----------
    fixed : float or None
        A number for a full window; None: automatic.
    false_alarm_rate : float
        Wanted share of good frames over an automatic or calibrated threshold: a mean. Of 100 good
        frames at 0.01 none to three are NG. Under 0.005 it is extrapolated.
    calibrated : bool
        From the reference set's scores instead of the window's own.
    factor : float
        Of the distance from the median score to the threshold: 1.5 lets scores lie half as far
        again over it. Not with a fixed one.

    Raises
    ------
    ScoringError
        For a threshold outside 0 to 2, a rate out of range, or a factor that is not over 0.

    Examples
    --------
    >>> ThresholdRule(fixed=0.5).threshold([], compared_with=64, capacity=64).value
    0.5
    """

    fixed: float | None = None
    false_alarm_rate: float = 0.01
    calibrated: bool = False
    factor: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.factor <= 10:
            raise ScoringError(f"factor is {self.factor}, over 0 to 10 is expected")
        if self.fixed is not None and not 0 <= self.fixed <= 2:
            raise ScoringError(f"threshold is {self.fixed}, 0 to 2 is expected")
        check_rate(self.false_alarm_rate)

    @property
    def automatic(self) -> bool:
        """Whether the window's own scores make it."""
        return self.fixed is None and not self.calibrated

    def threshold(self, scores: Any, /, *, compared_with: int, capacity: int) -> Threshold:
        """Return the threshold.

        Parameters
        ----------
        scores : array, shape (n,), float
            Those that make it (`zeroline.runtime.judgement.judge`); known-good ones where it is
            calibrated.
        compared_with, capacity : int
            Frames in the window, and its slots; images of a set, twice.
        """
        if self.fixed is not None:
            fill = (capacity / max(compared_with, 1)) ** FILL_EXPONENT
            return Threshold(float(self.fixed * fill), len(scores))
        values = _finite(scores)
        if self.calibrated:
            found = Threshold(self._of_known_good(values), len(values))
        else:
            found = threshold_from(values, self.false_alarm_rate)
        if self.factor == 1:
            return found
        kept = values if self.calibrated else values[~clearly_not_good(values)]
        median = float(np.median(kept))
        return replace(found, value=median + self.factor * (found.value - median))

    def _of_known_good(self, scores: Float64) -> float:
        """Return the threshold of scores (n,) that are all good.

        Few scores: the rule of `auto_threshold`. Many: the conformal place, the score at rank
        ⌈(n + 1)(1 − rate)⌉, which one more good score exceeds at the stated rate at most,
        whatever its law.
        """
        rate, count = self.false_alarm_rate, len(scores)
        if count * rate < CONFORMAL_FROM:
            return _quantile(scores, rate)
        return float(np.sort(scores)[ceil((count + 1) * (1 - rate)) - 1])
