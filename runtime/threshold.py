"""The threshold that needs no labels (docs/algorithms.md)."""

from __future__ import annotations

from statistics import NormalDist
from typing import Any

import numpy as np

from zeroline.runtime.arrays import to_host
from zeroline.runtime.errors import ScoringError


def auto_threshold(scores: Any, /, *, false_alarm_rate: float = 0.01) -> float:
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
