"""The outline: a found outline is laid on the taught one."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from zeroline.runtime.errors import FramingError
from zeroline.runtime.framing.pose.field import sampled
from zeroline.runtime.framing.pose.fine import moved_by
from zeroline.runtime.framing.pose.ground import largest_outline
from zeroline.runtime.framing.pose.opencv import opencv
from zeroline.runtime.framing.pose.pixels import Bools, Floats
from zeroline.runtime.framing.pose.points import MOST, EdgePoints
from zeroline.runtime.framing.pose.rigid import (
    Matrix,
    between,
    inverse,
    moved,
    turn_of,
    turned,
)

#: Turns that are tried, points of an outline, starts that go on, most steps of each kind.
TURNS, POINTS, STARTS, STEPS = 72, 200, 4, 6
#: A pose whose matrix changes by less is settled.
SETTLED = 0.01


class TaughtOutline:
    """The taught outline, as a field of distances.

    Parameters
    ----------
    mask : array, shape (n, n), bool
        The part in the upright frame, not empty.

    Attributes
    ----------
    points : EdgePoints
        Points on the outline, evenly spread, with their normals.
    distance : array, shape (n, n), float32
        Distance to the outline in working pixels, negative inside.

    Notes
    -----
    Ours: least squares by Gauss and Newton on the distance field, after Fitzgibbon (Image and
    Vision Computing 21, 2003).
    """

    def __init__(self, mask: Bools) -> None:
        outline = largest_outline(mask)
        if outline is None:
            raise FramingError("the mask of the taught part is empty")
        self._pad = len(mask) // 2
        wide = np.pad(mask, self._pad).astype(np.uint8)
        self._distance = _signed_distance(wide)
        slopes = np.gradient(self._distance)
        self._down, self._right = (np.asarray(slope, np.float32) for slope in slopes)
        self._middle = outline_middle(outline)
        self.distance = self._distance[self._pad :, self._pad :][: len(mask), : len(mask)]
        self._outline = outline
        self._limit = max(1.5, 0.012 * float(np.sqrt(mask.sum())))
        rests = self._rests(_spread(outline, POINTS), self._middle)
        self._round = bool((rests < self._limit).mean() > 0.5)
        at = _spread(outline, MOST)
        _, right, down = self._at(at)
        normals = np.stack((right, down), axis=1)
        length = np.hypot(right, down)
        clear = length > 0.5
        self.points = EdgePoints(
            at[clear], (normals[clear] / length[clear, None]).astype(np.float32)
        )

    def _at(self, points: Floats) -> tuple[Floats, Floats, Floats]:
        """Return the distance at points, and its derivatives; far points count as on the rim."""
        limit = len(self._distance) - 1
        inside = np.clip(points + np.float32(self._pad), 0, limit)
        return (
            sampled(self._distance, inside),
            sampled(self._right, inside),
            sampled(self._down, inside),
        )

    def fitted(self, outline: Floats, /, *, shape: tuple[int, ...]) -> Matrix | None:
        """Lay a found outline on the taught one.

        Parameters
        ----------
        outline : array, shape (N, 2), float32
            In a picture.
        shape : tuple of int
            Height and width of the picture. Points on its border are not of the outline.

        Returns
        -------
        array, shape (2, 3), float64, or None
            Upright frame → picture. None where too little of the outline is in the picture.
        """
        far = np.array((shape[1] - 3, shape[0] - 3))
        free = outline[((outline > 2) & (outline < far)).all(axis=1)]
        if len(free) < 30:
            return None
        middle = outline_middle(outline)
        fits = self._fits(_spread(free, POINTS), middle, most=1 if self._round else STARTS)
        return inverse(min(fits, key=lambda fit: fit[1])[0])

    def self_poses(self) -> Iterator[Matrix]:
        """Yield the turns in which the outline lies on itself, without the first."""
        points = _spread(self._outline, POINTS)
        if self._round:
            for number in range(1, TURNS):
                yield turned(360 / TURNS * number, about=self._middle)
            return
        kept = [0.0]
        for pose, rest in self._fits(points, self._middle, most=TURNS):
            turn = turn_of(pose)
            if rest < self._limit and all(between(turn, other) > 10 for other in kept):
                kept.append(turn)
                yield pose

    def _rests(self, points: Floats, middle: tuple[float, float]) -> Floats:
        """Return the mean distance at each turn about the middle."""
        laid = [
            moved(points, turned(360 / TURNS * turn, about=middle, to=self._middle))
            for turn in range(TURNS)
        ]
        limit = len(self._distance) - 1
        inside = np.clip(np.stack(laid) + np.float32(self._pad), 0, limit)
        return np.asarray(np.abs(sampled(self._distance, inside)).mean(axis=1))

    def _fits(
        self, points: Floats, middle: tuple[float, float], *, most: int
    ) -> Iterator[tuple[Matrix, float]]:
        """Yield picture → upright frame and the mean distance, from the best turns."""
        rests = self._rests(points, middle)
        low = (rests <= np.roll(rests, 1)) & (rests <= np.roll(rests, -1))
        starts = [int(turn) for turn in np.argsort(rests, kind="stable") if low[turn]][:most]
        for turn in starts:
            start = turned(360 / TURNS * turn, about=middle, to=self._middle)
            yield self._descended(points, start)

    def _descended(self, points: Floats, back: Matrix) -> tuple[Matrix, float]:
        """Improve picture → upright frame, first with equal weights, then far points weigh less.

        Where the border cuts the part, the start is far off. Then no point may weigh less.
        """
        for robust in (False, True):
            for _ in range(STEPS):
                before, laid = back, moved(points, back)
                distance, right, down = self._at(laid)
                typical = max(1.0, 1.5 * float(np.median(np.abs(distance))))
                weight = 1 / (1 + robust * (distance / np.float32(typical)) ** 2)
                slopes = np.stack((right, down), axis=1)
                back = moved_by(back, laid, slopes, -distance, weight, about=self._middle)
                if np.abs(back - before).max() < SETTLED:
                    break
        return back, float(np.abs(self._at(moved(points, back))[0]).mean())


def outline_middle(outline: Floats, /) -> tuple[float, float]:
    """Return the middle of the area inside an outline; of its points where there is no area."""
    moments = opencv().moments(outline[:, None])
    if moments["m00"] <= 0:
        x, y = outline.mean(axis=0).tolist()
        return x, y
    return float(moments["m10"] / moments["m00"]), float(moments["m01"] / moments["m00"])


def _spread(outline: Floats, most: int) -> Floats:
    """Return at most so many points, evenly spread over an outline."""
    numbers = np.linspace(0, len(outline) - 1, min(most, len(outline))).astype(int)
    return np.asarray(outline[numbers])


def _signed_distance(mask: npt.NDArray[np.uint8]) -> Floats:
    """Return the distance to a mask's edge, half a pixel outside its last pixels."""
    cv2 = opencv()
    outside, inside = (cv2.distanceTransform(plane, cv2.DIST_L2, 5) for plane in (1 - mask, mask))
    signed = outside - inside + np.where(mask > 0, np.float32(0.5), np.float32(-0.5))
    return np.asarray(cv2.GaussianBlur(signed, (0, 0), 1.0), dtype=np.float32)
