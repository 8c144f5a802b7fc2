"""Recurring defects at both ends of the scale of neighbourhoods.

In the smallest degree a small or faint defect stands out most, since wider neighbourhoods blur
which images share it; one that is larger than a patch is clearer in the mean over all degrees.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from zeroline.runtime.arrays import to_host
from zeroline.runtime.grid import widened
from zeroline.runtime.recurring import constants
from zeroline.runtime.recurring.codegraph import CodegraphResult, codegraph
from zeroline.runtime.recurring.filter import shared
from zeroline.runtime.stages.degrees import Degrees, finest_degree, match_count


class Scales:
    """Gathers a set's distances while they are made, and then looks.

    Parameters
    ----------
    degrees : sequence of odd int, or "fused"
    layers : int
    """

    def __init__(self, degrees: Degrees, *, layers: int) -> None:
        count = match_count(degrees)
        self._finest, self._blur = finest_degree(degrees)
        self._finest_mean = _Mean(layers)
        self._wide = _Mean(layers * count) if count > 1 else None

    def add(self, distances: Any, place: int) -> None:
        """Add the distances (N, P, N) of one layer and of the degree at a place."""
        if place == self._finest:
            self._finest_mean.add(distances)
        if self._wide is not None:
            self._wide.add(distances)

    def recurring(self) -> CodegraphResult:
        """Return what recurs, and keep nothing."""
        wide = None if self._wide is None else self._wide.taken()
        return codegraph_at_both_scales(self._finest_mean.taken(), wide, blur=self._blur)


def codegraph_at_both_scales(finest: Any, wide: Any | None, *, blur: int) -> CodegraphResult:
    """Find recurring defects in the distances of the smallest degree, and in the mean of all.

    Parameters
    ----------
    finest : array, shape (N, P, N), float
        Of the smallest degree, the mean over layers.
    wide : array, shape (N, P, N), float, or None
        The mean over layers and degrees; None where there is one degree.
    blur : int
        How much farther the largest degree sees than the smallest, in patches.

    Returns
    -------
    CodegraphResult
        What is found in `finest`, and of what is found in `wide` that which is not the same. The
        what is to be ignored is widened by `blur`; the marks of the communities are not.
    """
    first = codegraph(finest)
    ignored = widened(first.ignored, by=blur)
    communities = list(first.communities)
    for one in () if wide is None else codegraph(wide).communities:
        if all(shared(one.members, other.members) < constants.OVERLAP for other in communities):
            communities.append(one)
            ignored[one.members] |= one.marks
    communities.sort(key=lambda one: -one.evidence.significance)
    return CodegraphResult(ignored, tuple(communities), first.relevant)


class _Mean:
    """The mean of `count` tables of distances, in one of (N, P, N) on the host."""

    def __init__(self, count: int) -> None:
        self._count = np.float32(count)
        self._sum: Any = None

    def add(self, distances: Any) -> None:
        """Add a table."""
        part = to_host(distances)
        if self._sum is None:
            self._sum = np.zeros(part.shape, np.float32)
        for image, rows in enumerate(part):
            self._sum[image] += rows / self._count

    def taken(self) -> Any:
        """Return the mean, and keep nothing."""
        mean, self._sum = self._sum, None
        return mean
