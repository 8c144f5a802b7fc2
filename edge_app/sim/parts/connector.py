"""A long connector: a moulded body with a row of metal pins, and a printed name."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

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

LONG, TOP, BOTTOM = 0.42, -0.13, 0.085
"""Half the body's length, and its long sides."""
CORNER_CUT = 0.045
"""What is cut from the upper left corner, beside pin 1."""
PINS, PITCH = 12, 0.06
PIN_END, PIN_HALF = 0.14, 0.0115
CAVITY_TOP, CAVITY_BOTTOM, CAVITY_HALF = -0.104, -0.036, 0.021
"""A pin is seen twice: up in its cavity, and out of the lower side."""
NAME, NAME_AT = "ZEROLINE C-12", (0.0, 0.024)
EJECTORS = ((-LONG + 0.034, 0.045), (LONG - 0.034, 0.045))
"""Where the body was pushed out of its mould."""
_PLASTIC, _TIN, _HOLLOW = 0.5, 0.8, 0.06


def make_surface(
    size: int, rng: Generator, *, variation: float, second_lot: bool, missing: int | None = None
) -> Surface:
    """Mould one good connector; ``missing`` leaves out one of the pins.

    What differs from part to part: the plastic's tone and texture, where and how strongly the
    name is printed, and the tone, length and place of each pin. The second lot is of darker
    plastic with a rougher texture.
    """
    surface = _moulded(size, rng, variation=variation, second_lot=second_lot)
    _print(surface, rng, variation=variation)
    spread = variation * rng.normal(0, 1, (3, PINS))
    _insert_pins(surface, spread.astype(np.float32), missing)
    return surface


def _moulded(size: int, rng: Generator, *, variation: float, second_lot: bool) -> Surface:
    x, y = coordinates(size)
    pixels = size / 480
    edge = _body(x, y)
    rough = grain(size, rng, along=1.1 * pixels, across=1.1 * pixels)
    flow = grain(size, rng, along=40 * pixels, across=9 * pixels)
    base = (_PLASTIC - 0.05 if second_lot else _PLASTIC) + 0.012 * variation * rng.normal()
    height = -np.clip(edge + np.float32(0.009), 0, 0.009) * np.float32(size)
    height += rough * np.float32((0.2 if second_lot else 0.12) * pixels)
    tone = np.float32(base) + np.float32(0.008 * variation) * (rough + flow)
    for middle in EJECTORS:
        away = np.hypot(x - np.float32(middle[0]), y - np.float32(middle[1])) - np.float32(0.016)
        height -= inside(away, size=size, softness=2 * pixels) * np.float32(1.6 * pixels)
    cavity = _cavity(_beside_pin(x), y)
    height -= inside(cavity, size=size, softness=5 * pixels) * np.float32(4 * pixels)
    hollow = inside(cavity, size=size, softness=1.5 * pixels)
    tone = tone * (1 - hollow) + hollow * np.float32(_HOLLOW)
    return Surface(height, tone, inside(edge, size=size, softness=1.5))


def _print(surface: Surface, rng: Generator, *, variation: float) -> None:
    size = surface.size
    right, down, dense = variation * rng.normal(0, 1, 3)
    at = (NAME_AT[0] + 0.001 * right, NAME_AT[1] + 0.001 * down)
    ink = lettering(NAME, (size, size), size=size, at=at, scale=0.95)
    dark = np.clip(0.72 + 0.05 * dense, 0.3, 0.95)
    surface.tone *= 1 - ink * np.float32(dark)


def _insert_pins(surface: Surface, spread: Plane, missing: int | None) -> None:
    """Insert the pins; ``spread`` is how each differs in tone, length and place."""
    size = surface.size
    x, y = coordinates(size)
    number = _pin_at(x)
    tin, longer, aside = (
        spread[:, number] * np.array((0.025, 0.001, 0.0007), np.float32)[:, None, None]
    )
    there = np.float32(1) if missing is None else np.asarray(number != missing, np.float32)
    along = np.abs(_beside_pin(x) - aside)
    rounded = along * along * np.float32(0.45 * size / PIN_HALF)

    tip = inside(_tip(along, y), size=size, softness=1.5) * there
    surface.height += tip * (np.float32(3.2 * size / 480) - rounded - surface.height)
    surface.tone += tip * (np.float32(_TIN) + tin - surface.tone)

    lead = inside(_lead(along, y - longer), size=size, softness=1.5) * there
    beyond = 1 - surface.cover
    out = np.clip((y - np.float32(BOTTOM)) / np.float32(PIN_END - BOTTOM), 0, 1)
    bent = np.float32(5) + np.float32(5) * np.clip(out / np.float32(0.55), 0, 1) ** 2
    low = -bent * np.float32(size / 480) - rounded
    surface.height += beyond * (low - surface.height)
    shade = 1 - np.float32(0.45) * np.exp(-out / np.float32(0.2))
    surface.tone += beyond * ((np.float32(_TIN) + tin) * shade - surface.tone)
    surface.cover[:] = np.maximum(surface.cover, lead)


