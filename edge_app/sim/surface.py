"""What a part is drawn from: a surface, and the shapes that all parts share.

Lengths are shares of the drawing's side. A surface is two planes, height in pixels and tone (the
share of light given back), so that light falls on damage as it falls on the part.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from zeroline.edge_app.opencv import opencv

Plane = NDArray[np.float32]


@dataclass
class Surface:
    """A part, seen from above and not yet in its place.

    Attributes
    ----------
    height : array, shape (S, S), float32
        In pixels, the part's face at 0.
    tone : array, shape (S, S), float32
        0 black to 1 white.
    cover : array, shape (S, S), float32
        1 on the part, 0 beside it, between at the edge.
    """

    height: Plane
    tone: Plane
    cover: Plane

    @property
    def size(self) -> int:
        """Side of the planes in pixels."""
        return len(self.height)

    @property
    def area(self) -> float:
        """The part's area in pixels."""
        return float(self.cover.sum())


def line_of(length: int, side: int) -> Plane:
    """Return the places of a row of pixels, in shares of a side, the row's middle at 0."""
    places = (np.arange(length) + 0.5) / side - 0.5 * length / side
    return np.asarray(places, dtype=np.float32)


@lru_cache(maxsize=4)
def coordinates(size: int) -> tuple[Plane, Plane]:
    """Return the x and y of every pixel, in shares of the side, the middle at 0; not writable."""
    x, y = np.meshgrid(line_of(size, size), line_of(size, size))
    x.flags.writeable = y.flags.writeable = False
    return x, y


def inside(distance: Plane, *, size: int, softness: float = 1.0) -> Plane:
    """Turn a signed distance (negative inside, in shares) into a cover with a soft edge."""
    cover = np.clip(0.5 - distance * np.float32(size / softness), 0, 1)
    return np.asarray(cover, dtype=np.float32)


def box(x: Plane, y: Plane, *, half: tuple[float, float], corner: float) -> Plane:
    """Return the signed distance to a box about 0 with round corners; inside, at least -corner."""
    beyond = [
        np.maximum(np.abs(along) - np.float32(side - corner), 0)
        for along, side in zip((x, y), half, strict=True)
    ]
    return np.asarray(np.hypot(*beyond) - np.float32(corner), dtype=np.float32)


def grain(size: int, rng: Generator, *, along: float, across: float) -> Plane:
    """Return noise of unit spread, smooth over some pixels along x and across it."""
    cv2 = opencv("to draw the simulated line")
    noise = rng.standard_normal((size, size), np.float32)
    fine = cv2.GaussianBlur(noise, (0, 0), sigmaX=along, sigmaY=across)
    return np.asarray(fine / max(float(fine.std()), 1e-6), dtype=np.float32)


def lettering(
    text: str, shape: tuple[int, int], *, size: int, at: tuple[float, float], scale: float = 0.9
) -> Plane:
    """Return the cover of a name, its middle at a place in shares of the side."""
    cv2 = opencv("to draw the simulated line")
    plane = np.zeros(shape, np.uint8)
    font, tall, weight = cv2.FONT_HERSHEY_SIMPLEX, size / 480 * scale, max(1, round(size / 240))
    (wide, high), _ = cv2.getTextSize(text, font, tall, weight)
    left = round(shape[1] / 2 + size * at[0] - wide / 2)
    base = round(shape[0] / 2 + size * at[1] + high / 2)
    cv2.putText(plane, text, (left, base), font, tall, 255, weight, cv2.LINE_AA)
    return np.asarray(plane / np.float32(255), dtype=np.float32)
