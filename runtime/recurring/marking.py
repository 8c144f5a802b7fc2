"""Which patches of a community's images are the defect: those whose score depends on the members.

Without the members the interval average of a normal patch changes by a few hundredths, but a patch
of the defect loses all its near matches. Patches are marked where the ratio of both averages is
high, in robust deviations (CoDeGraph, §3, stage d).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from zeroline.runtime.arrays import Bools, Float32
from zeroline.runtime.recurring import constants
from zeroline.runtime.recurring.evidence import gaps
from zeroline.runtime.recurring.statistics import InOutDistances, SetStatistics, without_gaps


def marked_patches(
    distances: Float32, members: npt.NDArray[np.intp], statistics: SetStatistics
) -> Bools:
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


def standing_out(without: Float32, usual: Float32) -> Bools:
    """Return which patches' scores depend on a community, from scores without it and with it."""
    ratio = np.log(without / np.maximum(usual, constants.TINY))
    middle = float(np.median(ratio))
    deviation = constants.DEVIATION * float(np.median(np.abs(ratio - middle)))
    marks: Bools = ratio > middle + constants.STANDS_OUT * max(deviation, constants.TINY)
    return marks


def usual_gap(distances: Float32, members: npt.NDArray[np.intp], marks: Bools) -> float:
    """Return the members' usual gap in other distances than those that they were found in.

    Parameters
    ----------
    distances : array, shape (N, P, N), float32
        Of the set.
    members : array of int
        The community.
    marks : array, shape (members, P), bool
        Where each member has the defect.

    Returns
    -------
    float
        The median over members of the widest gap at a marked patch.
    """
    sides = InOutDistances.of(without_gaps(distances)[members], members)
    gap = gaps(sides, nearest=constants.NEAREST)
    return float(np.median(np.where(marks, gap, -np.inf).max(axis=1)))


def marks_of_newcomer(
    rows: Float32,
    members: npt.NDArray[np.intp],
    *,
    relevant: float,
    gap: float,
) -> Bools | None:
    """Return where an image has a known defect.

    Parameters
    ----------
    rows : array, shape (P, n), float32
        Its distances to n other images, all finite, as if no patch were ignored.
    members : array of int
        Those of them that have the defect.
    relevant : float
        Score from which on a patch matters (`CodegraphResult.relevant`).
    gap : float
        The members' usual gap (`Evidence.gap`).

    Returns
    -------
    array, shape (P,), bool, or None
        None where the image does not have the defect.
    """
    if len(members) < 1 or len(members) >= rows.shape[1]:
        return None
    sides = InOutDistances.of(rows, members, own=False)
    without = sides.scores_without()
    if not (
        (gaps(sides, nearest=constants.NEWCOMER_NEAREST) >= constants.NEWCOMER * gap)
        & (without > relevant)
    ).any():
        return None
    everyone = np.sort(rows, axis=1)[:, : max(1, int(constants.AVERAGED * rows.shape[1]))].mean(
        axis=1
    )
    marks = standing_out(without, everyone)
    return marks if marks.any() else None
