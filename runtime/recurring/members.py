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

from zeroline.runtime.recurring import constants
from zeroline.runtime.recurring.statistics import InOutDistances, SetStatistics

Members = npt.NDArray[np.intp]


def least_members(images: int) -> int:
    """Return in how many of N images a recurring defect is at least."""
    return max(constants.LEAST, int(np.ceil(constants.LEAST_SHARE * images)))


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
        members, before = start, None
        for share in constants.ROUNDS:
            if before == (share, members.tobytes()):
                break  # nothing changes any more
            before = share, members.tobytes()
            if before in self._seen or not self._plausible(members, constants.LEAST):
                return None
            self._seen.add(before)
            votes = votes_of(members, self._statistics, share)
            if votes is None:
                return None
            members = np.flatnonzero(votes < 0)
        return members if self._plausible(members, least_members(self._images)) else None

    def _plausible(self, members: Members, least: int) -> bool:
        return least <= len(members) <= constants.LARGEST_SHARE * self._images


def votes_of(
    members: Members, statistics: SetStatistics, share: float
) -> npt.NDArray[np.float64] | None:
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
    owners, _, rows = statistics.voters(members)
    sides = InOutDistances.of(rows, members)
    farther = np.log(sides.among_members(constants.VOTE_FAR_MEMBER))
    beyond = np.log(sides.among_others(share))
    low, high = constants.VOTE_WITHOUT
    without = sides.scores_without(low=low, high=high)
    weight = (
        np.maximum(beyond - farther, 0) * (without / statistics.relevant) ** constants.VOTE_EMPHASIS
    )
    weight[without <= statistics.relevant] = 0
    clearest = np.lexsort((-weight, owners))
    turn = np.arange(len(owners)) - np.searchsorted(owners, owners)
    voters = clearest[(turn < constants.VOTERS) & (weight[clearest] > 0)]
    if len(np.unique(owners[voters])) < constants.LEAST:
        return None
    middle = np.log(sides.among_members(constants.VOTE_USUAL_MEMBER)[voters])
    gap = np.maximum(beyond[voters] - middle, constants.VOTE_GAP)
    place = np.log(rows[voters]) - ((farther + beyond) / 2)[voters, None]
    place = np.clip(place / gap[:, None], -constants.VOTE_MOST, constants.VOTE_MOST)
    counted = weight[voters, None] * np.isfinite(rows[voters])  # not to the own image
    total = counted.sum(axis=0, dtype=np.float64)
    votes: npt.NDArray[np.float64] = (counted * place).sum(axis=0) / np.maximum(total, 1e-12)
    return votes
