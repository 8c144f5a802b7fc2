"""A turned ring with a notch, a shoulder and a name along its face."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from zeroline.edge_app.opencv import opencv
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

OUTER = 0.4
BORE = 0.2
SHOULDER = 0.262
NOTCH_WIDTH, NOTCH_DEPTH = 0.064, 0.045
"""The notch is cut from above into the outer edge."""
NAME, NAME_AT = "ZEROLINE R-80", 0.333
"""The name, and the radius of its middle; it runs along the lower half, to be read upright."""
_METAL = 0.62


def make_surface(
    size: int, rng: Generator, *, variation: float, second_lot: bool, missing: int | None = None
) -> Surface:
    """Turn one good ring; ``missing`` leaves out the notch.

    What differs from part to part: the pitch of the grooves, where their spiral begins and how
    far it is off the middle, the metal's tone, and how deep the name is. The second lot is darker
    and has coarser grooves.
    """
    x, y = coordinates(size)
    pixels = size / 480
    radius = np.hypot(x, y)
    body = np.maximum(radius - np.float32(OUTER), np.float32(BORE) - radius)
    edge = body if missing is not None else np.maximum(body, -_notch(x, y))
    cover = inside(np.asarray(edge, np.float32), size=size, softness=1.5)
    chamfer = np.clip(edge + np.float32(0.01), 0, 0.01) * np.float32(size)
    land = inside(radius - np.float32(SHOULDER), size=size, softness=5 * pixels)
    relief = inside(np.abs(radius - np.float32(SHOULDER + 0.012)) - np.float32(0.004), size=size,
                    softness=3 * pixels)  # fmt: skip

    off = variation * rng.normal(0, 0.0015, 2)
    pitch = min(75 if second_lot else 95, size / 4.8) + 1.5 * variation * rng.normal()
    spiral = np.hypot(x - np.float32(off[0]), y - np.float32(off[1])) * np.float32(pitch)
    spiral += np.arctan2(y, x) / np.float32(2 * np.pi) + np.float32(rng.random())
    depths, tones = rng.normal(0, 1, (2, 128)).astype(np.float32)
    turn = np.asarray(spiral, dtype=np.intp) % 128
    grooves = np.sin(np.float32(2 * np.pi) * spiral) * (1 + np.float32(0.3) * depths[turn])
    uneven = grain(size, rng, along=3 * pixels, across=3 * pixels)
    base = (_METAL - 0.05 if second_lot else _METAL) + 0.012 * variation * rng.normal()
    name = _name(size) * np.float32(1 + 0.1 * variation * rng.normal())

    turned = (1 - relief) * (cover > 0)
    height = -chamfer + (land - 1) * np.float32(5 * pixels) - relief * np.float32(2 * pixels)
    height += turned * grooves * np.float32(32 / 480 / pitch * size) - name * np.float32(
        1.6 * pixels
    )
    tone = np.float32(base) + np.float32(0.012) * grooves + np.float32(0.07) * land
    tone += np.float32(0.012) * tones[turn]
    tone += np.float32(0.012 * variation) * uneven - np.float32(0.14) * relief
    tone -= name * np.float32(0.2)
    return Surface(*(np.asarray(plane, dtype=np.float32) for plane in (height, tone, cover)))


def _notch(x: Plane, y: Plane) -> Plane:
    """Return the signed distance to the notch."""
    half = (NOTCH_WIDTH / 2, NOTCH_DEPTH)
    return box(x, y + np.float32(OUTER), half=half, corner=0.012)


def notch(size: int, _: int) -> Plane:
    """Return the footprint of the notch."""
    x, y = coordinates(size)
    return np.asarray((_notch(x, y) < 0) & (np.hypot(x, y) < OUTER), dtype=np.float32)


def _name(size: int) -> Plane:
    """Return the cover of the name, bent along the ring."""
    cv2 = opencv("to draw the simulated line")
    x, y = coordinates(size)
    shape = (round(size * 0.1), round(size * NAME_AT * 3))
    strip = lettering(NAME, shape, size=size, at=(0, 0), scale=1.0)
    along = np.arctan2(x, y) * np.float32(size * NAME_AT) + np.float32((shape[1] - 1) / 2)
    outwards = (np.hypot(x, y) - np.float32(NAME_AT)) * np.float32(size) + np.float32(
        (shape[0] - 1) / 2
    )
    return np.asarray(cv2.remap(strip, along, outwards, cv2.INTER_LINEAR), dtype=np.float32)


def _on(radius: float, angle: float) -> Place:
    return np.array((np.cos(angle), np.sin(angle))) * radius


def _place(rng: Generator) -> Place:
    """Choose a place on the ring's face, clear of both edges and the notch."""
    while True:
        place = _on(rng.uniform(BORE + 0.045, OUTER - 0.045), rng.uniform(0, 2 * np.pi))
        if np.hypot(place[0], place[1] + OUTER) > 0.11:
            return place


def _crack_start(rng: Generator) -> tuple[Place, float]:
    """Start a crack at the bore, the outer edge or a corner of the notch."""
    angle = rng.uniform(0, 2 * np.pi)
    kind = rng.integers(3)
    if kind == 0:
        return _on(BORE, angle), float(angle + rng.normal(0, 0.3))
    if kind == 1 and np.cos(angle + np.pi / 2) < 0.97:
        return _on(OUTER, angle), float(angle + np.pi + rng.normal(0, 0.3))
    side = rng.choice((-1, 1))
    start = np.array((side * (NOTCH_WIDTH / 2 - 0.004), NOTCH_DEPTH - OUTER - 0.004))
    return start, float(np.pi / 2 + side * -0.5 + rng.normal(0, 0.2))


def _tool_mark() -> Place:
    """Return a line across the face, where the tool left the turning part."""
    steps = np.linspace(0, 1, 24)
    return np.stack([_on(0.275 + 0.1 * step, -0.5 + 0.35 * step) for step in steps])


RING = Part(make_surface, 1, notch, _place, _crack_start, _tool_mark())
