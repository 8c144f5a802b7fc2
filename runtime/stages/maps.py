"""Maps drawn from patch scores at full size, and their maximum: MuSc's image score."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from zeroline.runtime.arrays import ArrayT, Float32, array_namespace, as_float32
from zeroline.runtime.errors import ScoringError
from zeroline.runtime.grid import Grid, grid_side


@lru_cache(maxsize=16)
def _neighbours(
    side: int, size: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Float32]:
    """For each of `size` positions over `side` nodes: the nodes round it, and the way between."""
    position = np.arange(size, dtype=np.float64) * ((side - 1) / max(size - 1, 1))
    lower = np.minimum(position.astype(np.int64), side - 1)
    return lower, np.minimum(lower + 1, side - 1), (position - lower).astype(np.float32)


def anomaly_map(patch_scores: ArrayT, /, *, size: int) -> ArrayT:
    """Draw patch scores as a map of the network input's size.

    Bilinear, corners aligned: the outer patches' scores stand in the map's corners.

    Parameters
    ----------
    patch_scores : array, shape (P,) or (N, P), float
        Scores of the g·g patches, row by row.
    size : int
        Side S of the map, in pixels.

    Returns
    -------
    array, shape (S, S) or (N, S, S), float32
        On the device of `patch_scores`.

    Raises
    ------
    ScoringError
        For a size under 1, or a P that is not square.

    Examples
    --------
    >>> import numpy as np
    >>> anomaly_map(np.array([0.0, 1.0, 0.0, 1.0]), size=3).tolist()
    [[0.0, 0.5, 1.0], [0.0, 0.5, 1.0], [0.0, 0.5, 1.0]]
    """
    if size < 1:
        raise ScoringError(f"size is {size}, a map needs at least 1 pixel")
    xp = array_namespace(patch_scores)
    single = patch_scores.ndim == 1
    scores = as_float32(patch_scores[None] if single else patch_scores, name="patch_scores", ndim=2)
    side = grid_side(scores.shape[1])
    lower, upper, way = map(xp.asarray, _neighbours(side, size))
    maps: Any = xp.empty((len(scores), size, size), dtype=xp.float32)
    for drawn, grid in zip(maps, scores.reshape(-1, side, side), strict=True):
        rows = grid[lower] * (1 - way)[:, None] + grid[upper] * way[:, None]
        drawn[...] = rows[:, lower] * (1 - way) + rows[:, upper] * way
    drawn_maps: ArrayT = maps[0] if single else maps
    return drawn_maps


def map_maximum(patch_scores: ArrayT, /, *, size: int, tiles: Sequence[int] = (1, 1)) -> ArrayT:
    """Return the highest value of each image's map, or of all its tiles' maps: the image score.

    Parameters
    ----------
    patch_scores : array, shape (N, P), float
    size : int
        Side S of the maps; they are made one at a time, S·S·4 bytes each.
    tiles : (int, int)
        Rows and columns of tiles. Each has a map of its own.

    Returns
    -------
    array, shape (N,), float32

    Raises
    ------
    ScoringError
        See `anomaly_map`.

    Examples
    --------
    >>> import numpy as np
    >>> map_maximum(np.array([[0.0, 1.0, 0.0, 0.5]]), size=32).tolist()
    [1.0]
    """
    xp, images = array_namespace(patch_scores), patch_scores.shape[0]
    grid = Grid.of(patch_scores.shape[1], tiles)
    rows: Any = patch_scores
    rows = rows.reshape(images * grid.count, grid.side**2)
    maxima: Any = xp.stack([anomaly_map(row, size=size).max() for row in rows])
    highest: ArrayT = maxima.reshape(images, grid.count).max(axis=1)
    return highest
