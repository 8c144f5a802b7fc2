"""From a candidate to the images that really share the defect.

A community of the graph may hold half of them, and strangers. So patches vote: those that are near
to the candidate's images and far from most others say, for every image, on which side of the gap it
lies. The votes' members take the candidate's place, and the outside is looked at ever more closely:
at first its farther part, since missing members still lie there, at last its nearest images.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from zeroline.runtime.codegraph.communities import LARGEST_SHARE, LEAST
from zeroline.runtime.codegraph.levels import Levels, Sides

#: Quantile of the distances outside that stands for "not a member", round by round.
ROUNDS = (0.4, 0.25, 0.12, 0.05, 0.05, 0.05)
#: Patches of an image that vote, the clearest.
VOTERS = 8

_EMPHASIS = 6  # anomalous patches' votes count more
_LEAST_SHARE = 0.05

Members = npt.NDArray[np.intp]


def closed_members(
    distances: npt.NDArray[np.float32], start: Members, levels: Levels
) -> Members | None:
    """Return the images that share what a candidate's images share; None where nothing is left.

    Parameters
    ----------
    distances : array, shape (N, P, N), float32
    start : array of int
        The candidate.
    levels : Levels
    """
    images = len(distances)
    least = max(LEAST, int(np.ceil(_LEAST_SHARE * images)))
    members = start
    for share in ROUNDS:
        if not LEAST <= len(members) <= LARGEST_SHARE * images:
            return None
        votes = _votes(distances, members, levels, share)
        if votes is None:
            return None
        members = np.flatnonzero(votes < 0)
    return members if least <= len(members) <= LARGEST_SHARE * images else None


def _votes(
    distances: npt.NDArray[np.float32], members: Members, levels: Levels, share: float
) -> npt.NDArray[np.float64] | None:
    """Return for every image where it lies, from -1 (with the members) to 1 (outside)."""
    rows = distances[members[:, None], levels.farthest[members]]
    sides = Sides.of(rows, members)
    middle, farther, beyond = (
        np.log(values)
        for values in (
            sides.among_members(0.5), sides.among_members(0.75), sides.among_others(share)
        )
    )  # fmt: skip
    count = sides.outside.shape[2]
    first, last = int(0.2 * count), max(int(0.5 * count), int(0.2 * count) + 1)
    without = sides.outside[:, :, first:last].mean(axis=2)
    level = np.float32(levels.relevant)
    weight = np.maximum(beyond - farther, 0) * (without / level) ** _EMPHASIS * (without > level)
    least = np.sort(weight, axis=1)[:, -min(VOTERS, weight.shape[1])]
    weight[weight < np.maximum(least, 1e-9)[:, None]] = 0
    if (weight.sum(axis=1) > 0).sum() < LEAST:
        return None
    gap = np.maximum(beyond - middle, 1e-3)
    place = np.log(np.maximum(rows, 1e-6)) - ((farther + beyond) / 2)[:, :, None]
    place = np.clip(place / gap[:, :, None], -1, 1)
    counted = weight[:, :, None] * np.isfinite(rows)
    total = counted.sum(axis=(0, 1), dtype=np.float64)
    votes: npt.NDArray[np.float64] = (counted * place).sum(axis=(0, 1)) / np.maximum(total, 1e-12)
    return votes
