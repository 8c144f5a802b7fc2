"""What the line must know of a part to draw it, good or damaged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from zeroline.edge_app.sim.surface import Plane, Surface

Place = NDArray[np.float64]
"""An x and a y, in shares of the drawing's side, the part's middle at 0."""


class Maker(Protocol):
    """Makes one good part, upright, in a drawing of a side in pixels."""

    def __call__(
        self,
        size: int,
        rng: Generator,
        *,
        variation: float,
        second_lot: bool,
        missing: int | None = None,
    ) -> Surface:
        """Make it; ``missing`` leaves out one of the features that may be missing."""


@dataclass(frozen=True)
class Part:
    """A kind of part.

    Attributes
    ----------
    make : Maker
    features : int
        How many features may be missing: holes, a notch, pins.
    feature : callable
        The footprint of a feature, from the side of the drawing and the feature's number.
    place : callable
        Chooses a place on the part's face for a defect.
    crack_start : callable
        Chooses where a crack starts, and where it runs to (radians, from x to y).
    tool_mark : array, shape (N, 2)
        The line on which a stuck tool marks the part.
    """

    make: Maker
    features: int
    feature: Callable[[int, int], Plane]
    place: Callable[[Generator], Place]
    crack_start: Callable[[Generator], tuple[Place, float]]
    tool_mark: Place
