"""Two groups of scores: what a threshold from the lower half cannot see past.

*Ours*. A threshold rule takes the lower half of the scores for good parts of one kind. Two views,
two products, or as many defective parts as good ones make two groups, and the rule then spans both.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from zeroline.runtime.arrays import Float64

#: Scores that are needed to tell two groups from chance.
LEAST_SCORES = 32
#: Share of the scores' variance that lies between two groups. One group split at its best place
#: has 0.64 where it is normal and 0.75 where it is uniform; with 32 scores of a normal law 0.3 %
#: of samples reach 0.8, with 64 none of 2000 did.
BETWEEN = 0.8
#: The smaller group has this share at the least; fewer scores are outliers.
LEAST_SHARE = 0.2
#: Of scores that are clearly NG, so large a share may be a second view; fewer are defects.
HALF = 0.4


@dataclass(frozen=True)
class TwoGroups:
    """Two groups of scores.

    Attributes
    ----------
    below, above : int
        How many scores are in the lower and in the upper one.
    middles : (float, float)
        Their means.
    gap : (float, float)
        The highest score of the lower one, and the lowest of the upper one.
    """

    below: int
    above: int
    middles: tuple[float, float]
    gap: tuple[float, float]


def two_groups(scores: Float64, /) -> TwoGroups | None:
    """Split scores (n,) where the variance between the two groups is largest (Otsu, 1979).

    Parameters
    ----------
    scores : array, shape (n,), float
        Finite.

    Returns
    -------
    TwoGroups or None
        None where there are fewer than `LEAST_SCORES`, or one group and its outliers.
    """
    count = len(scores)
    if count < LEAST_SCORES:
        return None
    ordered = np.sort(scores)
    sizes = np.arange(1, count)
    sums = np.cumsum(ordered)[:-1]
    low, high = sums / sizes, (ordered.sum() - sums) / (count - sizes)
    between = sizes * (count - sizes) / count * (high - low) ** 2
    place = int(between.argmax())
    below, above = int(sizes[place]), count - int(sizes[place])
    total = float(((ordered - ordered.mean()) ** 2).sum())
    if total == 0 or between[place] < BETWEEN * total or min(below, above) < LEAST_SHARE * count:
        return None
    return TwoGroups(
        below,
        above,
        (float(low[place]), float(high[place])),
        (float(ordered[place]), float(ordered[place + 1])),
    )
