"""Whether the images of a group have their defect at one place.

A stuck tool or a scratched mould marks one place. Random defects of one kind look alike as well:
two dents, two stains. They lie anywhere, so that look-alikes at one place are hardly ever chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zeroline.runtime.arrays import Bools, Float32, Float64
from zeroline.runtime.grid import OVERLAP, Grid
from zeroline.runtime.recurring import constants


@dataclass(frozen=True)
class WorstPlaces:
    """Where the images of a group have the patch of the widest gap.

    Attributes
    ----------
    agreement : float
        Share of ordered pairs of images that have it at one place, 0 to 1.
    at_border : float
        Share of images that have it in the outermost row or column of the picture, 0 to 1; or of a
        tile, where the next tile does not see it.
    """

    agreement: float
    at_border: float


def worst_places(
    gap: Float32, relevant: Bools, *, roi: Bools | None, tiles: Sequence[int] = (1, 1)
) -> WorstPlaces:
    """Compare the worst places of a group's images.

    Image i agrees with image j where i's patch of the widest gap lies in j's outline, or beside it.
    The outline is made of the patches with at least half of the image's widest gap. Images without
    a patch that matters agree with none. Places are those in the picture: what two tiles see in
    their overlap is at one place.

    Parameters
    ----------
    gap : array, shape (images, P'), float32
        See `evidence.gaps`.
    relevant : array, shape (images, P'), bool
        Patches that matter.
    roi : array, shape (P,), bool, or None
        Which patches of the grid, of all tiles, the P' are; None: all.
    tiles : (int, int)
        Rows and columns of tiles.
    """
    images = len(gap)
    counted = np.arange(gap.shape[1]) if roi is None else np.flatnonzero(roi)
    grid = Grid.of(gap.shape[1] if roi is None else roi.size, tiles)
    tile = counted // grid.side**2
    row, at_edge_across = _along(tile // tiles[1], counted // grid.side % grid.side, grid)
    column, at_edge_along = _along(tile % tiles[1], counted % grid.side, grid)
    at_edge = at_edge_across | at_edge_along
    weighed = np.where(relevant, gap, -np.inf)
    worst = weighed.argmax(axis=1)
    widest = weighed[np.arange(images), worst]
    known = np.isfinite(widest)
    outermost = at_edge[worst]
    agree = 0
    for other in np.flatnonzero(known).tolist():
        least = max(constants.HEIGHT * float(widest[other]), constants.TINY)
        outline = np.flatnonzero(weighed[other] >= least)
        away = np.maximum(
            np.abs(row[worst][:, None] - row[outline]),
            np.abs(column[worst][:, None] - column[outline]),
        )
        near = away < constants.BESIDE + 0.5  # two tiles' patches may lie half a patch apart
        beside = known & near.any(axis=1)
        agree += int(beside.sum()) - int(beside[other])
        elsewhere = (tile[outline] != tile[worst[other]]) & ~at_edge[outline]
        if (near[other] & elsewhere).any():
            outermost[other] = False  # the next tile sees it too, away from its edge
    return WorstPlaces(
        agreement=agree / max(images * (images - 1), 1),
        at_border=float((known & outermost).mean()) if images else 0.0,
    )


def _along(tile: Any, place: Any, grid: Grid) -> tuple[Float64, Bools]:
    """Return where patches are in the picture, along one side, and which are the outermost.

    Parameters
    ----------
    tile, place : array, shape (P',), int
        Rows of tiles, and of patches in them; or columns.
    grid : Grid

    Returns
    -------
    array, shape (P',), float64
        In patches.
    array, shape (P',), bool
        Whether it is the first or the last of its tile.
    """
    stride = (1 - OVERLAP) * grid.side
    return tile * stride + place, (place == 0) | (place == grid.side - 1)
