"""The good part: a milled plate with a bore, a turned ring, four holes and an engraved name.

Lengths are shares of the frame's side. A surface is two planes, height in pixels and tone (the
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

HALF = 0.37
CORNER = 0.05
BORE = 0.085
RING = 0.16
HOLE = 0.03
RIM = 0.008
HOLES = ((-0.27, -0.27), (0.27, -0.27), (-0.27, 0.27), (0.27, 0.27))
NAME_AT = (0.0, 0.275)
"""Middle of the engraved name."""
_METAL, _HOLLOW = 0.62, 0.12


@dataclass
class Surface:
    """A part, seen from above and not yet in its place.

    Attributes
    ----------
    height : array, shape (S, S), float32
        In pixels, the plate's face at 0.
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


def make_surface(
    size: int, rng: Generator, *, variation: float, second_lot: bool, missing: int | None = None
) -> Surface:
    """Machine one good part; ``missing`` leaves out one of the four holes.

    What differs from part to part: the brushed grain, the turned ring's grooves, the metal's
    tone. The second lot is darker and of coarser grain.
    """
    x, y = coordinates(size)
    corner = np.maximum(np.abs((x, y)) - np.float32(HALF - CORNER), 0)
    edge = np.hypot(corner[0], corner[1]) - np.float32(CORNER)
    cover = inside(edge, size=size, softness=1.5)
    chamfer = np.clip(edge + np.float32(0.012), 0, 0.012) * np.float32(size)
    height = -chamfer
    base = (_METAL - 0.05 if second_lot else _METAL) + 0.012 * variation * rng.normal()
    grain = _grain(size, rng, coarse=second_lot)
    tone = np.float32(base) + np.float32(0.022 * variation) * grain

    radius = np.hypot(x, y)
    ring = inside(radius - np.float32(RING), size=size, softness=2)
    pitch = 90 + 2 * variation * rng.normal()
    grooves = np.sin(2 * np.pi * (np.float32(pitch) * radius + np.float32(rng.random())))
    tone = tone * (1 - ring) + ring * (np.float32(base + 0.05) + np.float32(0.03) * grooves)
    height = height - ring * np.float32(1.5 * size / 480)
    _hollow(height, tone, radius - np.float32(BORE))
    for number, (cx, cy) in enumerate(HOLES):
        if number != missing:
            _hollow(height, tone, np.hypot(x - np.float32(cx), y - np.float32(cy)) - HOLE)
    name = _engraving(size)
    height -= name * np.float32(1.5 * size / 480)
    tone -= name * np.float32(0.12)
    return Surface(height, np.asarray(tone, dtype=np.float32), cover)


def _hollow(height: Plane, tone: Plane, distance: Plane) -> None:
    """Drill: a dark bottom and a rim that catches the light."""
    size = height.shape[0]
    hole = inside(np.asarray(distance, np.float32), size=size, softness=1.5)
    rim = inside(np.asarray(distance - np.float32(RIM), np.float32), size=size, softness=4)
    height -= rim * np.float32(3 * size / 480)
    tone *= 1 - hole
    tone += hole * np.float32(_HOLLOW)


def _grain(size: int, rng: Generator, *, coarse: bool) -> Plane:
    """Return brushed grain along x, of unit spread."""
    cv2 = opencv("to draw the simulated line")
    noise = rng.standard_normal((size, size), np.float32)
    along = size / (6 if coarse else 14)
    fine = cv2.GaussianBlur(noise, (0, 0), sigmaX=along, sigmaY=1.6 if coarse else 0.7)
    return np.asarray(fine / max(float(fine.std()), 1e-6), dtype=np.float32)


def _engraving(size: int) -> Plane:
    """Return the cover of the engraved name."""
    cv2 = opencv("to draw the simulated line")
    plane = np.zeros((size, size), np.uint8)
    scale, weight = size / 480 * 0.9, max(1, round(size / 240))
    (width, tall), _ = cv2.getTextSize("ZL-40", cv2.FONT_HERSHEY_SIMPLEX, scale, weight)
    left = round(size * (0.5 + NAME_AT[0]) - width / 2)
    base = round(size * (0.5 + NAME_AT[1]) + tall / 2)
    cv2.putText(
        plane, "ZL-40", (left, base), cv2.FONT_HERSHEY_SIMPLEX, scale, 255, weight, cv2.LINE_AA
    )
    return np.asarray(plane / np.float32(255), dtype=np.float32)
