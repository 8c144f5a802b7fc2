"""Edge points of the taught part: where a frame is compared with it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from zeroline.runtime.framing.pose.field import sampled
from zeroline.runtime.framing.pose.pixels import Bools, Floats

#: Most points, and the least distance between two, in working pixels.
MOST, GAP = 300, 3


@dataclass(frozen=True)
class EdgePoints:
    """Points on edges, each with the direction across its edge.

    Attributes
    ----------
    at : array, shape (N, 2), float32
        (x, y) in the upright frame, in working pixels.
    normals : array, shape (N, 2), float32
        Unit vectors along the gradient.
    """

    at: Floats
    normals: Floats


def edge_points(gx: Floats, gy: Floats, /, *, allowed: Bools, least: float) -> EdgePoints:
    """Choose the strongest edges that lie apart.

    Parameters
    ----------
    gx, gy : array, shape (n, n), float32
        Gradient of the upright part.
    allowed : array, shape (n, n), bool
        Where points may lie.
    least : float
        Weakest gradient.

    Returns
    -------
    EdgePoints
        At most 300. Where there are more, they are taken evenly from the order of strength.

    Notes
    -----
    Ours. A point lies on the ridge of the gradient's length: along its normal both neighbours are
    weaker. A parabola through the three places it between the pixels.
    """
    length = np.hypot(gx, gy)
    down, right = np.nonzero(allowed & (length > least))
    at: Floats = np.stack((right, down), axis=1).astype(np.float32)
    middle = length[down, right]
    across = np.stack((gx[down, right], gy[down, right]), axis=1)
    normals: Floats = (across / middle[:, None]).astype(np.float32)
    before, behind = (sampled(length, at + sign * normals) for sign in (-1, 1))
    ridge = np.flatnonzero((middle >= before) & (middle > behind))
    order = ridge[np.argsort(-middle[ridge], kind="stable")]
    kept = _apart(at[order].astype(np.intp), shape=length.shape)
    chosen = order[kept]
    if len(chosen) > MOST:
        chosen = chosen[np.linspace(0, len(chosen) - 1, MOST).astype(int)]
    bend = 2 * middle[chosen] - before[chosen] - behind[chosen]
    shift = 0.5 * (behind[chosen] - before[chosen]) / np.maximum(bend, 1e-6)
    unit = normals[chosen]
    between = at[chosen] + unit * np.clip(shift, -0.5, 0.5)[:, None]
    return EdgePoints(between.astype(np.float32), unit)


def _apart(at: npt.NDArray[np.intp], *, shape: tuple[int, ...]) -> list[int]:
    """Return which points to keep, in their order, so that none lies within the gap."""
    taken, kept = np.zeros(shape, bool), []
    for number, (x, y) in enumerate(at.tolist()):
        if not taken[y, x]:
            kept.append(number)
            taken[max(0, y - GAP) : y + GAP + 1, max(0, x - GAP) : x + GAP + 1] = True
    return kept
