"""Parts drawn at an exact pose: polygons through a matrix, eight times as fine as the picture."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from zeroline.runtime.framing.pose.rigid import Matrix, after, enlarged, moved, turned

FINE, BITS = 8, 4
GROUND = 40


def circle(x: float, y: float, radius: float) -> np.ndarray:
    turn = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    return np.stack((x + radius * np.cos(turn), y + radius * np.sin(turn)), axis=1)


def box(x: float, y: float, width: float, height: float) -> np.ndarray:
    half = np.array((width, height)) / 2
    return np.array(((-1, -1), (1, -1), (1, 1), (-1, 1))) * half + (x, y)


#: Polygons and grey values, the middle at (0, 0).
SQUARE = [
    (box(0, 0, 200, 200), 150), (circle(0, 0, 40), 60),
    *((circle(x, y, 12), 50) for x in (-70, 70) for y in (-70, 70)),
    (box(0, 70, 60, 8), 100), (box(-20, 84, 30, 6), 90),
]  # fmt: skip
BRACKET = [
    (np.array(((-120, -60), (120, -60), (120, -10), (-40, -10), (-40, 60), (-120, 60))), 160),
    (circle(-80, 25, 18), 60), (circle(70, -35, 14), 60), (box(0, -35, 50, 10), 110),
]  # fmt: skip
WASHER = [(circle(0, 0, 100), 150), (circle(0, 0, 50), GROUND), (box(0, -92, 30, 24), GROUND),
          (box(-10, 75, 60, 12), 90)]  # fmt: skip


def pose_at(x: float, y: float, turn: float = 0.0, *, scale: float = 1.0) -> Matrix:
    """Part → picture: turned, its middle at (x, y)."""
    return after(turned(turn, about=(0, 0), to=(x, y)), np.diag((scale, scale, 0))[:2])


def drawn(
    part: list[Any], pose: Matrix, *, shape: tuple[int, int] = (320, 320), noise: float = 2.0,
    seed: int = 0,
) -> np.ndarray:  # fmt: skip
    """Draw a part in a picture, BGR."""
    plane = np.full((shape[0] * FINE, shape[1] * FINE), GROUND, np.uint8)
    into = after(enlarged(FINE), pose)
    for polygon, grey in part:
        points = np.rint(moved(np.asarray(polygon, float), into) * (1 << BITS)).astype(np.int32)
        cv2.fillPoly(plane, [points], grey, shift=BITS)
    small = cv2.resize(plane, shape[::-1], interpolation=cv2.INTER_AREA)
    values = cv2.GaussianBlur(small, (0, 0), 0.7)[..., None].astype(float)
    values = values + np.random.default_rng(seed).normal(0, noise, (*shape, 3))
    return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)
