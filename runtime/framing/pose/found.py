"""The pose of a part in a picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from zeroline.runtime.framing.pose.quality import FOUND, WHOLE
from zeroline.runtime.framing.pose.rigid import Matrix

Problem = Literal["no_part_found", "part_not_whole"]


@dataclass(frozen=True)
class FoundPose:
    """Where a part lies.

    Attributes
    ----------
    matrix : array, shape (2, 3), float64
        Upright frame → picture, in pixels of the picture; pixel centres at whole numbers.
    quality : float
        How well the part's edges agree with the taught ones: 1 all, 0 by chance.
    in_view : float
        Share of the part that lies in the picture, 0 to 1.
    margin : float
        How clearly detail decided between readings: 1 as in the taught picture, 0 not at all.
    turn : float
        Degrees from the taught pose, counter-clockwise, -180 to 180.
    """

    matrix: Matrix
    quality: float
    in_view: float
    margin: float
    turn: float

    @property
    def problem(self) -> Problem | None:
        """Why the part cannot be inspected; None where it can."""
        if self.quality < FOUND:
            return "no_part_found"
        return "part_not_whole" if self.in_view < WHOLE else None
