"""Readings: poses in which the part looks almost alike, decided by detail.

A square plate lies on itself at 90, 180 and 270 degrees. What tells the right pose is small: a
name, a missing hole, the direction of the grain. The lamp does not turn with the part. So detail
is what a lamp moves least.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from zeroline.runtime.framing.pose.field import gradients, top
from zeroline.runtime.framing.pose.opencv import opencv
from zeroline.runtime.framing.pose.pixels import Bools, Floats, Grey, widened
from zeroline.runtime.framing.pose.rigid import Matrix, after, turned

#: Detail counts on the part less this rim, in working pixels.
RIM = 8
#: Differences of edges under this share of the largest are noise.
CLEAR = 0.4
#: Grain differs from here on, and only if it does so on this share of the part.
GRAIN, GRAIN_SHARE = 0.3, 0.2
#: Turns of a round part that are nearer than this, in degrees, are one reading.
ROUND_APART = 10


def detail(grey: Grey, /, *, level: float) -> Floats:
    """Return what is seen at each place, whatever the lamp.

    1. *Where* edges are: m²/(m² + (level/2)²), blurred by 2.5 pixels.
    2. The direction of the grain: the structure tensor over 4 pixels, over its trace.

    It is smooth, so every second pixel of both directions is enough.

    Parameters
    ----------
    grey : array, shape (n, n), uint8
    level : float
        The field's level.

    Returns
    -------
    array, shape (3, n // 2, n // 2), float32
        Edges 0 to 1, then the grain's (cos 2θ, sin 2θ), at most 1 long.
    """
    cv2 = opencv()
    gx, gy = gradients(grey)
    xx, yy = gx * gx, gy * gy
    squared = xx + yy
    edges = squared / (squared + np.float32((level / 2) ** 2))
    planes = cv2.merge((edges, xx - yy, 2 * gx * gy, squared))
    half = halved(planes)
    where = cv2.GaussianBlur(half[..., 0], (0, 0), 2.5 / 2)
    tensor = cv2.GaussianBlur(half[..., 1:], (0, 0), 4 / 2)
    trace = tensor[..., 2] + np.float32(0.3)
    return np.stack((where, tensor[..., 0] / trace, tensor[..., 1] / trace))


def halved(planes: Floats, /) -> Floats:
    """Shrink to half the side, by the mean of each square."""
    cv2 = opencv()
    height, width = (side // 2 for side in planes.shape[:2])
    size = (width, height)
    whole = planes[: 2 * height, : 2 * width]
    return np.asarray(cv2.resize(whole, size, interpolation=cv2.INTER_AREA), np.float32)


@dataclass(frozen=True)
class Reading:
    """Another pose in which the part looks almost alike.

    Attributes
    ----------
    pose : array, shape (2, 3), float64
        Upright frame → upright frame: where the part lies on itself. A frame that was found at
        pose P and shows this reading has the pose P·pose.
    places : array, shape (M,), int64
        Where detail tells the poses apart, in flattened detail.
    difference : array, shape (M,), float32
        Detail laid by the pose, less detail.
    middle : array, shape (M,), float32
        The mean of both.
    """

    pose: Matrix
    places: Any
    difference: Floats
    middle: Floats

    @property
    def weight(self) -> float:
        """Half the squared difference: the evidence in a frame without noise."""
        return float((self.difference**2).sum()) / 2

    def evidence(self, seen: Floats, view: Floats, /) -> float:
        """Return the evidence for this reading: `weight` where it is right, -`weight` if not.

        Parameters
        ----------
        seen : array, shape (3·m·m,), float32
            Detail of a frame, m = n // 2.
        view : array, shape (3·m·m,), float32
            1 where the frame shows the place, 0 elsewhere.
        """
        told = (seen[self.places] - self.middle) * self.difference
        return float((told * view[self.places]).sum())


def reading_of(upright: Grey, inner: Bools, pose: Matrix, /, *, level: float) -> Reading:
    """Compare the taught part with itself, laid by a pose.

    Parameters
    ----------
    upright : array, shape (n, n), uint8
    inner : array, shape (n, n), bool
        The part, as far as the taught picture shows it.
    pose : array, shape (2, 3), float64
        Upright frame → upright frame.
    level : float
        The field's level.
    """
    cv2, size = opencv(), upright.shape
    laid = cv2.warpAffine(upright, pose, size, borderMode=cv2.BORDER_REPLICATE)
    core = widened(inner, -RIM)
    there = cv2.warpAffine(core.astype(np.float32), pose, size)
    counts = halved(core * there) > 0.99
    here, other = detail(upright, level=level), detail(laid, level=level)
    difference = (other - here) * counts
    edges, grain = np.abs(difference[0]), np.hypot(difference[1], difference[2])
    difference[0][edges < CLEAR * edges.max()] = 0
    between_edges = cv2.dilate(np.maximum(here[0], other[0]), np.ones((3, 3), np.uint8)) < 0.5
    clear = between_edges & (grain >= GRAIN)
    if 4 * clear.sum() < GRAIN_SHARE * inner.sum():
        clear[:] = False
    difference[1:, ~clear] = 0
    places = np.flatnonzero(difference)
    middle = ((here + other) / 2).ravel()[places]
    return Reading(pose, places, difference.ravel()[places], middle.astype(np.float32))


@dataclass(frozen=True)
class Readings:
    """All other poses in which the part looks almost alike.

    Attributes
    ----------
    others : tuple of Reading
        Without the pose itself.
    every : float or None
        Degrees from one to the next where the part is round: then all turns are readings.
    """

    others: tuple[Reading, ...]
    every: float | None = None

    def decided(self, seen: Floats, view: Bools, /) -> tuple[Matrix | None, float]:
        """Decide which reading a frame shows.

        Parameters
        ----------
        seen : array, shape (3, m, m), float32
            Detail of the frame, laid upright by its pose.
        view : array, shape (m, m), bool
            What the frame shows.

        Returns
        -------
        pose : array, shape (2, 3), float64, or None
            Upright frame → upright frame, before the pose. None: the pose is right as it is.
        margin : float
            The evidence over the next reading's: 1 in a frame without noise, 0 undecided. 1 too
            where there is one reading only.
        """
        flat, shown = seen.ravel(), np.tile(view.ravel(), 3).astype(np.float32)
        evidence = np.array([0.0, *(other.evidence(flat, shown) for other in self.others)])
        weights = np.array([0.0, *(other.weight for other in self.others)])
        best = int(evidence.argmax())
        numbers = np.arange(len(evidence))
        apart = numbers != best
        if self.every is not None:
            away = (numbers - best) % len(numbers)
            apart = np.minimum(away, len(numbers) - away) * self.every > ROUND_APART
        scale = np.maximum(np.maximum(weights[apart], weights[best]), 1e-9)
        margin = ((evidence[best] - evidence[apart]) / scale).min(initial=1.0)
        return self._pose(evidence, best), float(np.clip(margin, 0, 1))

    def _pose(self, evidence: npt.NDArray[np.float64], best: int) -> Matrix | None:
        if self.every is None:
            return self.others[best - 1].pose if best else None
        turn = self.every * top(evidence, best)
        about = self.others[0].pose
        middle = np.linalg.solve(np.eye(2) - about[:, :2], about[:, 2])
        more = turned(turn, about=(float(middle[0]), float(middle[1])))
        return after(self.others[best - 1].pose, more) if best else more
