"""Maps of the plane that turn, shift and enlarge, as matrices.

A point is (x, y), x to the right, y down. The centre of a pixel lies at whole numbers. Turns are
in degrees, counter-clockwise as a person sees the picture.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]
"""Shape (2, 3): a point p goes to A[:, :2]·p + A[:, 2]."""
Point = tuple[float, float]


def turned(degrees: float, *, about: Point, to: Point | None = None) -> Matrix:
    """Return the map that turns about a point, which then goes to `to` (it stays if not given)."""
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    linear = np.array(((cos, sin), (-sin, cos)))
    return np.column_stack((linear, np.subtract(to or about, linear @ about)))


def after(second: Matrix, first: Matrix) -> Matrix:
    """Return the map that does `first`, then `second`."""
    linear = second[:, :2] @ first[:, :2]
    return np.column_stack((linear, second[:, :2] @ first[:, 2] + second[:, 2]))


def inverse(matrix: Matrix) -> Matrix:
    """Return the map back."""
    linear = np.linalg.inv(matrix[:, :2])
    return np.column_stack((linear, -linear @ matrix[:, 2]))


def enlarged(factor: float) -> Matrix:
    """Return the map from a picture's pixels to those of the same picture `factor` times as large.

    Pixels are areas: the corner of the first pixel, at (-½, -½), stays.
    """
    shift = (factor - 1) / 2
    return np.array(((factor, 0, shift), (0, factor, shift)), dtype=np.float64)


def moved(points: npt.NDArray[np.floating], matrix: Matrix) -> npt.NDArray[np.float32]:
    """Map points, shape (N, 2)."""
    return np.asarray(points @ matrix[:, :2].T + matrix[:, 2], dtype=np.float32)


def turn_of(matrix: Matrix) -> float:
    """Return the turn of a map in degrees, over -180 to 180."""
    return -float(np.degrees(np.arctan2(matrix[1, 0], matrix[0, 0])))


def between(turn: float, other: float) -> float:
    """Return how far two turns are apart, 0 to 180 degrees."""
    return abs((turn - other + 180) % 360 - 180)
