"""A drawn hand that reaches over a part."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.random import Generator

from zeroline.runtime.frames import Frame

#: Drawn so many times as large, for smooth edges.
_FINE = 3
#: Fingers and thumb: where they begin, beside the arm's axis, their turn in degrees, length, width;
#: in widths of the palm.
_FINGERS = (
    (-0.36, -9, 0.75, 0.21),
    (-0.12, -3, 0.95, 0.23),
    (0.13, 3, 0.9, 0.23),
    (0.36, 10, 0.7, 0.2),
    (0.42, 52, 0.75, 0.25),
)


def with_hand(picture: Frame, rng: Generator, *, over: tuple[float, float]) -> Frame:
    """Draw a hand over a picture.

    Parameters
    ----------
    picture : array, shape (H, W, 3), uint8
        BGR.
    rng : Generator
        The hand comes from any side. Its palm is a quarter to two fifths of the picture's side.
    over : (float, float)
        A point of the picture, x and y. The fingers reach it, or half a palm farther.

    Returns
    -------
    array, shape (H, W, 3), uint8
    """
    height, width = picture.shape[:2]
    side = min(height, width)
    palm = rng.uniform(0.25, 0.4) * side
    angle = rng.uniform(0, 2 * np.pi)
    along = np.array([np.cos(angle), np.sin(angle)])
    tip = np.asarray(over) + along * rng.uniform(0, 0.5) * palm
    wrist = tip - along * 1.5 * palm
    cover = _cover((height, width), wrist, along, palm)
    depth = cv2.distanceTransform((cover > 0.5).astype(np.uint8), cv2.DIST_L2, 3)
    round_off = np.clip(depth / (0.12 * palm), 0, 1) ** 0.5
    skin = rng.uniform(90, 215) * np.array([rng.uniform(0.55, 0.7), rng.uniform(0.65, 0.8), 1])
    light = (0.55 + 0.4 * round_off)[..., None] + rng.normal(0, 0.01, (height, width, 1))
    shadow = cv2.GaussianBlur(cover, (0, 0), 0.05 * palm)[..., None]
    ground = picture * (1 - 0.35 * shadow)
    drawn = ground + cover[..., None] * (skin * light - ground)
    return np.clip(np.rint(drawn), 0, 255).astype(np.uint8)


def _cover(size: tuple[int, int], wrist: Any, along: Any, palm: float) -> Any:
    """Return how much of each pixel the hand covers, float32."""
    plane = np.zeros((size[0] * _FINE, size[1] * _FINE), np.uint8)
    across = np.array([-along[1], along[0]])

    def limb(start: Any, end: Any, thick: float) -> None:
        points = [tuple(int(v) for v in np.rint(np.asarray(p) * _FINE)) for p in (start, end)]
        cv2.line(plane, points[0], points[1], 255, max(1, round(thick * _FINE)), cv2.LINE_8)

    limb(wrist - along * 4 * palm, wrist, 0.62 * palm)
    limb(wrist, wrist + along * 0.45 * palm, 0.95 * palm)
    for beside, turn, length, thick in _FINGERS:
        start = wrist + along * (0.55 if turn < 45 else 0.1) * palm + across * beside * palm
        way = np.deg2rad(turn)
        limb(start, start + (along * np.cos(way) + across * np.sin(way)) * length * palm,
             thick * palm)  # fmt: skip
    small = cv2.resize(plane, size[::-1], interpolation=cv2.INTER_AREA)
    return cv2.GaussianBlur(small.astype(np.float32) / 255, (0, 0), 0.8)
