"""A milled plate with a bore, a turned ring, four holes and an engraved name."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from zeroline.edge_app.sim.parts.part import Part, Place
from zeroline.edge_app.sim.surface import (
    Plane,
    Surface,
    box,
    coordinates,
    grain,
    inside,
    lettering,
)

HALF = 0.37
CORNER = 0.05
BORE = 0.085
RING = 0.16
HOLE = 0.03
RIM = 0.008
HOLES = ((-0.27, -0.27), (0.27, -0.27), (-0.27, 0.27), (0.27, 0.27))
NAME, NAME_AT = "ZL-40", (0.0, 0.275)
_METAL, _HOLLOW = 0.62, 0.12


def make_surface(
    size: int, rng: Generator, *, variation: float, second_lot: bool, missing: int | None = None
) -> Surface:
    """Machine one good plate; ``missing`` leaves out one of the four holes.

    What differs from part to part: the brushed grain, the turned ring's grooves, the metal's
    tone. The second lot is darker and of coarser grain.
    """
    x, y = coordinates(size)
    edge = box(x, y, half=(HALF, HALF), corner=CORNER)
    cover = inside(edge, size=size, softness=1.5)
    chamfer = np.clip(edge + np.float32(0.012), 0, 0.012) * np.float32(size)
    height = -chamfer
    base = (_METAL - 0.05 if second_lot else _METAL) + 0.012 * variation * rng.normal()
    along, across = (size / 6, 1.6) if second_lot else (size / 14, 0.7)
    brushed = grain(size, rng, along=along, across=across)
    tone = np.float32(base) + np.float32(0.022 * variation) * brushed

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
    name = lettering(NAME, (size, size), size=size, at=NAME_AT)
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


def hole(size: int, number: int) -> Plane:
    """Return the footprint of a hole, its rim included."""
    x, y = coordinates(size)
    cx, cy = HOLES[number]
    away = np.hypot(x - np.float32(cx), y - np.float32(cy))
    return np.asarray(away < HOLE + RIM, dtype=np.float32)


def _place(rng: Generator) -> Place:
    """Choose a place on the plate's face, clear of edge, bore and holes."""
    while True:
        place = rng.uniform(-HALF + 0.06, HALF - 0.06, 2)
        clear = np.hypot(*place) > BORE + 0.06 and all(
            np.hypot(place[0] - cx, place[1] - cy) > HOLE + 0.05 for cx, cy in HOLES
        )
        if clear:
            return place


def _crack_start(rng: Generator) -> tuple[Place, float]:
    """Start a crack at a hole, the bore or the edge."""
    towards = rng.uniform(0, 2 * np.pi)
    way = np.array((np.cos(towards), np.sin(towards)))
    kind = rng.integers(3)
    if kind == 0:
        start = way * BORE
    elif kind == 1:
        start = np.array(HOLES[rng.integers(4)]) + way * HOLE
        if np.abs(start + way * 0.1).max() > HALF:  # rather to the middle than over the edge
            towards, start = towards + np.pi, start - 2 * way * HOLE
    else:
        side = rng.integers(4)
        along = rng.uniform(-0.2, 0.2)
        start = np.array(((-HALF, along), (HALF, along), (along, -HALF), (along, HALF))[side])
        towards = (0, np.pi, np.pi / 2, -np.pi / 2)[side] + rng.normal(0, 0.3)
    return start, float(towards)


def _tool_mark() -> Place:
    """Return an arc beside the bore."""
    angles = np.linspace(0.15, 1.0, 24) * np.pi / 2
    path = np.stack((np.cos(angles) - 0.55, np.sin(angles) - 0.2), axis=1) * 0.13
    return np.asarray(path + np.array((0.165, -0.235)))


PLATE = Part(make_surface, len(HOLES), hole, _place, _crack_start, _tool_mark())