def _body(x: Plane, y: Plane) -> Plane:
    """Return the signed distance to the body."""
    half = (LONG, (BOTTOM - TOP) / 2)
    body = box(x, y - np.float32((TOP + BOTTOM) / 2), half=half, corner=0.012)
    cut = (-x - y - np.float32(LONG - TOP - CORNER_CUT)) * np.float32(np.sqrt(0.5))
    return np.asarray(np.maximum(body, cut), dtype=np.float32)


def _pin_at(x: Plane) -> NDArray[np.intp]:
    """Return the number of the nearest pin."""
    number = np.floor(x / np.float32(PITCH) + np.float32(PINS / 2))
    return np.asarray(np.clip(number, 0, PINS - 1), dtype=np.intp)


def _beside_pin(x: Plane) -> Plane:
    """Return how far beside the nearest pin a place is."""
    middle = (_pin_at(x).astype(np.float32) - np.float32((PINS - 1) / 2)) * np.float32(PITCH)
    return np.asarray(x - middle, dtype=np.float32)


def _cavity(beside: Plane, y: Plane) -> Plane:
    half = (CAVITY_HALF, (CAVITY_BOTTOM - CAVITY_TOP) / 2)
    return box(beside, y - np.float32((CAVITY_TOP + CAVITY_BOTTOM) / 2), half=half, corner=0.005)


def _tip(beside: Plane, y: Plane) -> Plane:
    middle = (CAVITY_TOP + CAVITY_BOTTOM) / 2
    return box(beside, y - np.float32(middle), half=(0.009, 0.024), corner=0.003)


def _lead(beside: Plane, y: Plane) -> Plane:
    half = (PIN_HALF, (PIN_END - BOTTOM) / 2 + 0.01)
    return box(beside, y - np.float32((PIN_END + BOTTOM) / 2 - 0.01), half=half, corner=0.004)


def pin(size: int, number: int) -> Plane:
    """Return the footprint of a pin: what is seen of it in its cavity and beside the body."""
    x, y = coordinates(size)
    beside = _beside_pin(x)
    lead = (_lead(beside, y) < 0) & (_body(x, y) > 0)
    seen = (_pin_at(x) == number) & (lead | (_tip(beside, y) < 0))
    return np.asarray(seen, dtype=np.float32)


def _place(rng: Generator) -> Place:
    """Choose a place on the body's face, clear of its edge and of the cavities."""
    return rng.uniform((-LONG + 0.06, 0.0), (LONG - 0.06, BOTTOM - 0.035))


def _crack_start(rng: Generator) -> tuple[Place, float]:
    """Start a crack at the corner of a cavity, or at an edge of the body."""
    kind = rng.integers(3)
    if kind == 0:
        middle = (rng.integers(PINS) - (PINS - 1) / 2) * PITCH
        start, towards = (middle + rng.choice((-1, 1)) * CAVITY_HALF, CAVITY_BOTTOM), np.pi / 2
    elif kind == 1:
        start, towards = (rng.uniform(-0.36, 0.36), BOTTOM), -np.pi / 2
    else:
        side = rng.choice((-1, 1))
        start, towards = (side * LONG, rng.uniform(-0.02, 0.06)), np.pi * (side > 0)
    return np.array(start), float(towards + rng.normal(0, 0.3))


def _tool_mark() -> Place:
    """Return the line of a burr in the mould."""
    steps = np.linspace(0, 1, 24)
    return np.stack((0.2 + 0.1 * steps, 0.005 + 0.05 * steps**2), axis=1)


CONNECTOR = Part(make_surface, PINS, pin, _place, _crack_start, _tool_mark())
