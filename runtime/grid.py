"""The square grids behind a row of patch tokens, and the patches of them that count.

A picture is looked at as one tile or as several. Each tile has a square grid of its own, and its
patches stand together in the row: tile by tile, and in each tile row by row.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zeroline.runtime.arrays import Bools, array_namespace
from zeroline.runtime.errors import ScoringError

#: Share of a tile's side that it has in common with the next tile.
OVERLAP = 0.1


@dataclass(frozen=True)
class Grid:
    """The patches of a picture.

    Attributes
    ----------
    side : int
        g: a tile has g·g patches.
    tiles : (int, int)
        Rows and columns of tiles.

    Examples
    --------
    >>> Grid.of(16, (2, 2)).side, Grid.of(16).side
    (2, 4)
    """

    side: int
    tiles: tuple[int, int] = (1, 1)

    @classmethod
    def of(cls, patches: int, tiles: Sequence[int] = (1, 1)) -> Grid:
        """Return the grid of all patches of a picture in some tiles.

        Raises
        ------
        ScoringError
            If the patches do not form as many square grids.
        """
        rows, columns = tiles
        count = rows * columns
        if min(rows, columns) < 1 or patches % count:
            raise ScoringError(f"{patches} patches do not form {rows}×{columns} tiles")
        return cls(grid_side(patches // count), (rows, columns))

    @property
    def count(self) -> int:
        """T, the number of tiles."""
        return self.tiles[0] * self.tiles[1]

    @property
    def patches(self) -> int:
        """Patches of all tiles."""
        return self.count * self.side**2

    def most_in_a_tile(self, roi: Bools) -> int:
        """Return the largest number of patches that count in a tile."""
        return int(np.asarray(roi).reshape(self.count, -1).sum(axis=1).max())

    def parts(self, roi: Bools | None = None) -> list[slice]:
        """Return where each tile's patches stand among all, or among those that count.

        Parameters
        ----------
        roi : array, shape (P,), bool, optional
            Patches that count, of all tiles. A tile without one has an empty slice.
        """
        own = self.side**2
        if roi is None:
            return [slice(tile * own, (tile + 1) * own) for tile in range(self.count)]
        ends = np.cumsum(np.asarray(roi, bool).reshape(self.count, own).sum(axis=1)).tolist()
        return [slice(start, stop) for start, stop in zip([0, *ends[:-1]], ends, strict=True)]


def grid_side(patches: int) -> int:
    """Return g for P = g·g patches.

    Raises
    ------
    ScoringError
        If `patches` is not the square of a positive whole number.
    """
    side = math.isqrt(max(patches, 0))
    if side == 0 or side * side != patches:
        raise ScoringError(f"{patches} patches do not form a square grid (1, 4, 9, … are allowed)")
    return side


def widened(marks: Bools, *, by: int, tiles: Sequence[int] = (1, 1)) -> Bools:
    """Widen marks on patches to squares, in each tile for itself.

    Parameters
    ----------
    marks : array, shape (N, P), bool
        On the host.
    by : int
        Patches to each side.
    tiles : (int, int)
        Rows and columns of tiles.

    Returns
    -------
    array, shape (N, P), bool
    """
    side = Grid.of(marks.shape[1], tiles).side
    padded = np.pad(marks.reshape(-1, side, side), ((0, 0), (by, by), (by, by)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (2 * by + 1,) * 2, axis=(1, 2))
    wide: Bools = windows.any(axis=(3, 4)).reshape(marks.shape)
    return wide


def on_grid(values: Any, roi: Bools) -> Any:
    """Return values (N, P') of the patches that count as values (N, P); 0 for the others.

    Parameters
    ----------
    values : array, shape (N, P'), any type
    roi : array, shape (P,), bool
        Patches that count, P' of them.
    """
    xp = array_namespace(values)
    placed = xp.zeros((len(values), roi.size), values.dtype)
    placed[:, xp.asarray(np.flatnonzero(roi))] = values
    return placed


def both(one: Bools | None, other: Bools | None) -> Bools | None:
    """Return which patches (P,) count by two rules; None is a rule by which all do."""
    if one is None or other is None:
        return one if other is None else other
    return np.asarray(one, bool).reshape(-1) & other


def counted_patches(roi: Bools | None, patches: int) -> Bools:
    """Return which of P patches count: the region of interest, or all.

    Raises
    ------
    ScoringError
        If the region has another number of patches, or none that counts.
    """
    if roi is None:
        return np.ones(patches, bool)
    roi = np.asarray(roi, bool).reshape(-1)
    if roi.shape != (patches,) or not roi.any():
        raise ScoringError(
            f"roi has {roi.size} patches, {int(roi.sum())} of them set: {patches}, "
            "with at least 1 set, are expected"
        )
    return roi
