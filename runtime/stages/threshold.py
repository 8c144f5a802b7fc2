"""The threshold that needs no labels (docs/algorithms.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from zeroline.runtime.arrays import Array, to_host
from zeroline.runtime.errors import ScoringError


def auto_threshold(scores: Array | Sequence[float], /, *, false_alarm_rate: float = 0.01) -> float:
    """Return the score above which an image is called NG.

    m + z·σ: m is the median of the scores; σ is 1.4826 times the median of (m - s) over the
    scores under m, the half that defects cannot inflate; z is the normal quantile of the
    stated false-alarm rate. Exact when good scores are normal and most images are good.

    Parameters
    ----------
    scores : array, shape (N,), float
        Image scores in distance units.
    false_alarm_rate : float
        Wanted share of good images over the threshold, 0 < rate ≤ 0.5.

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
    0.377
    """
    if not 0 < false_alarm_rate <= 0.5:
        raise ScoringError(f"false_alarm_rate is {false_alarm_rate}, 0 < rate <= 0.5 is expected")
    values = to_host(scores).astype(np.float64)
    if values.ndim != 1 or values.size == 0 or not np.isfinite(values).all():
        raise ScoringError("scores: one or more finite numbers are expected")
    median = float(np.median(values))
    below = values[values < median]
    sigma = 1.4826 * float(np.median(median - below)) if below.size else 0.0
    return median - NormalDist().inv_cdf(false_alarm_rate) * sigma


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
        Wanted share of good frames over an automatic or calibrated threshold.
    calibrated : bool
        The quantile of the reference set's scores instead of the window's own.

    Raises
    ------
    ScoringError
        For a threshold outside 0 to 2, or a rate out of range.

    Examples
    --------
    >>> ThresholdRule(fixed=0.5).value([], compared_with=64, capacity=64)
    0.5
    """

    fixed: float | None = None
    false_alarm_rate: float = 0.01
    calibrated: bool = False

    def __post_init__(self) -> None:
        if self.fixed is not None and not 0 <= self.fixed <= 2:
            raise ScoringError(f"threshold is {self.fixed}, 0 to 2 is expected")
        if not 0 < self.false_alarm_rate <= 0.5:
            raise ScoringError(
                f"false_alarm_rate is {self.false_alarm_rate}, 0 < rate <= 0.5 is expected"
            )

    def value(self, scores: Any, /, *, compared_with: int, capacity: int) -> float:
        """Return the threshold.

        Parameters
        ----------
        scores : array, shape (n,), float
            Those that make it (`zeroline.runtime.results.judge`).
        compared_with, capacity : int
            Frames in the window, and its slots; images of a set, twice.
        """
        if self.fixed is not None:
            return float(self.fixed * (capacity / max(compared_with, 1)) ** FILL_EXPONENT)
        if self.calibrated:
            return float(np.quantile(scores, 1 - self.false_alarm_rate))
        return auto_threshold(scores, false_alarm_rate=self.false_alarm_rate)
