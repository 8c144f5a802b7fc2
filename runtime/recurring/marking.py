"""Which patches of a community's images are the defect: those whose score depends on the members.

Without the members the interval average of a normal patch changes by a few hundredths, but a patch
of the defect loses all its near matches. Patches are marked where the ratio of both averages is
high, in robust deviations (CoDeGraph, §3, stage d).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from zeroline.runtime.recurring import constants
from zeroline.runtime.recurring.statistics import InOutDistances, SetStatistics


def marked_patches(
    distances: npt.NDArray[np.float32], members: npt.NDArray[np.intp], statistics: SetStatistics
) -> npt.NDArray[np.bool_]:
    """Return the marks (members, P) of a community.

    Parameters
    ----------
    distances : array, shape (N, P, N), float32
        Of the set that is searched.
    members : array of int
        The community.
    statistics : SetStatistics
        Of the same set.
    """
    sides = InOutDistances.of(distances[members], members)
    return standing_out(sides.scores_without(), statistics.patch_scores[members])


def standing_out(
    without: npt.NDArray[np.float32], usual: npt.NDArray[np.float32]
) -> npt.NDArray[np.bool_]:
    """Return which patches' scores depend on a community, from scores without it and with it."""
    ratio = np.log(without / np.maximum(usual, constants.TINY))
    middle = float(np.median(ratio))
    deviation = constants.DEVIATION * float(np.median(np.abs(ratio - middle)))
    marks: npt.NDArray[np.bool_] = ratio > middle + constants.STANDS_OUT * max(
        deviation, constants.TINY
    )
    return marks
