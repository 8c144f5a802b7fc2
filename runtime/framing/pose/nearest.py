"""The last step: each point goes to its nearest edge, in a picture twice as fine.

A bevel has two edges. Which one is the stronger depends on the lamp, so a pose by the strongest
edges moves with the light. The nearest edge is the taught one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from zeroline.runtime.framing.pose.field import sampled
from zeroline.runtime.framing.pose.fine import FEWEST, directed, moved_by
from zeroline.runtime.framing.pose.pixels import Bools, Floats
from zeroline.runtime.framing.pose.points import EdgePoints
from zeroline.runtime.framing.pose.rigid import Matrix, inverse, moved

#: How far a point looks at teaching and in a frame, and how often, in pixels of the fine picture.
TAUGHT_REACH, REACH, STEPS = 3, 5, 3
#: Points on the outline count so often: a lamp moves them least.
OUTLINE = 3
#: Edges under this share of the typical one are none.
LEAST = 0.15


@dataclass(frozen=True)
class NearestEdges:
    """Taught points, each on an edge of the fine taught picture.

    Attributes
    ----------
    points : EdgePoints
        In the upright frame, in pixels of the fine picture.
    weights : array, shape (N,), float32
    strength : float
        Typical derivative, in grey levels a pixel.
    """

    points: EdgePoints
    weights: Floats
    strength: float

    @classmethod
    def taught(
        cls, plane: Floats, pattern: EdgePoints, outline: EdgePoints, pose: Matrix
    ) -> NearestEdges:
        """Move points onto the nearest edges of the fine taught picture.

        Parameters
        ----------
        plane : array, shape (H, W), float32
            Grey values.
        pattern, outline : EdgePoints
            In the upright frame, in fine pixels.
        pose : array, shape (2, 3), float64
            Upright frame → picture.
        """
        points = EdgePoints(
            np.concatenate((pattern.at, outline.at)),
            np.concatenate((pattern.normals, outline.normals)),
        )
        counts = np.ones(len(points.at), np.float32)
        counts[len(pattern.at) :] = OUTLINE
        at, normals = directed(points, pose)
        offset, strength, found = nearest(plane, at, normals, reach=TAUGHT_REACH)
        typical = float(np.median(strength[found])) if found.any() else 0.0
        found &= strength > LEAST * typical
        there = moved(at + normals * offset[:, None], inverse(pose))
        return cls(EdgePoints(there[found], points.normals[found]), counts[found], typical)

    def settled(self, plane: Floats, pose: Matrix, /) -> Matrix:
        """Move a pose, upright frame → picture, onto the nearest edges of a fine picture."""
        for _ in range(STEPS):
            at, normals = directed(self.points, pose)
            offset, strength, found = nearest(plane, at, normals, reach=REACH)
            use = found & (strength > LEAST * self.strength)
            if use.sum() < FEWEST:
                return pose
            weight = np.minimum(strength, self.strength) * self.weights / (1 + offset**2)
            about = tuple(at[use].mean(axis=0).tolist())
            pose = moved_by(pose, at[use], normals[use], offset[use], weight[use], about=about)
        return pose


def nearest(
    plane: Floats, at: Floats, normals: Floats, /, *, reach: int
) -> tuple[Floats, Floats, Bools]:
    """Find the nearest edge along each normal.

    The derivative along the normal is a mean over three parallel lines. Of its peaks that counts
    for most which has the largest height/(1 + offset²).

    Parameters
    ----------
    plane : array, shape (H, W), float32
        Grey values.
    at, normals : array, shape (N, 2), float32
    reach : int
        Pixels to both sides.

    Returns
    -------
    offset : array, shape (N,), float32
        Of the edge from the point, between two pixels by a parabola.
    height : array, shape (N,), float32
        Of the derivative there.
    found : array, shape (N,), bool
        Whether there is a peak, and the line lies in the picture.
    """
    steps = np.arange(-reach - 1, reach + 2, dtype=np.float32)
    beside = np.stack((-normals[:, 1], normals[:, 0]), axis=1)
    line = at[:, None] + steps[:, None] * normals[:, None]
    values = sum(sampled(plane, line + np.float32(side) * beside[:, None]) for side in (-1, 0, 1))
    slope = np.abs(np.asarray(values)[:, 2:] - np.asarray(values)[:, :-2]) / np.float32(6)
    inner = slope[:, 1:-1]
    peak = (inner >= slope[:, :-2]) & (inner > slope[:, 2:])
    steps = steps[2:-2]
    best = np.where(peak, inner / (1 + steps * steps), -1).argmax(axis=1)
    rows = np.arange(len(at))
    before, top, behind = (slope[rows, best + step] for step in (0, 1, 2))
    bend = np.maximum(2 * top - before - behind, np.float32(1e-6))
    offset = steps[best] + np.clip((behind - before) / (2 * bend), -0.5, 0.5)
    far = np.array(plane.shape[::-1]) - reach - 3
    inside = ((at > reach + 2) & (at < far)).all(axis=1)
    return offset, top, peak[rows, best] & inside
