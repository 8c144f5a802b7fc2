"""Points, polygons and affine maps of the plane.

Points are (x, y) in pixels, measured from the picture's left upper corner: the first pixel's centre
is (0.5, 0.5), and a picture of W by H pixels ends at (W, H). So a map between pictures of two sizes
is a plain factor.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from zeroline.runtime.arrays import Bools, Float64

Point = tuple[float, float]
Polygon = tuple[Point, ...]


def rectangle(x: float, y: float, width: float, height: float) -> Polygon:
    """Return the corners of an upright rectangle, from its left upper one on."""
    return ((x, y), (x + width, y), (x + width, y + height), (x, y + height))


def bounds(points: Sequence[Point]) -> tuple[float, float, float, float]:
    """Return the least and the largest coordinates of points: left, top, right, bottom."""
    values = np.asarray(points, np.float64)
    (left, top), (right, bottom) = values.min(axis=0), values.max(axis=0)
    return float(left), float(top), float(right), float(bottom)


def filled(polygon: Sequence[Point], *, size: tuple[int, int]) -> Bools:
    """Return the pixels whose centre lies in a polygon.

    Parameters
    ----------
    polygon : sequence of points
        Three or more, in their order; the last is joined to the first. Where it crosses itself,
        what lies inside an even number of times is outside.
    size : (int, int)
        Height and width of the picture.

    Returns
    -------
    array, shape (H, W), bool

    Examples
    --------
    >>> filled(rectangle(1, 0, 2, 1), size=(2, 4)).astype(int).tolist()
    [[0, 1, 1, 0], [0, 0, 0, 0]]
    """
    height, width = size
    corners = np.asarray(polygon, np.float64)
    ends = np.roll(corners, -1, axis=0)
    inside = np.zeros((height, width + 1), bool)
    for row in range(height):
        y = row + 0.5
        crossing = (corners[:, 1] <= y) != (ends[:, 1] <= y)
        (x0, y0), (x1, y1) = corners[crossing].T, ends[crossing].T
        at = np.sort(x0 + (y - y0) / (y1 - y0) * (x1 - x0))
        first = np.clip(np.ceil(at - 0.5), 0, width).astype(np.intp)  # the next pixel's number
        np.logical_xor.at(inside[row], first, True)
    return np.logical_xor.accumulate(inside, axis=1)[:, :width]


def mapped(matrix: Float64, points: Sequence[Point] | Float64) -> Float64:
    """Return points (n, 2) after an affine map (2, 3): A·p + t."""
    values = np.asarray(points, np.float64)
    result: Float64 = values @ matrix[:, :2].T + matrix[:, 2]
    return result


def chained(second: Float64, first: Float64) -> Float64:
    """Return the affine map (2, 3) that does `first` and then `second`."""
    linear = second[:, :2] @ first[:, :2]
    return np.column_stack([linear, second[:, :2] @ first[:, 2] + second[:, 2]])


def inverse(matrix: Float64) -> Float64:
    """Return the affine map (2, 3) back."""
    linear = np.linalg.inv(matrix[:, :2])
    return np.column_stack([linear, -linear @ matrix[:, 2]])


def box_map(left: float, top: float, width: float, height: float) -> Float64:
    """Return the affine map (2, 3) of the unit square to an upright rectangle."""
    return np.array([[width, 0.0, left], [0.0, height, top]])
