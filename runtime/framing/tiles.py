"""Tiles: what is looked at, cut into pieces that the network sees one by one, and joined again.

A small defect of a large picture is smaller than a patch when the whole picture is one input. Tiles
show it larger. Each has a tenth of its side in common with the next, so that a defect on an edge is
seen whole by one of both. Boxes are in the unit square, which is what is looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import ceil
from typing import Any, TypeAlias

import numpy as np

from zeroline.runtime.arrays import ArrayT, Float32, array_namespace
from zeroline.runtime.errors import FramingError
from zeroline.runtime.frames import Frame
from zeroline.runtime.grid import OVERLAP, Grid
from zeroline.runtime.stages.maps import anomaly_map
from zeroline.runtime.tokens import Tokens

#: More rows or columns of tiles are refused.
MOST_TILES = 16
#: Part of a patch's side that the smallest defect covers along its own. Measured with `tiny` on
#: pictures of 1440 pixels with defects of 0.02 % of the area (20 pixels): image AUROC .844 at 0.28
#: of a patch, .919 at 0.54 and .950 at 0.79. Larger ones cost time and gain nothing.
SMALLEST = 0.75

#: Left, top, width, height.
Box: TypeAlias = "tuple[float, float, float, float]"


def span(count: int) -> float:
    """Return how long some tiles in a row are together, in sides of a tile.

    Examples
    --------
    >>> [round(span(count), 3) for count in (1, 2, 3)]
    [1.0, 1.9, 2.8]
    """
    return (1 - OVERLAP) * count + OVERLAP


def boxes(tiles: tuple[int, int]) -> list[Box]:
    """Return the boxes of tiles in the unit square, row by row.

    Examples
    --------
    >>> boxes((1, 1))
    [(0.0, 0.0, 1.0, 1.0)]
    """
    rows, columns = tiles
    height, width = 1 / span(rows), 1 / span(columns)
    step = 1 - OVERLAP
    return [
        (column * step * width, row * step * height, width, height)
        for row in range(rows)
        for column in range(columns)
    ]


def canvas(side: int, tiles: tuple[int, int]) -> tuple[int, int]:
    """Return height and width of all tiles together, each of so many pixels along its side."""
    rows, columns = tiles
    return round(side * span(rows)), round(side * span(columns))


def tiles_for(smallest: float, size: tuple[int, int], *, patches: int) -> tuple[int, int]:
    """Return the fewest tiles in which a defect covers `SMALLEST` of a patch along its side.

    Parameters
    ----------
    smallest : float
        Side of the smallest defect, in pixels of the picture.
    size : (int, int)
        Height and width of what is looked at, in the same pixels.
    patches : int
        P, of one input of the network.

    Returns
    -------
    (int, int)
        Rows and columns of tiles.

    Raises
    ------
    FramingError
        If there were more than `MOST_TILES` in a row.

    Examples
    --------
    >>> tiles_for(20, (1440, 1440), patches=400)
    (3, 3)
    """
    longest = smallest * Grid.of(patches).side / SMALLEST  # of a tile, in pixels of the picture
    counts = [max(1, ceil((length / longest - OVERLAP) / (1 - OVERLAP) - 1e-9)) for length in size]
    if max(counts) > MOST_TILES:
        raise FramingError(
            f"a defect of {smallest:g} pixels needs {counts[0]}×{counts[1]} tiles of at most "
            f"{longest:.0f} pixels, {MOST_TILES}×{MOST_TILES} are allowed: a crop, or a network "
            f"with more patches than {patches}"
        )
    return counts[0], counts[1]


def cut(image: Frame, found: Sequence[Box], *, side: int, interpolation: str) -> tuple[Frame, ...]:
    """Return what lies in some boxes of an image (H, W, 3), each as side·side pixels.

    The boxes need not begin or end at a pixel.
    """
    from PIL import Image

    from zeroline.runtime.network.preprocess import RESAMPLING

    height, width = image.shape[:2]
    picture = Image.fromarray(np.ascontiguousarray(image))
    pieces = []
    for left, top, across, down in found:
        right, bottom = min((left + across) * width, width), min((top + down) * height, height)
        edges = (left * width, top * height, right, bottom)
        piece = picture.resize((side, side), RESAMPLING[interpolation], box=edges)
        pieces.append(np.asarray(piece))
    return tuple(pieces)


def joined_tokens(tokens: Tokens, tiles: tuple[int, int], seen: tuple[int, ...]) -> Tokens:
    """Return the tokens of pictures, from those of their tiles.

    The class token is the mean of the tiles' class tokens, made a unit row again.

    Parameters
    ----------
    tokens : Tokens
        Of the tiles that are seen, picture by picture.
    tiles : (int, int)
        Rows and columns.
    seen : tuple of int
        Numbers of the tiles that are seen, ascending. The others' tokens are zeros.
    """
    xp, count = array_namespace(tokens.class_tokens), tiles[0] * tiles[1]
    images = len(tokens) // len(seen)
    layers = []
    for layer in tokens.layers:
        own, channels = layer.shape[1:]
        if len(seen) == count:
            layers.append(layer.reshape(images, count * own, channels))
            continue
        whole = xp.zeros((images, count, own, channels), layer.dtype)
        whole[:, xp.asarray(seen)] = layer.reshape(images, len(seen), own, channels)
        layers.append(whole.reshape(images, count * own, channels))
    mean = tokens.class_tokens.reshape(images, len(seen), -1).mean(axis=1)
    length = xp.sqrt(xp.square(mean).sum(axis=1, keepdims=True))
    return Tokens(tuple(layers), mean / xp.where(length > 0, length, 1), tiles)


def joined_map(patch_scores: ArrayT, /, *, tiles: tuple[int, int], side: int) -> ArrayT:
    """Draw the patch scores of all tiles of a picture as one map.

    Of several tiles each patch's score stands in its middle. In the overlap both tiles count, each
    the less the nearer its own edge is, so that no seam shows.

    Parameters
    ----------
    patch_scores : array, shape (P,), float
        Of all tiles.
    tiles : (int, int)
        Rows and columns.
    side : int
        Pixels along the map's side.

    Returns
    -------
    array, shape (side, side), float32
        Of the unit square; of one tile that of `anomaly_map`.
    """
    if tiles == (1, 1):
        return anomaly_map(patch_scores, size=side)
    xp, grid = array_namespace(patch_scores), Grid.of(patch_scores.shape[0], tiles)
    squares: Any = patch_scores
    squares = squares.reshape(*tiles, grid.side, grid.side).astype(xp.float32)
    drawn: Any = xp.zeros((side, side), xp.float32)
    for row, (down, of_rows) in enumerate(_weights(grid.side, tiles[0], side)):
        for column, (across, of_columns) in enumerate(_weights(grid.side, tiles[1], side)):
            part = xp.asarray(of_rows) @ squares[row, column] @ xp.asarray(of_columns).T
            drawn[down, across] += part
    whole: ArrayT = drawn
    return whole


@lru_cache(maxsize=16)
def _weights(side: int, count: int, size: int) -> tuple[tuple[slice, Float32], ...]:
    """Return, for each of some tiles in a row, its pixels of `size`, and what each patch counts.

    Returns
    -------
    tuple of (slice, array of shape (pixels, side))
    """
    middles = (np.arange(size) + 0.5) / size
    found = []
    for tile in range(count):
        inside = middles * span(count) - tile * (1 - OVERLAP)  # 0 to 1 in the tile
        there = np.flatnonzero((inside >= 0) & (inside <= 1))
        inside = inside[there]
        share = np.ones(len(there))
        if tile > 0:
            share = np.minimum(share, inside / OVERLAP)
        if tile < count - 1:
            share = np.minimum(share, (1 - inside) / OVERLAP)
        place = np.clip(inside * side - 0.5, 0, side - 1)
        lower = np.minimum(place.astype(np.intp), max(side - 2, 0))
        way = place - lower
        rows = np.zeros((len(there), side))
        rows[np.arange(len(there)), lower] = share * (1 - way)
        rows[np.arange(len(there)), np.minimum(lower + 1, side - 1)] += share * way
        first = int(there[0]) if len(there) else 0
        found.append((slice(first, first + len(there)), rows.astype(np.float32)))
    return tuple(found)
