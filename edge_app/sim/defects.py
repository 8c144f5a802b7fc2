"""Damage to a part. Each function changes a surface and returns where it did, 0 to 1.

Sizes are drawn under a limit on the area, so that a set can hold small defects only.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from numpy.random import Generator

from zeroline.edge_app.opencv import opencv
from zeroline.edge_app.sim.parts.part import Part
from zeroline.edge_app.sim.settings import TOOL_MARK
from zeroline.edge_app.sim.surface import Plane, Surface, coordinates

_FIXED_POINT = 4  # bits behind the point, in OpenCV's drawing


def damage(
    part: Part,
    surface: Surface,
    kind: str,
    rng: Generator,
    *,
    largest: float,
    strength: float = 1.0,
) -> Plane:
    """Put one defect of a kind on a part, in place.

    Parameters
    ----------
    part : Part
    surface : Surface
        The part as it was made.
    kind : str
        ``scratch``, ``dent``, ``stain``, ``crack`` or ``tool_mark``; what is missing is left out
        when the part is made, see `Part.make` and `Part.feature`.
    rng : Generator
    largest : float
        Largest area, as a share of the part's.
    strength : float
        Scales depth and contrast.

    Returns
    -------
    array, shape (S, S), float32
        The footprint, 0 to 1; over a half is the defect.
    """
    height, tone = surface.height.copy(), surface.tone.copy()
    footprint = _DEFECTS[kind](part, surface, rng, largest * surface.area)
    surface.height[:] = height + np.float32(strength) * (surface.height - height)
    surface.tone[:] = np.clip(tone + np.float32(strength) * (surface.tone - tone), 0.02, 1)
    return np.asarray(footprint * surface.cover, dtype=np.float32)


def _scratch(part: Part, surface: Surface, rng: Generator, area: float) -> Plane:
    """Draw a bent line of bare metal with a furrow."""
    size = surface.size
    width = size / 480 * rng.uniform(1.6, 3.0)
    length = min(area / (width + 1) * 0.9, size * 0.3) * rng.uniform(0.45, 1)
    steps = 12
    turn = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, 0.09, steps))
    path = np.cumsum(np.stack((np.cos(turn), np.sin(turn)), axis=1), axis=0) * length / steps
    path += _place(part, rng, size) - path[steps // 2]
    footprint = _stroke(path, size=size, width=width)
    sign = 1 if rng.random() < 0.6 else -1
    surface.height -= footprint * np.float32(rng.uniform(1.2, 2.2) * size / 480)
    surface.tone += footprint * np.float32(sign * rng.uniform(0.13, 0.25))
    return footprint


def _dent(part: Part, surface: Surface, rng: Generator, area: float) -> Plane:
    """Press a round hollow, bright on one side and dark on the other."""
    size = surface.size
    radius = min(np.sqrt(area / np.pi), size * 0.06) * rng.uniform(0.65, 0.98)
    x, y = coordinates(size)
    cx, cy = _place(part, rng, size) / size - 0.5
    away = np.hypot(x - np.float32(cx), y - np.float32(cy)) * np.float32(size / radius)
    bowl = np.clip(1 - away * away, 0, 1) ** 1.5
    surface.height -= np.asarray(bowl, np.float32) * np.float32(radius * rng.uniform(0.28, 0.5))
    return np.asarray(away < 1, dtype=np.float32)


def _stain(part: Part, surface: Surface, rng: Generator, area: float) -> Plane:
    """Leave a darker or lighter patch of uneven outline."""
    size = surface.size
    radius = min(np.sqrt(area / np.pi), size * 0.06) * rng.uniform(0.6, 0.9)
    x, y = coordinates(size)
    cx, cy = _place(part, rng, size) / size - 0.5
    x, y = (x - np.float32(cx)) * size, (y - np.float32(cy)) * size
    angle = np.arctan2(y, x)
    outline = np.ones_like(angle)
    for wave in range(2, 6):
        outline += np.float32(rng.normal(0, 0.22 / wave)) * np.sin(
            wave * angle + np.float32(rng.uniform(0, 2 * np.pi))
        )
    away = np.hypot(x, y) / (np.float32(radius) * np.maximum(outline, 0.3))
    blot = np.clip((1.15 - away) / 0.3, 0, 1)
    sign = -1 if rng.random() < 0.75 else 1
    surface.tone += blot * np.float32(sign * rng.uniform(0.13, 0.26))
    return np.asarray(blot, dtype=np.float32)


def _crack(part: Part, surface: Surface, rng: Generator, area: float) -> Plane:
    """Start a thin, dark, jagged line at an edge or a hole; it may branch."""
    size = surface.size
    width = size / 480 * rng.uniform(1.3, 2.0)
    length = min(area / (width + 1) * 0.75, size * 0.16) * rng.uniform(0.55, 1)
    start, towards = part.crack_start(rng)
    line = _jagged(rng, np.asarray(start + 0.5, np.float32) * size, towards, length)
    footprint = _stroke(line, size=size, width=width)
    if rng.random() < 0.4:
        branch = _jagged(rng, line[len(line) // 2], towards + rng.choice((-0.8, 0.8)), length * 0.3)
        footprint = np.maximum(footprint, _stroke(branch, size=size, width=width * 0.8))
    surface.height -= footprint * np.float32(1.5 * size / 480)
    surface.tone -= footprint * np.float32(rng.uniform(0.25, 0.4))
    return footprint


def _tool_mark(part: Part, surface: Surface, rng: Generator, _: float) -> Plane:
    """Put the mark of a stuck tool on a part: the same line in one place, more or less deep."""
    size = surface.size
    path = (part.tool_mark + rng.normal(0, 0.002, 2)) + 0.5
    footprint = _stroke(path * size, size=size, width=size / 480 * 4.0)
    depth = rng.uniform(0.8, 1.2)
    surface.height -= footprint * np.float32(depth * 1.8 * size / 480)
    surface.tone += footprint * np.float32(depth * 0.10)
    return footprint


_DEFECTS: dict[str, Callable[[Part, Surface, Generator, float], Plane]] = {
    "scratch": _scratch,
    "dent": _dent,
    "stain": _stain,
    "crack": _crack,
    TOOL_MARK: _tool_mark,
}


def _place(part: Part, rng: Generator, size: int) -> Plane:
    """Choose a place on the part's face, in pixels."""
    return np.asarray((part.place(rng) + 0.5) * size, dtype=np.float32)


def _jagged(rng: Generator, start: Plane, towards: float, length: float) -> Plane:
    steps = 9
    turn = towards + rng.normal(0, 0.55, steps)
    path = np.cumsum(np.stack((np.cos(turn), np.sin(turn)), axis=1), axis=0) * length / steps
    return np.asarray(np.vstack((start[None], start + path)), dtype=np.float32)


def _stroke(path: npt.NDArray[np.floating], *, size: int, width: float) -> Plane:
    """Draw a line of a width in pixels through points in pixels; the ends taper."""
    cv2 = opencv("to draw the simulated line")
    fine = 4
    plane = np.zeros((size * fine, size * fine), np.uint8)
    points = np.rint((path * fine) * (1 << _FIXED_POINT)).astype(np.int32)
    for number in range(len(points) - 1):
        middle = 1 - abs((number + 0.5) / (len(points) - 1) - 0.5) * 1.2
        cv2.line(
            plane,
            points[number].tolist(),
            points[number + 1].tolist(),
            255,
            max(1, round(width * fine * middle)),
            cv2.LINE_AA,
            _FIXED_POINT,
        )
    small = cv2.resize(plane, (size, size), interpolation=cv2.INTER_AREA)
    return np.asarray(small / np.float32(255), dtype=np.float32)
