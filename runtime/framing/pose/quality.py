"""How well a pose fits, and how much of the part is in the picture."""

from __future__ import annotations

import numpy as np

from zeroline.runtime.framing.pose.field import sampled
from zeroline.runtime.framing.pose.fine import FEWEST, Edges, directed
from zeroline.runtime.framing.pose.pixels import Floats
from zeroline.runtime.framing.pose.points import EdgePoints
from zeroline.runtime.framing.pose.rigid import Matrix, moved

#: Under this quality no part was found.
FOUND = 0.6
#: Under this share in the picture the part is not whole.
WHOLE = 0.9


def quality(edges: Edges, points: EdgePoints, pose: Matrix, /, *, level: float) -> float:
    """Return how well edge directions agree at the taught edge points in view.

    The mean of cos(2Δθ)·m²/(m² + (level/2)²), with the gradient's length m in the picture and the
    angle Δθ between it and the taught normal.

    Returns
    -------
    float
        1 where all agree, 0 by chance, and where too few points are in view.
    """
    at, normals = directed(points, pose)
    seen = edges.holds(at, rim=1)
    if seen.sum() < FEWEST:
        return 0.0
    gx, gy = sampled(edges.gx, at), sampled(edges.gy, at)
    squared = gx * gx + gy * gy
    across = (gx * normals[:, 0] + gy * normals[:, 1]) ** 2
    agreeing = (2 * across - squared) / (squared + np.float32((level / 2) ** 2))
    return max(0.0, float(agreeing[seen].mean()))


def share_in_view(inner: Floats, pose: Matrix, /, *, shape: tuple[int, ...]) -> float:
    """Return the share of points that a pose lays inside a picture.

    Parameters
    ----------
    inner : array, shape (N, 2), float32
        Points spread evenly over the part, in the upright frame.
    pose : array, shape (2, 3)
        Upright frame → picture.
    shape : tuple of int
        Height and width of the picture.
    """
    at = moved(inner, pose)
    return float(((at >= -0.5) & (at <= np.array(shape[1::-1]) - 0.5)).all(axis=1).mean())
