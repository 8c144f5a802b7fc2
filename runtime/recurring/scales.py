"""Recurring defects in the smallest degree, and in the mean over all degrees.

In the smallest degree a small or faint defect has the widest gap, since a wider neighbourhood
contains normal surface as well. A defect larger than a patch is clearer in the mean over degrees.
Where degrees are fused, degree 1 is matched for the search alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from zeroline.runtime.arrays import Bools, to_host
from zeroline.runtime.grid import Grid, on_grid, widened
from zeroline.runtime.recurring import constants
from zeroline.runtime.recurring.codegraph import CodegraphResult, codegraph
from zeroline.runtime.recurring.filter import shared
from zeroline.runtime.stages.degrees import Degrees, finest_degree, match_count


class Scales:
    """Gathers a set's distances during the match, and then searches them.

    Parameters
    ----------
    degrees : sequence of odd int, or "fused"
        As the set is matched.
    layers : int
        Number of layers that are matched.
    grid : Grid
        Of an image's patches.
    roi : array, shape (G,), bool, or None
        Which patches of all tiles count, P' of them; None: all.

    Raises
    ------
    ScoringError
        For degrees that `match_count` refuses.

    Attributes
    ----------
    beside : bool
        Whether degree 1 is matched for the search alone: with fused degrees, which hide what it
        shows.
    """

    def __init__(
        self, degrees: Degrees, *, layers: int, grid: Grid | None = None, roi: Bools | None = None
    ) -> None:
        count = match_count(degrees)
        self._tiles, self._roi = (1, 1) if grid is None else grid.tiles, roi
        patches = None if grid is None else grid.patches if roi is None else int(roi.sum())
        self.beside = isinstance(degrees, str)
        self._finest, self._blur = finest_degree(degrees)
        self._finest_mean = _Mean(layers, patches)
        self._wide = _Mean(layers * count, patches) if count > 1 or self.beside else None

    def add(self, distances: Any, place: int, patches: slice = slice(None)) -> None:
        """Add the distances (N, P, N) of one layer and of the degree at a place.

        `patches`: those of a tile, among all P' that count.
        """
        if place == self._finest and not self.beside:
            self._finest_mean.add(distances, patches)
        if self._wide is not None:
            self._wide.add(distances, patches)

    def add_finest(self, distances: Any, patches: slice = slice(None)) -> None:
        """Add the distances (N, P, N) of one layer in degree 1, where degrees are fused."""
        self._finest_mean.add(distances, patches)

    def recurring(self) -> CodegraphResult:
        """Return what recurs, and keep nothing.

        Returns
        -------
        CodegraphResult
            With marks on the whole grid.
        """
        wide = None if self._wide is None else self._wide.taken()
        finest = self._finest_mean.taken()
        tiles, roi = self._tiles, self._roi
        if roi is None:
            return codegraph_at_both_scales(finest, wide, blur=self._blur, tiles=tiles)
        found = codegraph_at_both_scales(finest, wide, blur=0, roi=roi, tiles=tiles)
        return replace(
            found,
            ignored=_widened(on_grid(found.ignored, roi), by=self._blur, tiles=tiles),
            communities=tuple(replace(c, marks=on_grid(c.marks, roi)) for c in found.communities),
        )


def codegraph_at_both_scales(
    finest: Any,
    wide: Any | None,
    *,
    blur: int,
    tiles: Sequence[int] = (1, 1),
    **options: Any,
) -> CodegraphResult:
    """Find recurring defects in the distances of the smallest degree, and in the mean of all.

    Parameters
    ----------
    finest : array, shape (N, P, N), float
        Of the smallest degree, the mean over layers.
    wide : array, shape (N, P, N), float, or None
        The mean over layers and degrees, or of fused degrees; None where there is one degree.
    blur : int
        How much farther the largest degree sees than the smallest, in patches.
    tiles : (int, int)
        Rows and columns of tiles.
    **options
        See `codegraph`.

    Returns
    -------
    CodegraphResult
        The communities of `finest`, and those of `wide` that are not among them. `ignored` has the
        marks of `finest` widened by `blur`, and those of `wide`; the communities' own marks are
        not widened. Known groups are borne out by either.

    Raises
    ------
    ScoringError
        For distances of another shape.
    """
    first = codegraph(finest, tiles=tiles, **options)
    ignored = _widened(first.ignored, by=blur, tiles=tiles)
    if wide is None:
        return replace(first, ignored=ignored)
    second = codegraph(wide, tiles=tiles, **options)
    communities = list(first.communities)
    for community in second.communities:
        members = community.members
        if all(shared(members, other.members) < constants.OVERLAP for other in communities):
            communities.append(community)
            ignored[members] |= community.marks
    communities.sort(key=lambda community: -community.evidence.significance)
    borne_out = tuple(
        there if there is not None else here
        for there, here in zip(first.borne_out, second.borne_out, strict=True)
    )
    return CodegraphResult(ignored, tuple(communities), first.relevant, borne_out)


def _widened(marks: Any, *, by: int, tiles: Sequence[int]) -> Any:
    return widened(marks, by=by, tiles=tiles) if by else marks


class _Mean:
    """The mean of `count` tables of distances (N, P, N), on the host.

    Parameters
    ----------
    count : int
        How many tables will be added.
    patches : int or None
        P, where a table comes tile by tile.
    """

    def __init__(self, count: int, patches: int | None = None) -> None:
        self._count, self._patches = np.float32(count), patches
        self._sum: Any = None

    def add(self, distances: Any, patches: slice = slice(None)) -> None:
        """Add a table, or some patches of one."""
        part = to_host(distances)
        if self._sum is None:
            images, own, _ = part.shape
            self._sum = np.zeros((images, self._patches or own, images), np.float32)
        for image, rows in enumerate(part):
            self._sum[image, patches] += rows / self._count

    def taken(self) -> Any:
        """Return the mean, and keep nothing."""
        mean, self._sum = self._sum, None
        return mean
