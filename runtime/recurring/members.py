"""From a candidate to the images that really share the defect.

A community of the graph may hold only half of these images, and others as well. So patches vote.
Patches that are near to the candidate's images and far from most others decide, for every image,
whether it lies inside or outside. The images inside are the next candidate. The first rounds
compare with images outside that are far, since members may still be missing; later rounds compare
with the nearest images outside.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from zeroline.runtime.arrays import Float64
from zeroline.runtime.recurring import constants
from zeroline.runtime.recurring.statistics import InOutDistances, SetStatistics

Members = npt.NDArray[np.intp]


def least_members(images: int) -> int:
    """Return in how many of N images a recurring defect is at least."""
    return max(constants.LEAST_CARRIERS, int(np.ceil(constants.LEAST_SHARE * images)))


class Closure:
    """Completes candidates; a state that was reached before is not followed again.

    Parameters
    ----------
    statistics : SetStatistics
        Of the set that is searched.
    """

    def __init__(self, statistics: SetStatistics) -> None:
        self._statistics = statistics
        self._images = len(statistics.image_scores)
        self._seen: set[tuple[float, bytes]] = set()

    def of(self, start: Members) -> Members | None:
        """Return the images that share what a candidate's images share.

        Parameters
        ----------
        start : array of int
            The candidate.

        Returns
        -------
        array of int, or None
            None where too few or too many images are left, or where an earlier candidate has
            reached the same state.
        """
        members = start
        for share in constants.ROUNDS:
            state = share, members.tobytes()
            if state in self._seen or not self._plausible(members, constants.LEAST):
                return None
            self._seen.add(state)
            votes = votes_of(members, self._statistics, share)
            if votes is None:
                return None
            members = np.flatnonzero(votes < 0)
        return members if self._plausible(members, least_members(self._images)) else None

    def _plausible(self, members: Members, least: int) -> bool:
        return least <= len(members) <= constants.LARGEST_SHARE * self._images


def votes_of(members: Members, statistics: SetStatistics, share: float) -> Float64 | None:
    """Return for every image where it lies: under 0 inside, over 0 outside.

    Parameters
    ----------
    members : array of int
        The candidate.
    statistics : SetStatistics
        Of the set that is searched.
    share : float
        Quantile of the distances outside that stands for "not a member".

    Returns
    -------
    array, shape (N,), float64, or None
        None where patches of fewer than three images vote.
    """
    owners, rows = statistics.voters(members)
    sides = InOutDistances.of(rows, members)
    farther = np.log(sides.among_members(constants.FAR_MEMBER))
    beyond = np.log(sides.among_others(share))
    low, high = constants.VOTE_INTERVAL
    without = sides.scores_without(low=low, high=high)
    voting = (beyond > farther) & (without > statistics.relevant)
    if len(np.unique(owners[voting])) < constants.LEAST:
        return None
    weight = (beyond - farther) * (without / statistics.relevant) ** constants.EMPHASIS
    gap = beyond - np.log(sides.among_members(constants.MEDIAN))
    place = np.log(rows[voting]) - ((farther + beyond) / 2)[voting, None]
    place = np.clip(place / gap[voting, None], -1, 1)
    place[~np.isfinite(rows[voting])] = 0  # the own image
    votes: Float64 = weight[voting].astype(np.float64) @ place
    return votes
