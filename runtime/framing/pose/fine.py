"""The fine search: each taught edge point looks along its normal for its edge in the frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zeroline.runtime.framing.pose.field import gradients, sampled
from zeroline.runtime.framing.pose.pixels import Bools, Floats, Grey
from zeroline.runtime.framing.pose.points import EdgePoints
from zeroline.runtime.framing.pose.rigid import Matrix, Point, after, moved, turned

#: Fewest points in view from which a pose is computed.
FEWEST = 12


@dataclass(frozen=True)
class Edges:
    """The gradient of a working picture.

    Attributes
    ----------
    gx, gy : array, shape (h, w), float32
        In grey levels a pixel.
    """

    gx: Floats
    gy: Floats

    @classmethod
    def of(cls, grey: Grey) -> Edges:
        """Return the gradient of grey values."""
        return cls(*gradients(grey))

    def holds(self, at: Floats, *, rim: int) -> Bools:
        """Tell which points lie in the picture, at least `rim` pixels from its border."""
        height, width = self.gx.shape
        far = np.array((width - 1 - rim, height - 1 - rim))
        return np.asarray(((at > rim) & (at < far)).all(axis=1))


def directed(points: EdgePoints, pose: Matrix) -> tuple[Floats, Floats]:
    """Lay points and their normals by a pose."""
    linear = pose[:, :2].T.astype(np.float32)
    return moved(points.at, pose), np.asarray(points.normals @ linear, np.float32)


def offsets(
    edges: Edges, at: Floats, normals: Floats, *, reach: int, level: float
) -> tuple[Floats, Floats]:
    """Find the edge of each point: how far along its normal, and how strong.

    The response is |n·∇|²/(|∇| + level): an edge of another direction counts little.

    Parameters
    ----------
    edges : Edges
    at, normals : array, shape (N, 2), float32
        In the picture.
    reach : int
        Pixels to both sides.
    level : float
        The field's level.

    Returns
    -------
    offset : array, shape (N,), float32
        In pixels; between two by a parabola.
    response : array, shape (N,), float32
    """
    steps = np.arange(-reach, reach + 1, dtype=np.float32)
    line = at[:, None] + steps[:, None] * normals[:, None]
    gx, gy = sampled(edges.gx, line), sampled(edges.gy, line)
    across = gx * normals[:, :1] + gy * normals[:, 1:]
    response = across * across / (np.hypot(gx, gy) + np.float32(level))
    rows, best = np.arange(len(at)), response.argmax(axis=1)
    before = response[rows, np.maximum(best - 1, 0)]
    behind = response[rows, np.minimum(best + 1, 2 * reach)]
    top = response[rows, best]
    bend = np.maximum(2 * top - before - behind, np.float32(1e-6))
    inner = (best > 0) & (best < 2 * reach)
    return steps[best] + np.where(inner, (behind - before) / (2 * bend), 0), top


def on_edges(edges: Edges, points: EdgePoints, /, *, reach: int, level: float) -> EdgePoints:
    """Move points onto their edges; those that have none are left out."""
    offset, response = offsets(edges, points.at, points.normals, reach=reach, level=level)
    use = edges.holds(points.at, rim=2) & (response > 0.25 * level)
    at = points.at + points.normals * offset[:, None]
    return EdgePoints(at[use], points.normals[use])


def refined(
    edges: Edges,
    points: EdgePoints,
    pose: Matrix,
    reaches: Sequence[int],
    *,
    level: float,
    middle: float,
) -> Matrix:
    """Move a pose to the edges of the picture, a step for each reach.

    Parameters
    ----------
    edges : Edges
        Of the picture.
    points : EdgePoints
        Of the taught part.
    pose : array, shape (2, 3), float64
        Upright frame → picture, about right.
    reaches : sequence of int
        How far the points look in each step, in pixels.
    level : float
        The field's level.
    middle : float
        Both coordinates of the upright frame's middle, about which a step turns.

    Returns
    -------
    array, shape (2, 3), float64
        The pose itself where too few points are in view.

    Notes
    -----
    Ours. Weighted least squares in shift and turn: n·(shift + turn × arm) = offset. The weight is
    the response, at most 2·level, over 1 + (offset/⅓ reach)².
    """
    for reach in reaches:
        at, normals = directed(points, pose)
        offset, response = offsets(edges, at, normals, reach=reach, level=level)
        use = edges.holds(at, rim=2) & (response > 0.25 * level)
        if use.sum() < FEWEST:
            return pose
        weight = np.minimum(response[use], 2 * level)
        weight = weight / (1 + (offset[use] / max(1.0, reach / 3)) ** 2)
        x, y = (pose @ (middle, middle, 1)).tolist()
        pose = moved_by(pose, at[use], normals[use], offset[use], weight, about=(x, y))
    return pose


def moved_by(
    pose: Matrix, at: Floats, normals: Floats, offset: Floats, weight: Floats, *, about: Point
) -> Matrix:
    """Move a pose so that points move along their normals by about their offsets.

    Weighted least squares in a shift and a turn about a point: n·(shift + turn × arm) = offset.

    Parameters
    ----------
    pose : array, shape (2, 3), float64
    at, normals : array, shape (N, 2), float32
        In the picture.
    offset, weight : array, shape (N,), float32
    about : tuple of float
        The point in the picture about which the pose turns.

    Returns
    -------
    array, shape (2, 3), float64
    """
    arm = at - np.array(about, np.float32)
    turning = normals[:, 1] * arm[:, 0] - normals[:, 0] * arm[:, 1]
    rows = np.column_stack((normals, turning)) * weight[:, None]
    rows = rows.astype(np.float64)
    normal = rows.T @ rows
    normal += 1e-9 * np.trace(normal) * np.eye(3) + 1e-12 * np.eye(3)  # a disc has no turn
    moves = np.linalg.solve(normal, rows.T @ (offset * weight))
    to = (about[0] + float(moves[0]), about[1] + float(moves[1]))
    return after(turned(-float(np.degrees(moves[2])), about=about, to=to), pose)
