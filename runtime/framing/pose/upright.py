"""The upright frame: the square in which a part always lies alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zeroline.runtime.framing.pose.opencv import opencv
from zeroline.runtime.framing.pose.pixels import Bools, Grey
from zeroline.runtime.framing.pose.rigid import Matrix, after, enlarged, moved, turned

#: A part that is turned to fit a smaller box stays as it is where that saves less of the area.
TURNED = 0.02


def upright_of(part: Bools, /) -> tuple[Matrix, float]:
    """Return how a part lies in its mask.

    The part stands upright in the box of the smallest area round it, in the quarter turn that is
    the nearest to the mask's.

    Parameters
    ----------
    part : array, shape (h, w), bool
        Not empty.

    Returns
    -------
    place : array, shape (2, 3), float64
        Upright part, its middle at (0, 0) → mask.
    long : float
        Long side of the box in pixels.
    """
    down, right = np.nonzero(part)
    points = np.stack((right, down), axis=1).astype(np.float32)
    middle, sides, angle = opencv().minAreaRect(points)
    turn = 45 - (angle + 45) % 90
    box = np.ptp(points, axis=0) + 1
    sides = np.add(sides, 1)
    if np.prod(box) * (1 - TURNED) <= np.prod(sides):
        middle, sides, turn = points.min(axis=0) + (box - 1) / 2, box, 0.0
    place = turned(turn, about=(0, 0), to=(float(middle[0]), float(middle[1])))
    return place, float(max(sides))


@dataclass(frozen=True)
class Scales:
    """What one pixel is, from the upright frame of the network to the working picture.

    Attributes
    ----------
    side : int
        Side of the upright frame, in pixels of the taught picture.
    working : int
        Side of the same frame round the same middle, in pixels of the working picture.
    factor : int
        Pixels of the picture for one of the working picture.
    fine : int
        Pixels of the picture for one of the fine picture: half of `factor`, or both are 1.
    """

    side: int
    working: int
    factor: int
    fine: int

    @property
    def middle(self) -> float:
        """Both coordinates of the middle of the working frame."""
        return (self.working - 1) / 2

    def to_working(self) -> Matrix:
        """Return the map from the upright frame in taught pixels to that in working pixels."""
        scale = 1 / self.factor
        shift = self.middle - scale * (self.side - 1) / 2
        return np.array(((scale, 0, shift), (0, scale, shift)))

    def in_picture(self, pose: Matrix) -> Matrix:
        """Turn a pose in working pixels into one in pixels of the picture."""
        return after(enlarged(self.factor), after(pose, self.to_working()))

    @property
    def finer(self) -> Matrix:
        """The map from working pixels to fine pixels."""
        return enlarged(self.factor // self.fine)


@dataclass(frozen=True)
class Upright:
    """A picture seen in an upright frame.

    Attributes
    ----------
    pose : array, shape (2, 3), float64
        Upright frame → picture.
    side : int
        Of the frame.
    """

    pose: Matrix
    side: int

    def picture(self, pixels: Grey) -> Grey:
        """Lay a picture, its border repeated."""
        return np.asarray(self._warped(pixels, opencv().BORDER_REPLICATE))

    def mask(self, mask: Bools) -> Bools:
        """Lay a mask, nothing outside."""
        plane = np.where(mask, np.uint8(255), np.uint8(0))
        return np.asarray(self._warped(plane, opencv().BORDER_CONSTANT) > 127)

    def _warped(self, plane: Any, border: int) -> Any:
        cv2 = opencv()
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        size = (self.side, self.side)
        return cv2.warpAffine(plane, self.pose, size, flags=flags, borderMode=border)


def window(shape: tuple[int, ...], poses: Sequence[Matrix], side: int, /) -> tuple[slice, slice]:
    """Return the rows and columns of a picture that a frame covers, at any of its poses."""
    ends = np.array(((0, 0), (0, side), (side, 0), (side, side)), np.float32)
    corners = np.concatenate([moved(ends, pose) for pose in poses])
    limit = np.array(shape[1::-1])
    left, top = np.clip(corners.min(axis=0), 0, limit - 1).astype(int).tolist()
    right, bottom = np.clip(np.ceil(corners.max(axis=0)) + 1, 1, limit).astype(int).tolist()
    return slice(top, bottom), slice(left, right)
